#pragma once

// The table of keys: each key's name, flag, form, default, help and reader, in one place. The reader of files, the
// flags of the command line, --help, completions and the manual page are all made from it, so they cannot drift apart.

#include <span>
#include <string_view>
#include <vector>

#include "conf/config.hpp"
#include "conf/report.hpp"
#include "conf/value.hpp"

namespace vmrouter::conf {

/// What is said about a key.
struct KeyText {
    std::string_view name;      ///< within its section: "lease_time"
    std::string_view flag;      ///< without dashes: "lease-time"; empty: only in the file
    std::string_view form;      ///< what stands for the value in help: "DURATION|infinite"
    std::string_view fallback;  ///< the default as TOML; empty: none, the key may be absent; "required"
    std::string_view help;      ///< one sentence without a full stop
    Shape shape = Shape::String;
};

/// A key of a section that is read into `Target`: Config, or one element of an array of tables.
template <class Target>
struct Key {
    KeyText text;
    void (*read)(const Value&, const Field&, Target&);
};

/// One table of the file, for documentation: "[network]" or "[[dhcp.host]]".
struct SectionText {
    std::string_view name;  ///< "network", "dhcp.host"
    bool repeated;          ///< [[name]]
    std::string_view help;
    std::vector<KeyText> keys;
};

/// Everything there is to configure, in the order of the manual.
const std::vector<SectionText>& sections();

/// The keys of one section; empty for a name that is none ("network", "firewall", "dhcp", "dns", "log", "control").
std::span<const Key<Config>> keys_of(std::string_view section);

std::span<const Key<Forward>> forward_keys();
std::span<const Key<DhcpHost>> dhcp_host_keys();
std::span<const Key<DnsRoute>> dns_route_keys();
std::span<const Key<Usermode>> usermode_keys();

}  // namespace vmrouter::conf
