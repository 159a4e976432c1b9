#pragma once

// Readers of single values: Value in, typed value out. A reader that refuses has said why through its Field and returns
// nullopt. They are small functions and templates so that the table of keys (keys.cpp) reads like the manual.

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "conf/config.hpp"
#include "conf/report.hpp"

namespace vmrouter::conf::read {

std::optional<bool> boolean(const Value& value, const Field& field);
std::optional<std::uint64_t> integer_between(const Value& value, const Field& field, std::uint64_t least,
                                             std::uint64_t most);

std::optional<std::string> interface_name(const Value& value, const Field& field);
/// The same for an interface that files, tables and commands are called after: letters, digits, '.', '_' or '-'.
std::optional<std::string> plain_interface_name(const Value& value, const Field& field);
/// An absolute path, or "" for none.
std::optional<std::string> path(const Value& value, const Field& field);
std::optional<std::string> required_path(const Value& value, const Field& field);
/// As path, "" being the default: an empty optional.
std::optional<std::optional<std::string>> path_or_default(const Value& value, const Field& field);
/// As path_or_default, short enough for a Unix socket.
std::optional<std::optional<std::string>> socket_path(const Value& value, const Field& field);

std::optional<Cidr> segment_address(const Value& value, const Field& field);
std::optional<Cidr> network(const Value& value, const Field& field);
std::optional<Exception> exception(const Value& value, const Field& field);
std::optional<PortSpec> port_spec(const Value& value, const Field& field);
std::optional<Forward::Listen> listen(const Value& value, const Field& field);
std::optional<std::variant<std::string, MacAddress, Ipv4>> forward_guest(const Value& value, const Field& field);
std::optional<std::uint32_t> mark(const Value& value, const Field& field);

/// An address that a host can have.
std::optional<Ipv4> host_address(const Value& value, const Field& field);
std::optional<Dhcp::Range> range(const Value& value, const Field& field);
/// At least 2m, or "infinite".
std::optional<std::chrono::seconds> lease_time(const Value& value, const Field& field);
/// 1s and more.
std::optional<std::chrono::seconds> timer(const Value& value, const Field& field);
std::optional<std::string> boot_server(const Value& value, const Field& field);
std::optional<std::string> boot_file(const Value& value, const Field& field);
std::optional<MacAddress> mac(const Value& value, const Field& field);
std::optional<std::vector<MacAddress>> macs(const Value& value, const Field& field);
std::optional<std::vector<std::uint8_t>> client_id(const Value& value, const Field& field);
std::optional<std::string> host_name(const Value& value, const Field& field);

std::optional<Endpoint> upstream(const Value& value, const Field& field);
std::optional<std::string> domain(const Value& value, const Field& field);
/// A domain that guests' names may live under: none that RFC 6761 or 6762 gives a meaning of its own.
std::optional<std::string> guest_domain(const Value& value, const Field& field);
std::optional<DomainPattern> domain_pattern(const Value& value, const Field& field);
std::optional<std::vector<DnsRecord>> dns_records(const Value& value, const Field& field);

struct BlockList {
    std::vector<DomainPattern> names;
    std::vector<std::string> files;
};
std::optional<BlockList> block_list(const Value& value, const Field& field);

std::optional<std::variant<std::string, std::uint32_t>> user(const Value& value, const Field& field);
/// An address with a port, or "" for none.
std::optional<std::optional<Endpoint>> metrics_endpoint(const Value& value, const Field& field);

template <std::uint64_t Least, std::uint64_t Most, class T>
std::optional<T> integer(const Value& value, const Field& field) {
    static_assert(Most <= static_cast<std::uint64_t>(std::numeric_limits<T>::max()));
    const auto number = integer_between(value, field, Least, Most);
    if (!number) return std::nullopt;
    return static_cast<T>(*number);
}

/// The words of an enumeration, in the order in which messages list them.
template <class E>
struct Choice {
    std::string_view word;
    E value;
};

/// The index of the string among `words`.
std::optional<std::size_t> word(const Value& value, const Field& field, std::span<const std::string_view> words);

template <const auto& Choices>
auto choice(const Value& value, const Field& field) -> std::optional<decltype(Choices[0].value)> {
    std::array<std::string_view, std::size(Choices)> words;
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = Choices[i].word;
    const auto index = word(value, field, words);
    if (!index) return std::nullopt;
    return Choices[*index].value;
}

template <class Reader>
using Read = typename std::invoke_result_t<Reader, const Value&, const Field&>::value_type;

/// What `Reader` takes, or "auto": an empty optional.
template <auto Reader>
auto or_auto(const Value& value, const Field& field) -> std::optional<std::optional<Read<decltype(Reader)>>> {
    using Inner = std::optional<Read<decltype(Reader)>>;
    if (const auto* text = value.string(); text && *text == "auto") return std::make_optional(Inner{});
    Inner inner = Reader(value, field.or_auto());
    if (!inner) return std::nullopt;
    return std::make_optional(std::move(inner));
}

/// A list of what `Reader` takes; every element is read, so that each wrong one is reported.
template <auto Reader>
auto list_of(const Value& value, const Field& field) -> std::optional<std::vector<Read<decltype(Reader)>>> {
    const auto* list = value.list();
    if (!list)
        return field.refuse(value, "a list, even of one", value.string() ? "write [" + describe(value) + "]" : "");
    std::vector<Read<decltype(Reader)>> result;
    bool good = true;
    for (const Value& element : *list) {
        auto one = Reader(element, field.element());
        good = good && one.has_value();
        if (one) result.push_back(std::move(*one));
    }
    if (!good) return std::nullopt;
    return result;
}

/// As list_of, but a lone string is a list of one, and an empty list is refused.
template <auto Reader>
auto some_of(const Value& value, const Field& field) -> std::optional<std::vector<Read<decltype(Reader)>>> {
    if (value.string()) return list_of<Reader>({value.place, List{value}}, field);
    if (value.list() && value.list()->empty()) return field.refuse(value, "a list of at least one");
    return list_of<Reader>(value, field);
}

}  // namespace vmrouter::conf::read
