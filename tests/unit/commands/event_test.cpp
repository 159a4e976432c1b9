#include <catch2/catch.hpp>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>

#include "src/commands/event_line.hpp"
#include "src/event_filter.hpp"

using namespace vmrouter;
using nlohmann::json;

namespace {

std::string line(const char* text) {
    setenv("TZ", "UTC", 1);
    tzset();
    return event_line(json::parse(text), {});
}

}  // namespace

TEST_CASE("Every kind of event is a line that says who, what and where") {
    CHECK(line(R"({"time": 1795346400.25, "event": "lease", "guest": "web", "address": "192.168.100.2",
                   "mac": "52:54:00:12:34:56", "cause": "bind", "state": "bound", "expires": 1795350000})") ==
          "11:20:00 lease    web             192.168.100.2 bind, 52:54:00:12:34:56, for 1h");
    CHECK(line(R"({"time": 1795346400, "event": "dns", "guest": "web", "address": "192.168.100.2", "mac": null,
                   "name": "www.example.net", "type": "A", "rcode": "NOERROR", "source": "upstream", "reason": null,
                   "upstream": "9.9.9.9:53", "milliseconds": 12.3, "tcp": false})") ==
          "11:20:00 dns      web             A www.example.net: NOERROR, upstream 9.9.9.9:53, 12 ms");
    CHECK(line(R"({"time": 1795346400, "event": "dns", "guest": null, "address": "192.168.100.2", "name": "nas", "type":
                   "A", "rcode": "NXDOMAIN", "source": "local", "reason": "hidden", "upstream": null,
                   "milliseconds": 0.0})") == "11:20:00 dns      192.168.100.2   A nas: NXDOMAIN, hidden");
    CHECK(line(R"({"time": 1795346400, "event": "flow", "guest": "web", "address": "192.168.100.2", "direction": "out",
                   "protocol": "tcp", "peer": "198.51.100.10", "port": 443, "name": "www.example.net"})") ==
          "11:20:00 flow     web             to tcp 198.51.100.10:443 (www.example.net)");
    CHECK(line(R"({"time": 1795346400, "event": "blocked", "guest": "web", "address": "192.168.100.2", "protocol":
                   "icmp", "peer": "192.168.1.50", "port": null, "reason": "lan", "name": null})") ==
          "11:20:00 blocked  web             icmp 192.168.1.50, lan");
    CHECK(
        line(
            R"({"time": 1795346400, "event": "upstream", "server": "9.9.9.9:53", "before": "up", "health": "down"})") ==
        "11:20:00 upstream 9.9.9.9:53 is down, was up");
    CHECK(line(R"({"time": 1795346400, "event": "uplink", "uplinks": ["eth0", "wg0"]})") ==
          "11:20:00 uplink   eth0, wg0");
    CHECK(line(R"({"time": 1795346400, "event": "uplink", "uplinks": []})").find("none: guests have no internet") !=
          std::string::npos);
    CHECK(line(R"({"time": 1795346400, "event": "port", "port": "vnet1", "joined": true})") ==
          "11:20:00 port     vnet1 joined");
    CHECK(
        line(
            R"({"time": 1795346400, "event": "rules", "what": "our rules were changed", "process": "nft", "pid": 7})") ==
        "11:20:00 rules    our rules were changed by nft (pid 7)");
    CHECK(line(R"({"time": 1795346400, "event": "skipped", "kind": "flow", "count": 12})") ==
          "11:20:00 skipped  12 events of kind flow left out");
}

TEST_CASE("No event of any shape brings bytes of a guest to the terminal, or fails") {
    for (const auto* kind :
         {"lease", "dns", "flow", "blocked", "upstream", "uplink", "port", "rules", "skipped", "\x1b"}) {
        json event{{"event", kind}};
        CHECK(event_line(event, {}) != "");
        for (const auto* key : {"guest", "address", "mac", "name", "type", "rcode", "source", "reason", "peer",
                                "process", "server", "health", "what", "kind", "cause", "direction", "protocol"})
            event[key] = "\x1b[31m\n\xff";
        event["uplinks"] = {"\x1b]0;x"};
        event["port"] = "\x07";
        const auto shown = event_line(event, {});
        for (const char c : shown) CHECK((c >= 0x20 && c < 0x7f));
        for (const auto* key : {"time", "expires", "milliseconds", "port", "joined", "count"})
            event[key] = json::object();
        event.erase("joined");
        CHECK(event_line(event, {}) != "");
    }
}

TEST_CASE("A follower gets the kinds and the guest that it asked for") {
    const auto filter = [](const json& request) {
        auto made = EventFilter::from_request(request);
        REQUIRE(made);
        return std::move(*made);
    };
    const json dns{
        {"event", "dns"}, {"guest", "web"}, {"address", "192.168.100.2"}, {"mac", "52:54:00:12:34:56"}, {"name", "db"}};
    const json uplink{{"event", "uplink"}, {"uplinks", {"eth0"}}};
    const json skipped{{"event", "skipped"}, {"kind", "flow"}, {"count", 2}};

    const auto all = filter({{"command", "monitor"}});
    CHECK((all.wants("flow") && all.admits(dns) && all.admits(uplink) && all.admits(skipped)));
    const auto only = filter({{"only", {"dns", "flows"}}});
    CHECK((only.wants("dns") && only.wants("flow") && !only.wants("lease")));
    CHECK((only.admits(dns) && !only.admits(uplink) && only.admits(skipped)));
    for (const auto* guest : {"web", "WEB", "web.vm.internal", "192.168.100.2", "52:54:00:12:34:56"})
        CHECK(filter({{"guest", guest}}).admits(dns));
    CHECK(!filter({{"guest", "db"}}).admits(dns));  // what it asked for is not who it is
    CHECK(!filter({{"guest", "web"}}).admits(uplink));

    const auto wrong = EventFilter::from_request({{"only", {"\x1b"}}});
    REQUIRE(!wrong);
    CHECK(wrong.error().what.find("'\\x1b'") != std::string::npos);
    CHECK(wrong.error().hint.find("lease, dns, flow, blocked") != std::string::npos);
    CHECK(!EventFilter::from_request({{"only", 1}}));
    CHECK(!EventFilter::from_request({{"only", {1}}}));
    CHECK(!EventFilter::from_request({{"guest", 1}}));
}
