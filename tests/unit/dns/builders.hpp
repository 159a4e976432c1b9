#pragma once

// Messages, built by hand and as wrongly as a test wants, and the usual questions about replies.

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dns/message.hpp"
#include "dns/response.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dns::test {

using Packet = std::vector<std::uint8_t>;

/// "12 34 | 01 00": digits with anything but letters between them.
inline Packet hex(std::string_view text) {
    std::string digits;
    for (const char c : text)
        if (std::isxdigit(static_cast<unsigned char>(c)) != 0) digits += c;
    return parse_hex(digits).value();
}

inline Name name(std::string_view text) {
    return Name::parse(text).value();
}

/// A message, section by section; the counts follow unless a test sets them.
class Builder {
public:
    explicit Builder(std::uint16_t id = 0x1234, std::uint16_t flags = 0x0100) : flags_(flags) {
        u16(id);
        u16(flags);
        for (int i = 0; i < 4; ++i) u16(0);
    }
    Builder& question(std::string_view qname, Type type, Class klass = Class::In) {
        raw(name(qname).wire());
        u16(static_cast<std::uint16_t>(type));
        u16(static_cast<std::uint16_t>(klass));
        return count(0);
    }
    Builder& answer(std::string_view owner, Type type, std::uint32_t ttl, const Packet& rdata) {
        return record(1, owner, type, ttl, rdata);
    }
    Builder& authority(std::string_view owner, Type type, std::uint32_t ttl, const Packet& rdata) {
        return record(2, owner, type, ttl, rdata);
    }
    Builder& additional(std::string_view owner, Type type, std::uint32_t ttl, const Packet& rdata) {
        return record(3, owner, type, ttl, rdata);
    }
    Builder& record(int section, std::string_view owner, Type type, std::uint32_t ttl, const Packet& rdata,
                    Class klass = Class::In) {
        raw(name(owner).wire());
        u16(static_cast<std::uint16_t>(type));
        u16(static_cast<std::uint16_t>(klass));
        u16(static_cast<std::uint16_t>(ttl >> 16));
        u16(static_cast<std::uint16_t>(ttl));
        u16(static_cast<std::uint16_t>(rdata.size()));
        raw(rdata);
        return count(section);
    }
    Builder& opt(std::uint16_t size = 1232, std::uint32_t ttl = 0, const Packet& rdata = {}) {
        return record(3, ".", Type::Opt, ttl, rdata, static_cast<Class>(size));
    }
    Builder& raw(Bytes bytes) {
        packet_.insert(packet_.end(), bytes.begin(), bytes.end());
        return *this;
    }
    Builder& set(std::size_t position, std::uint16_t value) {
        packet_[position] = static_cast<std::uint8_t>(value >> 8);
        packet_[position + 1] = static_cast<std::uint8_t>(value);
        return *this;
    }
    Builder& count(int section) {
        const std::size_t at = 4 + 2 * static_cast<std::size_t>(section);
        return set(at, static_cast<std::uint16_t>((packet_[at] << 8 | packet_[at + 1]) + 1));
    }
    Packet done() const { return packet_; }
    operator Packet() const { return packet_; }
    operator Bytes() const { return packet_; }

private:
    void u16(std::uint16_t value) {
        packet_.push_back(static_cast<std::uint8_t>(value >> 8));
        packet_.push_back(static_cast<std::uint8_t>(value));
    }
    std::uint16_t flags_;
    Packet packet_;
};

inline Packet a(std::string_view address) {
    const std::uint32_t value = Ipv4::parse(address).value().value;
    return {static_cast<std::uint8_t>(value >> 24), static_cast<std::uint8_t>(value >> 16),
            static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}
inline Packet aaaa(std::string_view address) {
    const Ipv6 value = Ipv6::parse(address).value();
    return {value.bytes.begin(), value.bytes.end()};
}
inline Packet target(std::string_view text) {
    const Name value = name(text);
    return {value.wire().begin(), value.wire().end()};
}
inline Packet operator+(Packet left, const Packet& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}
inline Packet soa(std::string_view mname, std::uint32_t minimum) {
    return target(mname) + target("hostmaster." + std::string(mname)) + hex("00000001 00000e10 00000258 00093a80") +
           Packet{static_cast<std::uint8_t>(minimum >> 24), static_cast<std::uint8_t>(minimum >> 16),
                  static_cast<std::uint8_t>(minimum >> 8), static_cast<std::uint8_t>(minimum)};
}

/// A query as parse_query() makes it.
inline Query query(std::string_view qname, Type type = Type::A, Class klass = Class::In) {
    Query query;
    REQUIRE(parse_query(Builder().question(qname, type, klass).done(), query) == Parsed::Query);
    return query;
}
inline Query edns_query(std::string_view qname, Type type = Type::A, bool dnssec_ok = false,
                        std::uint16_t size = 1232) {
    Query query;
    REQUIRE(parse_query(Builder().question(qname, type).opt(size, dnssec_ok ? 0x8000 : 0).done(), query) ==
            Parsed::Query);
    return query;
}

/// A reply taken apart again with the walk that upstream responses go through.
struct Seen {
    struct Item {
        Record::Section section;
        std::string owner;
        Type type;
        std::uint32_t ttl;
        Packet rdata;
    };
    std::uint16_t id = 0;
    std::uint16_t flags = 0;
    Rcode rcode = Rcode::NoError;
    std::string qname;
    std::vector<Item> items;
    bool has_opt = false;
    std::optional<std::uint16_t> ede;
    bool dnssec_ok = false;
    std::size_t size = 0;

    [[nodiscard]] bool aa() const { return (flags & 0x0400) != 0; }
    [[nodiscard]] bool tc() const { return (flags & 0x0200) != 0; }
    [[nodiscard]] bool ad() const { return (flags & 0x0020) != 0; }
    [[nodiscard]] std::size_t count(Record::Section section) const {
        std::size_t n = 0;
        for (const Item& item : items) n += item.section == section ? 1 : 0;
        return n;
    }
    [[nodiscard]] std::vector<std::string> addresses() const {
        std::vector<std::string> found;
        for (const Item& item : items) {
            if (item.type == Type::A && item.rdata.size() == 4)
                found.push_back(to_string(Ipv4{item.rdata[0], item.rdata[1], item.rdata[2], item.rdata[3]}));
            if (item.type == Type::Aaaa && item.rdata.size() == 16) {
                Ipv6 address;
                std::copy(item.rdata.begin(), item.rdata.end(), address.bytes.begin());
                found.push_back(to_string(address));
            }
        }
        return found;
    }
};

inline Seen see(Bytes message) {
    Seen seen;
    REQUIRE(message.size() >= header_size);
    Reader reader(message);
    seen.size = message.size();
    seen.id = reader.u16();
    seen.flags = reader.u16();
    std::uint16_t rcode = seen.flags & 0xf;
    if (reader.u16() == 1) {
        Name qname;
        std::size_t position = header_size;
        REQUIRE(qname.read(message, position));
        seen.qname = to_string(qname);
    }
    RecordWalk walk(message);
    while (const Record* record = walk.next()) {
        if (record->type == Type::Opt) {
            seen.has_opt = true;
            seen.dnssec_ok = (record->ttl & 0x8000) != 0;
            rcode = static_cast<std::uint16_t>(rcode | record->ttl >> 24 << 4);
            if (record->rdata_size == 6)
                seen.ede = static_cast<std::uint16_t>(message[record->rdata + 4] << 8 | message[record->rdata + 5]);
            continue;
        }
        const Bytes rdata = message.subspan(record->rdata, record->rdata_size);
        seen.items.push_back(
            {record->section, to_string(record->owner), record->type, record->ttl, Packet(rdata.begin(), rdata.end())});
    }
    REQUIRE(walk.ok());
    CHECK(walk.position() == message.size());  // the counts say everything
    seen.rcode = static_cast<Rcode>(rcode);
    return seen;
}

/// The name that a record's RDATA (which is one name, perhaps compressed) means.
inline std::string rdata_name(Bytes message, Type type) {
    RecordWalk walk(message);
    while (const Record* record = walk.next()) {
        if (record->type != type) continue;
        Name found;
        std::size_t position = record->rdata;
        REQUIRE(found.read(message, position));
        return to_string(found);
    }
    return "none";
}

/// Calls `parse` with every shorter version of the packet, each in a buffer of exactly that size.
inline void every_truncation(const Packet& packet, const std::function<void(Bytes)>& parse) {
    for (std::size_t size = 0; size < packet.size(); ++size) {
        const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[size]);
        std::memcpy(exact.get(), packet.data(), size);
        parse({exact.get(), size});
    }
}

}  // namespace vmrouter::dns::test
