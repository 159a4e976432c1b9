#include "src/state.hpp"

#include <nlohmann/json.hpp>

#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/link/address.hpp"
#include "src/link/bridge.hpp"
#include "src/link/lan.hpp"

namespace vmrouter {
namespace {

constexpr std::size_t kSizeLimit = std::size_t{1} << 20;

std::string path_in(const std::string& folder) {
    return folder + "/state";
}

Failure<Error> unreadable(const std::string& path) {
    return Failure{
        Error{"the state file cannot be understood", path, "remove it; the segment may get another address"}};
}

}  // namespace

Result<bool> may_return(const RememberedPort& port, const link::HostFacts& facts, std::string_view bridge) {
    const link::Link* link = facts.find(port.index);
    const link::Link* own = facts.find(bridge);
    if (link == nullptr || own == nullptr || link->name != port.name || link->master == own->index) return false;
    std::string use;
    if (link->master != 0) use = "it belongs to " + facts.name_of(link->master);
    for (const auto& one : facts.addresses6)  // one that a guest's router advertisement gave it means nothing
        if (one.link == link->index && one.permanent && !link::is_link_local(one.local))
            use = "it has the address " + to_string(one.local);
    for (const auto& one : facts.addresses)
        if (one.link == link->index) use = "it has the address " + to_string(one.local);
    if (link::carries_default_route(facts, link->name)) use = "the host reaches the internet through it";
    if (use.empty()) return true;
    return Failure{Error{"is not put onto " + own->name + " again, where it was: " + use, port.name,
                         "if it belongs to a guest: ip link set " + port.name + " master " + own->name}};
}

std::vector<std::string> kept_taps(const State& state, const std::vector<link::Link>& links) {
    std::vector<std::string> names;
    for (const auto& tap : state.taps)
        for (const auto& one : links)
            if (one.name == tap.name && one.index == tap.index && one.kind == "tun" && link::is_ours(one, {}))
                names.push_back(tap.name);
    return names;
}

Result<State> load_state(const std::string& folder) {
    const std::string path = path_in(folder);
    auto content = read_own_file(path, kSizeLimit);
    if (!content) return Failure{std::move(content).error()};
    State state;
    if (!*content) return state;
    const auto json = nlohmann::json::parse(**content, nullptr, false);
    if (!json.is_object()) return unreadable(path);
    if (const auto address = json.find("address"); address != json.end()) {
        if (!address->is_string()) return unreadable(path);
        state.address = Cidr::parse(address->get<std::string>());
        if (!state.address) return unreadable(path);
    }
    if (const auto boot = json.find("boot"); boot != json.end() && boot->is_string()) state.boot = *boot;
    for (auto [key, list] : {std::pair{"ports", &state.ports}, {"taps", &state.taps}}) {
        for (const auto& port : json.value(key, nlohmann::json::array())) {
            if (!port.is_object() || !port.contains("name") || !port["name"].is_string() || !port.contains("index") ||
                !port["index"].is_number_integer())
                return unreadable(path);
            list->push_back({port["name"], port["index"]});
        }
    }
    return state;
}

Result<void> save_state(const std::string& folder, const State& state) {
    auto json = nlohmann::ordered_json::object();
    if (state.address) json["address"] = to_string(*state.address);
    if (!state.ports.empty() || !state.taps.empty()) json["boot"] = state.boot;
    for (const auto& [key, list] : {std::pair{"ports", &state.ports}, {"taps", &state.taps}})
        for (const RememberedPort& port : *list) json[key].push_back({{"name", port.name}, {"index", port.index}});
    if (auto made = make_directories(folder); !made) return made;
    return replace_file(path_in(folder), json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::string boot_id() {
    const auto id = read_file("/proc/sys/kernel/random/boot_id", 4096);
    return id ? std::string(trim(*id)) : std::string();
}

}  // namespace vmrouter
