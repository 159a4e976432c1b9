#pragma once

// The policies that the golden rule sets show, shared by the tests.

#include <string>
#include <utility>
#include <vector>

#include "firewall/policy.hpp"

namespace vmrouter::firewall::test {

inline Cidr cidr(const char* text) {
    return Cidr::parse(text).value();
}
inline Ipv4 ip(const char* text) {
    return Ipv4::parse(text).value();
}
inline MacAddress mac(const char* text) {
    return MacAddress::parse(text).value();
}

/// What `vmrouter --bridge virbr10` asks for on a machine with one uplink.
inline Policy bridge_policy() {
    Policy policy;
    policy.instance = "virbr10";
    policy.log_group = log_group(policy.instance);
    Segment segment;
    segment.interface = "virbr10";
    segment.address = cidr("192.168.100.1/24");
    policy.segment = segment;
    policy.uplinks = {{"eth0", ip("10.0.0.1"), {}}};
    policy.lan = {cidr("10.0.0.0/24")};
    policy.ports = {"vnet0", "vnet1"};
    policy.bindings = {{mac("52:54:00:00:00:0a"), ip("192.168.100.10"), "vnet0"}};
    return policy;
}

/// The same on a kernel that tells the bridge of a frame's port, with every rule that goes by ports.
inline Policy bridge_name_policy() {
    Policy policy = bridge_policy();
    policy.segment->match_bridge_name = true;
    policy.segment->isolate_guests = true;
    policy.segment->stp = true;
    return policy;
}

/// What `vmrouter --iface enp6s0` asks for.
inline Policy interface_policy() {
    Policy policy = bridge_policy();
    policy.instance = "enp6s0";
    policy.log_group = log_group(policy.instance);
    policy.segment->interface = "enp6s0";
    policy.segment->mode = Mode::Interface;
    policy.segment->ingress_guard = true;
    policy.ports.clear();
    policy.bindings = {{mac("b8:27:eb:00:00:01"), ip("192.168.100.10"), {}}};
    return policy;
}

/// Every option that adds rules.
inline Policy full_policy() {
    Policy policy = bridge_policy();
    policy.instance = "br-lab.1";
    policy.log_group = 4242;
    policy.segment->interface = "br-lab.1";
    policy.segment->source_guard = SourceGuard::Lease;
    policy.segment->isolate_guests = true;
    policy.segment->allow_domains = true;
    policy.segment->open_host_ports = {{Protocol::Tcp, 8080}, {Protocol::Udp, 123}};
    policy.segment->forward_guard = true;
    policy.segment->stp = true;
    policy.allow = {{cidr("192.168.0.10/32"), {}, {}},
                    {cidr("10.1.0.0/16"), Protocol::Udp, PortRange{53, 53}},
                    {cidr("10.2.0.0/16"), Protocol::Tcp, PortRange{8000, 8080}},
                    {cidr("10.3.0.0/16"), Protocol::Icmp, {}}};
    policy.block = {cidr("203.0.113.0/24")};
    policy.uplinks = {{"wg0", {}, {}}, {"eth0", ip("10.0.0.1"), Ipv6::parse("fe80::1")}};
    policy.lan = {cidr("10.0.0.0/24"), cidr("198.51.100.0/24"), cidr("198.51.100.128/25")};
    policy.lan6 = {{Ipv6::parse("2001:db8:1::").value(), 64}};
    policy.side_links = {"eth1"};
    policy.other_segments = {"virbr11"};
    policy.forwards = {{{Protocol::Tcp, 2222}, Ipv4{}, ip("192.168.100.10"), 22},
                       {{Protocol::Udp, 5000}, ip("10.0.0.5"), ip("192.168.100.10"), 5000}};
    policy.usermode = {{1001, 1002}, {ip("127.0.0.53")}, {Ipv6::parse("fd00::53").value()}};
    return policy;
}

inline Policy closed_policy() {
    Policy policy = bridge_policy();
    policy.segment->internet = false;
    return policy;
}

inline Policy lan_policy() {
    Policy policy = bridge_policy();
    policy.segment->lan = Lan::Allow;
    policy.segment->source_guard = SourceGuard::Off;
    policy.segment->redirect_dns = false;
    policy.block = {cidr("10.9.0.0/16")};
    return policy;
}

/// A segment whose guests could make up more addresses than the kernel keeps neighbours for.
inline Policy wide_policy() {
    Policy policy = interface_policy();
    policy.segment->address = cidr("172.20.0.1/16");
    policy.segment->max_segment_connections = 1024;
    policy.bindings = {{mac("b8:27:eb:00:00:01"), ip("172.20.0.10"), {}}};
    return policy;
}

inline Policy usermode_policy() {
    Policy policy;
    policy.instance = "usermode";
    policy.log_group = log_group(policy.instance);
    policy.usermode = {{1001}, {ip("127.0.0.53")}, {}};
    policy.uplinks = {{"eth0", ip("10.0.0.1"), Ipv6::parse("fe80::1")}};
    policy.lan = {cidr("10.0.0.0/24")};
    policy.lan6 = {{Ipv6::parse("2001:db8:1::").value(), 64}};
    return policy;
}

inline std::vector<std::pair<std::string, Policy>> golden_policies() {
    return {{"bridge", bridge_policy()}, {"interface", interface_policy()},    {"full", full_policy()},
            {"closed", closed_policy()}, {"lan_allowed", lan_policy()},        {"usermode", usermode_policy()},
            {"wide", wide_policy()},     {"bridge_name", bridge_name_policy()}};
}

}  // namespace vmrouter::firewall::test
