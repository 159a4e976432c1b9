#include "conf/validate.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "conf/forms.hpp"
#include "conf/keys.hpp"
#include "src/base/text.hpp"

namespace vmrouter::conf {
namespace {

std::string quoted(std::string_view text) {
    return '"' + escape(text, 80) + '"';
}

std::string element(std::string_view list, std::size_t index, std::string_view key = {}) {
    std::string name = std::string(list) + '[' + std::to_string(index) + ']';
    if (!key.empty()) name += '.' + std::string(key);
    return name;
}

/// Where the first of two equal things stands: "vm.toml:12:9", for the message about the second.
std::string also_at(const Places& places, std::string_view key) {
    return "it is also at " + to_string(places.of(key));
}

bool is_private(Ipv4 address) {
    // RFC 1918, RFC 6598, RFC 2544 and the documentation networks of RFC 5737: nobody on the internet answers there.
    constexpr Cidr networks[] = {{Ipv4{10, 0, 0, 0}, 8},      {Ipv4{172, 16, 0, 0}, 12}, {Ipv4{192, 168, 0, 0}, 16},
                                 {Ipv4{100, 64, 0, 0}, 10},   {Ipv4{198, 18, 0, 0}, 15}, {Ipv4{192, 0, 2, 0}, 24},
                                 {Ipv4{198, 51, 100, 0}, 24}, {Ipv4{203, 0, 113, 0}, 24}};
    return std::any_of(std::begin(networks), std::end(networks),
                       [address](const Cidr& network) { return network.contains(address); });
}

/// What rules have in common: the configuration, and messages at the place of a key.
class Rules {
public:
    Rules(const Config& config, const Places& places, Report& report)
        : config_(config), places_(places), report_(report) {}

protected:
    void error(std::string_view key, std::string what, std::string hint = {}) {
        report_.error(places_.of(key), std::move(what), std::move(hint));
    }
    void warn(std::string_view key, std::string what, std::string hint = {}) {
        report_.warn(places_.of(key), std::move(what), std::move(hint));
    }
    [[nodiscard]] bool usable(std::initializer_list<std::string_view> keys) const {
        return std::none_of(keys.begin(), keys.end(), [this](auto key) { return report_.is_spoiled(key); });
    }

    const Config& config_;
    const Places& places_;
    Report& report_;
};

/// Rules that need our address and its network.
class AddressRules : Rules {
public:
    AddressRules(const Config& config, const Cidr& address, const Places& places, Report& report)
        : Rules(config, places, report), address_(address) {}

    void check() {
        check_range();
        check_hosts();
        check_forwards();
        check_upstreams("dns.upstreams", config_.dns.upstreams.value_or(std::vector<Endpoint>{}));
        for (std::size_t i = 0; i < config_.dns.route.size(); ++i)
            check_upstreams(element("dns.route", i, "upstreams"), config_.dns.route[i].upstreams);
    }

private:
    [[nodiscard]] std::string outside() const { return ", outside network.address " + to_string(address_); }
    [[nodiscard]] std::string choose() const {
        Ipv4 first{address_.first().value + 1};
        Ipv4 last{address_.last().value - 1};
        if (first == address_.address) ++first.value;
        if (last == address_.address) --last.value;
        return "choose an address from " + to_string(first) + " to " + to_string(last);
    }
    [[nodiscard]] bool is_edge(Ipv4 address) const { return address == address_.first() || address == address_.last(); }

    void check_range() {
        if (!config_.dhcp.range || !usable({"dhcp.range"})) return;
        const auto [first, last] = *config_.dhcp.range;
        if (!address_.contains(first))
            error("dhcp.range", "dhcp.range begins at " + to_string(first) + outside(), choose());
        else if (!address_.contains(last))
            error("dhcp.range", "dhcp.range ends at " + to_string(last) + outside(), choose());
        else if (first == address_.first())
            error("dhcp.range", "dhcp.range begins at " + to_string(first) + ", the network itself", choose());
        else if (last == address_.last())
            error("dhcp.range", "dhcp.range ends at " + to_string(last) + ", the broadcast address", choose());
        else if (first == last && first == address_.address)
            error("dhcp.range", "dhcp.range holds nothing but our own address " + to_string(first), choose());
    }

    void check_hosts() {
        for (std::size_t i = 0; i < config_.dhcp.host.size(); ++i)
            if (config_.dhcp.host[i].address)
                check_guest_address(element("dhcp.host", i, "address"), "dhcp.host.address",
                                    *config_.dhcp.host[i].address);
    }

    void check_forwards() {
        for (std::size_t i = 0; i < config_.firewall.forward.size(); ++i)
            if (const auto* guest = std::get_if<Ipv4>(&config_.firewall.forward[i].guest))
                check_guest_address(element("firewall.forward", i, "guest"), "firewall.forward.guest", *guest);
    }

    void check_guest_address(const std::string& key, const std::string& name, Ipv4 guest) {
        const std::string is = name + " is " + to_string(guest);
        // A required key that is missing leaves its address unset, and has its own message.
        if (guest.is_unspecified() || !usable({name})) return;
        if (!address_.contains(guest))
            error(key, is + outside(), choose());
        else if (is_edge(guest))
            error(key, is + ", the network or broadcast address of " + to_string(address_.network()), choose());
        else if (guest == address_.address)
            error(key, is + ", our own address", choose());
    }

    void check_upstreams(const std::string& key, const std::vector<Endpoint>& upstreams) {
        for (const Endpoint& upstream : upstreams)
            if (upstream.address == IpAddress{address_.address} && upstream.port == 53)
                error(key,
                      "upstream " + to_string(upstream) + " is our own address: queries would go round in a circle",
                      "name the server behind, or \"auto\" for the host's resolver");
    }

    Cidr address_;
};

class NetworkRules : Rules {
public:
    using Rules::Rules;

    void check() {
        check_segment();
        check_address();
        if (config_.network.interface && config_.network.stp)
            error("network.stp", "network.stp is true, but a spanning tree needs network.bridge");
        if (config_.network.interface && config_.network.isolate_guests)
            warn("network.isolate_guests",
                 "guests behind " + quoted(*config_.network.interface) +
                     " that share a wire or a switch reach one another without passing us",
                 "isolate them at the switch");
        if (segment_name(config_).empty() && !config_.usermode.empty()) check_usermode_alone();
    }

private:
    void check_segment() {
        const auto& [bridge, interface, address, stp, isolate_guests, mtu, on_exit] = config_.network;
        if (!usable({"network.bridge", "network.interface", "usermode"})) return;
        if (bridge && interface) {
            const bool bridge_is_second = later(places_.of("network.bridge"), places_.of("network.interface"));
            error(bridge_is_second ? "network.bridge" : "network.interface",
                  "network.bridge and network.interface are both given", "remove one of them");
        }
        if (!bridge && !interface && config_.usermode.empty())
            error("network", "no segment is named: neither network.bridge nor network.interface is given",
                  "add bridge = \"virbr10\" below [network]");
    }

    static bool later(const Place& a, const Place& b) {
        return std::pair(a.line, a.column) > std::pair(b.line, b.column);
    }

    void check_address() {
        if (!usable({"network.address"})) return;
        const auto& address = config_.network.address;
        if (address) {
            if (!is_private(address->address))
                warn("network.address",
                     "network.address " + to_string(*address) +
                         " is public: guests cannot reach the real hosts of that network",
                     "choose one from 192.168.0.0/16, 172.16.0.0/12 or 10.0.0.0/8");
            AddressRules(config_, *address, places_, report_).check();
            return;
        }
        constexpr auto hint = "set network.address, so that it cannot move away";
        constexpr auto what = " counts on a network that network.address = \"auto\" may not choose";
        if (config_.dhcp.range) warn("dhcp.range", std::string("dhcp.range") + what, hint);
        for (std::size_t i = 0; i < config_.dhcp.host.size(); ++i)
            if (config_.dhcp.host[i].address)
                warn(element("dhcp.host", i, "address"), std::string("dhcp.host.address") + what, hint);
    }

    void check_usermode_alone() {
        for (const std::string_view key : {"network", "dhcp", "dns"})
            if (places_.contains(key))
                warn(key, "[" + std::string(key) + "] has no effect without a segment",
                     "add network.bridge or network.interface");
        if (!config_.firewall.forward.empty())
            error("firewall.forward[0]", "firewall.forward needs a segment",
                  "user-mode QEMU publishes ports itself, with hostfwd");
    }
};

class FirewallRules : Rules {
public:
    using Rules::Rules;

    void check() {
        check_uplink();
        check_lists();
        check_domains();
        check_forwards();
        if (config_.firewall.source_guard == Firewall::SourceGuard::Lease && !config_.dhcp.enabled &&
            config_.dhcp.host.empty())
            error("firewall.source_guard", "firewall.source_guard is \"lease\", but nothing gives out leases",
                  "set dhcp.enabled = true, or reserve addresses with [[dhcp.host]]");
    }

private:
    void check_uplink() {
        if (!config_.firewall.uplink) return;
        const std::string segment = segment_name(config_);
        std::set<std::string_view> seen;
        for (const std::string& name : *config_.firewall.uplink) {
            if (name == segment)
                error("firewall.uplink", "firewall.uplink names " + quoted(name) + ", the segment itself");
            else if (!seen.insert(name).second)
                error("firewall.uplink", "firewall.uplink names " + quoted(name) + " twice");
        }
        if (!config_.firewall.internet)
            warn("firewall.uplink", "firewall.uplink has no effect while firewall.internet is false");
    }

    void check_lists() {
        constexpr Cidr everything{Ipv4{}, 0};
        const auto& [block, allow] = std::tie(config_.firewall.block, config_.firewall.allow);
        for (std::size_t i = 0; i < block.size(); ++i)
            if (block[i] == everything)
                error(element("firewall.block", i), "firewall.block has 0.0.0.0/0, everything there is",
                      "firewall.internet = false closes the segment");
        for (std::size_t i = 0; i < allow.size(); ++i) {
            if (allow[i].network == everything && !allow[i].protocol)
                error(element("firewall.allow", i), "firewall.allow has 0.0.0.0/0, everything there is",
                      "firewall.lan = \"allow\" opens the LAN");
            const bool is_blocked = std::find(block.begin(), block.end(), allow[i].network) != block.end();
            if (is_blocked && !allow[i].protocol)
                error(element("firewall.allow", i),
                      to_string(allow[i].network) + " is both in firewall.allow and in firewall.block");
        }
    }

    void check_domains() {
        if (config_.firewall.allow_domains.empty()) return;
        if (!config_.dns.enabled)
            error("firewall.allow_domains", "firewall.allow_domains needs dns.enabled = true",
                  "the addresses that may be reached are those in our answers");
        if (!config_.firewall.internet)
            warn("firewall.allow_domains", "firewall.allow_domains has no effect while firewall.internet is false");
    }

    void check_forwards() {
        const auto& forwards = config_.firewall.forward;
        for (std::size_t i = 0; i < forwards.size(); ++i) {
            check_guest_name(i);
            if (forwards[i].listen.port == 0) continue;  // missing or wrong: has its message
            for (std::size_t j = 0; j < i; ++j) {
                if (!overlap(forwards[j].listen, forwards[i].listen)) continue;
                error(element("firewall.forward", i, "listen"),
                      "firewall.forward.listen is " + quoted(to_string(forwards[i].listen)) +
                          ", which another forward takes",
                      also_at(places_, element("firewall.forward", j, "listen")));
                break;
            }
        }
    }

    static bool overlap(const Forward::Listen& a, const Forward::Listen& b) {
        constexpr Ipv4 loopback{127, 0, 0, 1};
        const Ipv4 at_a = a.address.value_or(loopback);
        const Ipv4 at_b = b.address.value_or(loopback);
        return a.protocol == b.protocol && a.port == b.port &&
               (at_a == at_b || at_a.is_unspecified() || at_b.is_unspecified());
    }

    /// Names come from [[dhcp.host]]; with a hosts file of the user's choice they may come from there, which is known
    /// only when it is read.
    void check_guest_name(std::size_t index) {
        const auto* name = std::get_if<std::string>(&config_.firewall.forward[index].guest);
        if (!name || name->empty() || config_.dhcp.hosts_file || !usable({"dhcp.host.name", "dhcp.hosts_file"})) return;
        std::vector<std::string_view> names;
        for (const DhcpHost& host : config_.dhcp.host)
            if (!host.name.empty()) names.push_back(host.name);
        if (std::find(names.begin(), names.end(), *name) != names.end()) return;
        const auto near = nearest(*name, names);
        error(element("firewall.forward", index, "guest"),
              "firewall.forward.guest is " + quoted(*name) + ", which no [[dhcp.host]] is called",
              near ? "did you mean " + quoted(*near) + "?"
                   : "add a [[dhcp.host]] with that name, or name the file that reserves it as dhcp.hosts_file");
    }
};

class DhcpRules : Rules {
public:
    using Rules::Rules;

    void check() {
        check_times();
        check_options();
        for (std::size_t i = 0; i < config_.dhcp.host.size(); ++i) check_host(i);
    }

private:
    /// RFC 2131 section 4.4.5: T1 before T2 before the end.
    void check_times() {
        const auto& [lease, renew, rebind] =
            std::tie(config_.dhcp.lease_time, config_.dhcp.renew_time, config_.dhcp.rebind_time);
        if (!usable({"dhcp.lease_time", "dhcp.renew_time", "dhcp.rebind_time"}) || (!renew && !rebind)) return;
        if (lease == infinite_lease) {
            error(renew ? "dhcp.renew_time" : "dhcp.rebind_time",
                  std::string(renew ? "dhcp.renew_time" : "dhcp.rebind_time") +
                      " is given, but a lease with dhcp.lease_time = \"infinite\" is never renewed");
            return;
        }
        const auto text = [](std::chrono::seconds time) { return vmrouter::to_string(time); };
        const auto t1 = renew.value_or(lease / 2);
        const auto t2 = rebind.value_or(lease * 7 / 8);
        if (t2 >= lease)
            error("dhcp.rebind_time", "dhcp.rebind_time is " + text(t2) + ", not before the lease ends after " +
                                          text(lease) + " (dhcp.lease_time)");
        if (t1 >= t2 && renew)
            error("dhcp.renew_time", "dhcp.renew_time is " + text(t1) + ", not before " +
                                         (rebind ? "dhcp.rebind_time" : "seven eighths of the lease") + " after " +
                                         text(t2));
        else if (t1 >= t2)
            error("dhcp.rebind_time", "dhcp.rebind_time is " + text(t2) + ", not after half of the lease, " + text(t1),
                  "give dhcp.renew_time too");
    }

    void check_options() {
        const auto& options = config_.dhcp.options;
        std::map<std::uint8_t, std::size_t> seen;
        for (std::size_t i = 0; i < options.size(); ++i) {
            const std::string key = element("dhcp.options", i);
            const std::string code = "dhcp.options has code = " + std::to_string(options[i].code);
            const auto [first, is_new] = seen.emplace(options[i].code, i);
            if (!is_new) error(key, code + " twice", also_at(places_, element("dhcp.options", first->second)));
            if (options[i].code == 6 && config_.dns.enabled)
                error(key, code + ", but guests are to ask our own DNS server",
                      "dns.upstreams says whom we ask; with dns.enabled = false the option is yours");
            if (options[i].code == 121 && !has_default_route(options[i].data))
                warn(key,
                     "option 121 has no route to 0.0.0.0/0: clients that take it ignore the router option (RFC 3442)",
                     "add \"0.0.0.0/0\" with our address");
        }
    }

    /// RFC 3442: a sequence of prefix length, significant bytes, router.
    static bool has_default_route(const std::vector<std::uint8_t>& data) {
        for (std::size_t at = 0; at < data.size(); at += 1 + (data[at] + 7U) / 8U + 4)
            if (data[at] == 0) return true;
        return false;
    }

    void check_host(std::size_t index) {
        const DhcpHost& host = config_.dhcp.host[index];
        const std::string here = element("dhcp.host", index);
        if (!usable({"dhcp.host.mac", "dhcp.host.client_id", "dhcp.host.address", "dhcp.host.name",
                     "dhcp.host.lease_time", "dhcp.host.ignore"}))
            return;
        if (host.macs.empty() && host.client_id.empty())
            error(here, "dhcp.host says nothing about whom it is for", "add mac = \"52:54:00:12:34:56\" or client_id");
        if (!host.address && host.name.empty() && !host.lease_time && !host.ignore)
            warn(here, "dhcp.host has no effect", "add address, name, lease_time or ignore");
        for (std::size_t i = 0; i < host.macs.size(); ++i) {
            const bool twice = std::count(host.macs.begin(), host.macs.end(), host.macs[i]) > 1;
            if (twice && std::find(host.macs.begin(), host.macs.end(), host.macs[i]) == host.macs.begin() + long(i))
                error(here + ".mac", "dhcp.host.mac has " + to_string(host.macs[i]) + " twice");
        }
        for (std::size_t other = 0; other < index; ++other) check_pair(config_.dhcp.host[other], other, host, index);
    }

    void check_pair(const DhcpHost& first, std::size_t first_index, const DhcpHost& second, std::size_t index) {
        const auto duplicate = [&](std::string_view key, const std::string& value) {
            error(element("dhcp.host", index, key),
                  "dhcp.host." + std::string(key) + " is " + value + ", which is reserved already",
                  also_at(places_, element("dhcp.host", first_index, key)));
        };
        for (const MacAddress& mac : second.macs)
            if (std::find(first.macs.begin(), first.macs.end(), mac) != first.macs.end())
                duplicate("mac", to_string(mac));
        if (!second.client_id.empty() && first.client_id == second.client_id)
            duplicate("client_id", to_hex(second.client_id));
        if (second.address && first.address == second.address) duplicate("address", to_string(*second.address));
        if (!second.name.empty() && first.name == second.name) duplicate("name", quoted(second.name));
    }
};

class DnsRules : Rules {
public:
    using Rules::Rules;

    void check() {
        const auto& routes = config_.dns.route;
        for (std::size_t i = 0; i < routes.size(); ++i) {
            if (routes[i].domain.empty()) continue;  // missing or wrong: has its message
            if (routes[i].domain == config_.dns.domain)
                error(element("dns.route", i, "domain"),
                      "dns.route.domain is " + quoted(routes[i].domain) + ", the domain of the guests (dns.domain)",
                      "its names are answered here");
            for (std::size_t j = 0; j < i; ++j)
                if (routes[j].domain == routes[i].domain)
                    error(element("dns.route", i, "domain"),
                          "dns.route.domain is " + quoted(routes[i].domain) + ", which has a route already",
                          also_at(places_, element("dns.route", j, "domain")));
        }
        if (config_.dns.serve_stale && places_.contains("dns.serve_stale") && config_.dns.cache_size == 0)
            warn("dns.serve_stale", "dns.serve_stale has no effect without a cache (dns.cache_size = 0)");
    }
};

class OtherRules : Rules {
public:
    using Rules::Rules;

    void check() {
        check_usermode();
        check_disabled("dhcp", config_.dhcp.enabled);
        check_disabled("dns", config_.dns.enabled);
        if (config_.control.metrics && !is_loopback(config_.control.metrics->address))
            warn("control.metrics",
                 "control.metrics " + to_string(*config_.control.metrics) +
                     " can be read by other machines; it names guests and what they ask for",
                 "127.0.0.1 keeps it to this one");
    }

private:
    void check_usermode() {
        for (std::size_t i = 0; i < config_.usermode.size(); ++i) {
            if (config_.usermode[i] == Usermode{}) continue;  // missing or wrong: has its message
            for (std::size_t j = 0; j < i; ++j)
                if (config_.usermode[j] == config_.usermode[i])
                    error(element("usermode", i, "user"), "usermode.user names a user that has a table already",
                          also_at(places_, element("usermode", j, "user")));
        }
    }

    /// Keys of a service that is switched off are a mistake worth knowing about.
    void check_disabled(std::string_view section, bool enabled) {
        if (enabled) return;
        const std::string prefix = std::string(section) + '.';
        const std::string why = " has no effect while " + prefix + "enabled is false";
        for (const auto& key : keys_of(section)) {
            const std::string name = prefix + std::string(key.text.name);
            // checksum_fill is about the replies of other servers on this host.
            const bool works = key.text.name == "enabled" || name == "dhcp.checksum_fill";
            if (!works && places_.contains(name)) warn(name, name + why);
        }
    }

    static bool is_loopback(const IpAddress& address) {
        if (const auto* four = std::get_if<Ipv4>(&address)) return four->is_loopback();
        return std::get<Ipv6>(address) == Ipv6{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    }
};

}  // namespace

void validate(const Config& config, const Places& places, Report& report) {
    NetworkRules(config, places, report).check();
    FirewallRules(config, places, report).check();
    DhcpRules(config, places, report).check();
    DnsRules(config, places, report).check();
    OtherRules(config, places, report).check();
}

std::vector<Diagnostic> check_addresses(const Config& config, const Cidr& address, const Places& places) {
    Report report;
    AddressRules(config, address, places, report).check();
    return report.errors();
}

}  // namespace vmrouter::conf
