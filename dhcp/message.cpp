#include "dhcp/message.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <numeric>
#include <span>

namespace vmrouter::dhcp {
namespace {

constexpr std::uint32_t magic_cookie = 0x63825363;  // RFC 1497
constexpr std::size_t chaddr_size = 16;
constexpr std::size_t sname_size = 64;
constexpr std::size_t file_size = 128;
constexpr std::size_t fixed_size = 236;
constexpr std::uint8_t overload_file = 1;
constexpr std::uint8_t overload_sname = 2;
constexpr std::size_t longest_client_id = 255;

/// What no client can do without, wherever its list has it.
constexpr std::array essential{
    option::subnet_mask,  option::lease_time,   option::message_type,       option::server_identifier,
    option::text,         option::renewal_time, option::rebinding_time,     option::client_identifier,
    option::rapid_commit, option::relay_agent,  option::machine_identifier, option::subnet_selection};

/// A fixed field as text: up to its first NUL. A field that is full has no NUL; its last byte is given up, so that what
/// we write back is terminated.
std::string field_text(Bytes field) {
    const auto end = std::ranges::find(field.first(field.size() - 1), 0);
    return {field.begin(), field.begin() + (end - field.begin())};
}

/// Which of the fixed fields hold options (RFC 2132 section 9.3); said in the options field itself, nowhere else.
std::uint8_t overloaded_fields(Bytes options) {
    Reader reader(options);
    while (reader.remaining() > 0) {
        const std::uint8_t code = reader.u8();
        if (code == option::end) break;
        if (code == option::pad) continue;
        const std::size_t size = reader.u8();
        const Bytes value = reader.bytes(size);
        if (!reader.ok()) break;
        if (code == option::overload && value.size() == 1) return value[0] & (overload_file | overload_sname);
    }
    return 0;
}

void write_option(Writer& writer, const Options::Entry& entry) {
    Bytes rest = entry.value;
    do {
        const std::size_t size = std::min<std::size_t>(rest.size(), 255);
        writer.u8(entry.code);
        writer.u8(static_cast<std::uint8_t>(size));
        writer.bytes(rest.first(size));
        rest = rest.subspan(size);
    } while (!rest.empty());
}

void write_field(Writer& writer, std::string_view text, std::size_t size) {
    const std::size_t used = std::min(text.size(), size - 1);
    writer.text(text.substr(0, used));
    writer.zeros(size - used);
}

/// Where an option goes when the options field is full.
enum class Area : std::uint8_t { Options, File, Sname, Nowhere };

struct Layout {
    std::vector<Area> areas;  ///< of each option, by index
    bool file_used = false;
    bool sname_used = false;
};

/// Indices of the options: the essential ones first, then what the client lists in its order, then the rest.
std::vector<std::size_t> by_preference(const Options& options, Bytes preferred) {
    const auto rank = [&](std::size_t index) -> std::ptrdiff_t {
        const std::uint8_t code = options[index].code;
        if (std::ranges::find(essential, code) != essential.end()) return -1;
        return std::ranges::find(preferred, code) - preferred.begin();
    };
    std::vector<std::size_t> order(options.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, {}, rank);
    return order;
}

/// First fit, in the order given (empty: as they are): the options field, then file, then sname. Option 82 is set aside
/// beforehand.
Layout lay_out(const Options& options, std::span<const std::size_t> order, std::size_t options_room, bool file_free,
               bool sname_free) {
    Layout layout;
    layout.areas.resize(options.size());
    std::size_t file_room = file_free ? file_size - 1 : 0;  // one byte for each area's end option
    std::size_t sname_room = sname_free ? sname_size - 1 : 0;
    for (std::size_t place = 0; place < options.size(); ++place) {
        const std::size_t i = order.empty() ? place : order[place];
        const std::size_t size = encoded_size(options[i].value.size());
        Area area = Area::Nowhere;
        if (options[i].code == option::relay_agent || size <= options_room) {
            area = Area::Options;
            if (options[i].code != option::relay_agent) options_room -= size;
        } else if (size <= file_room) {
            area = Area::File;
            file_room -= size;
            layout.file_used = true;
        } else if (size <= sname_room) {
            area = Area::Sname;
            sname_room -= size;
            layout.sname_used = true;
        }
        layout.areas[i] = area;
    }
    return layout;
}

void write_area(Writer& writer, const Options& options, const Layout& layout, Area area, std::size_t size) {
    const std::size_t start = writer.position();
    for (std::size_t i = 0; i < options.size(); ++i)
        if (layout.areas[i] == area) write_option(writer, options[i]);
    writer.u8(option::end);
    writer.zeros(size - (writer.position() - start));
}

/// The layout of all options, with overload (which itself takes three bytes) only when they do not fit otherwise.
Layout choose_layout(const Message& message, const Room& room, std::size_t options_room) {
    const Options& options = message.options;
    Layout plain = lay_out(options, {}, options_room, false, false);
    if (std::ranges::find(plain.areas, Area::Nowhere) == plain.areas.end()) return plain;
    const auto order = by_preference(options, room.preferred);
    if (!room.overload || options_room < 3) return lay_out(options, order, options_room, false, false);
    return lay_out(options, order, options_room - 3, message.file.empty(), message.sname.empty());
}

void write_fixed(Writer& writer, const Message& message) {
    writer.u8(message.op);
    writer.u8(message.chaddr.type);
    writer.u8(message.chaddr.length);
    writer.u8(message.hops);
    writer.u32(message.xid);
    writer.u16(message.secs);
    writer.u16(message.flags);
    writer.u32(message.ciaddr.value);
    writer.u32(message.yiaddr.value);
    writer.u32(message.siaddr.value);
    writer.u32(message.giaddr.value);
    writer.bytes(message.chaddr.bytes);
}

}  // namespace

std::string_view to_string(MessageType type) {
    switch (type) {
        case MessageType::Bootp:
            return "BOOTP";
        case MessageType::Discover:
            return "DISCOVER";
        case MessageType::Offer:
            return "OFFER";
        case MessageType::Request:
            return "REQUEST";
        case MessageType::Decline:
            return "DECLINE";
        case MessageType::Ack:
            return "ACK";
        case MessageType::Nak:
            return "NAK";
        case MessageType::Release:
            return "RELEASE";
        case MessageType::Inform:
            return "INFORM";
        case MessageType::Unknown:
            break;
    }
    return "UNKNOWN";
}

std::string_view to_string(ParseError error) {
    switch (error) {
        case ParseError::TooShort:
            return "shorter than a BOOTP message";
        case ParseError::BadOp:
            return "op is neither request nor reply";
        case ParseError::BadHlen:
            return "hlen over 16";
        case ParseError::NoHardwareType:
            return "a hardware address without a type";
    }
    return "";
}

MessageType Message::type() const {
    const auto value = options.find(option::message_type);
    if (!value) return MessageType::Bootp;
    if (value->size() != 1) return MessageType::Unknown;
    const std::uint8_t code = value->front();
    const bool known = code >= static_cast<std::uint8_t>(MessageType::Discover) &&
                       code <= static_cast<std::uint8_t>(MessageType::Inform);
    return known ? static_cast<MessageType>(code) : MessageType::Unknown;
}

Bytes Message::client_id() const {
    const Bytes whole = options.find(option::client_identifier).value_or(Bytes{});
    return whole.first(std::min(whole.size(), longest_client_id));
}

bool Message::terminates_strings() const {
    for (const std::uint8_t code : {option::host_name, option::vendor_class}) {
        const auto value = options.find(code);
        if (value && value->size() > 1 && value->back() == 0) return true;
    }
    return false;
}

Result<Message, ParseError> parse(Bytes payload) {
    Reader reader(payload);
    Message message;
    message.op = reader.u8();
    const std::uint8_t htype = reader.u8();
    const std::uint8_t hlen = reader.u8();
    message.hops = reader.u8();
    message.xid = reader.u32();
    message.secs = reader.u16();
    message.flags = reader.u16();
    message.ciaddr = Ipv4{reader.u32()};
    message.yiaddr = Ipv4{reader.u32()};
    message.siaddr = Ipv4{reader.u32()};
    message.giaddr = Ipv4{reader.u32()};
    const Bytes chaddr = reader.bytes(chaddr_size);
    const Bytes sname = reader.bytes(sname_size);
    const Bytes file = reader.bytes(file_size);
    if (!reader.ok()) return Failure{ParseError::TooShort};
    if (message.op != Message::request && message.op != Message::reply) return Failure{ParseError::BadOp};
    if (hlen > chaddr_size) return Failure{ParseError::BadHlen};
    if (htype == 0 && hlen > 0) return Failure{ParseError::NoHardwareType};
    message.chaddr = HardwareAddress{htype, chaddr.first(hlen)};

    // Without the cookie the rest is some vendor's own affair (RFC 951), not options.
    message.cookie = reader.u32() == magic_cookie && reader.ok();
    const Bytes options = message.cookie ? reader.rest() : Bytes{};
    const std::uint8_t overload = overloaded_fields(options);
    std::array<Bytes, 3> areas{options};
    std::size_t count = 1;
    if ((overload & overload_file) != 0)
        areas[count++] = file;
    else
        message.file = field_text(file);
    if ((overload & overload_sname) != 0)
        areas[count++] = sname;
    else
        message.sname = field_text(sname);
    message.options = Options::read(std::span{areas}.first(count));
    return message;
}

std::size_t encoded_size(std::size_t value_size) {
    const std::size_t pieces = std::max<std::size_t>(1, (value_size + 254) / 255);
    return value_size + 2 * pieces;
}

Serialized serialize(const Message& message, const Room& room) {
    assert(message.cookie || message.options.empty());
    const auto relay = message.options.find(option::relay_agent);
    const std::size_t relay_size = relay ? encoded_size(relay->size()) : 0;
    const std::size_t overhead = fixed_size + (message.cookie ? 4 + 1 : 0) + relay_size;  // cookie, end option
    const std::size_t limit = std::max(room.max_size, overhead);
    const Layout layout = choose_layout(message, room, limit - overhead);

    Serialized result;
    result.bytes.resize(std::max(limit, room.min_size));
    Writer writer(result.bytes);
    write_fixed(writer, message);
    if (layout.sname_used)
        write_area(writer, message.options, layout, Area::Sname, sname_size);
    else
        write_field(writer, message.sname, sname_size);
    if (layout.file_used)
        write_area(writer, message.options, layout, Area::File, file_size);
    else
        write_field(writer, message.file, file_size);
    if (message.cookie) {
        writer.u32(magic_cookie);
        for (std::size_t i = 0; i < message.options.size(); ++i) {
            const auto entry = message.options[i];
            if (layout.areas[i] == Area::Nowhere) result.left_out.push_back(entry.code);
            if (layout.areas[i] == Area::Options && entry.code != option::relay_agent) write_option(writer, entry);
        }
        if (layout.file_used || layout.sname_used) {
            writer.u8(option::overload);
            writer.u8(1);
            writer.u8(static_cast<std::uint8_t>((layout.file_used ? overload_file : 0) |
                                                (layout.sname_used ? overload_sname : 0)));
        }
        if (relay) write_option(writer, {option::relay_agent, *relay});
        writer.u8(option::end);
    }
    if (writer.position() < room.min_size) writer.zeros(room.min_size - writer.position());
    assert(writer.ok());
    result.bytes.resize(writer.position());
    return result;
}

}  // namespace vmrouter::dhcp
