#include "src/commands/monitor.hpp"

#include <nlohmann/json.hpp>
#include <ostream>

#include "src/commands/answers.hpp"
#include "src/commands/event_line.hpp"
#include "src/commands/follower.hpp"
#include "src/commands/instance.hpp"
#include "src/event_filter.hpp"

namespace vmrouter {

using nlohmann::json;

int monitor(const cli::Monitor& options, std::ostream& out, std::ostream& err, const Folders& folders) {
    json request{{"command", "monitor"}, {"only", options.only}};
    if (!options.guest.empty()) request["guest"] = options.guest;
    if (const auto filter = EventFilter::from_request(request); !filter) {
        fail(err, filter.error());
        return 2;
    }
    const auto socket = control_socket(options.instance, folders);
    if (!socket) return fail(err, socket.error());
    const auto terminal = Terminal::of(out);
    if (options.top && terminal.is_terminal) return monitor_top(options, *socket, err);

    Follower follower(*socket, request);
    if (auto connected = follower.connect(); !connected) return fail(err, connected.error());
    follower.on_lost = [&err] { err << "vmrouter: it went away; waiting for it to come back\n" << std::flush; };
    follower.on_back = [&err] { err << "vmrouter: it is back\n" << std::flush; };
    for (;;) {
        const auto event = follower.next(std::nullopt);
        if (!event) return fail(err, event.error());
        if (!*event) continue;
        if (options.json)
            out << (*event)->dump(-1, ' ', false, json::error_handler_t::replace) << '\n' << std::flush;
        else
            out << event_line(**event, terminal) << '\n' << std::flush;
        if (!out) return 0;  // whoever read us has gone
    }
}

}  // namespace vmrouter
