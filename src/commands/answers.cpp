#include "src/commands/answers.hpp"

#include <nlohmann/json.hpp>
#include <ostream>

#include "src/commands/instance.hpp"
#include "src/control_client.hpp"

namespace vmrouter {

using nlohmann::json;

Result<json> ask(const cli::Instance& instance, const json& request, const Folders& folders) {
    auto socket = control_socket(instance, folders);
    if (!socket) return Failure{std::move(socket).error()};
    auto client = ControlClient::connect(*socket);
    if (!client) return Failure{std::move(client).error()};
    return client->request(request);
}

int fail(std::ostream& err, const Error& error) {
    err << "vmrouter: " << to_string(error) << '\n';
    return 1;
}

void print_document(std::ostream& out, const json& document) {
    out << document.dump(2, ' ', false, json::error_handler_t::replace) << '\n';
}

}  // namespace vmrouter
