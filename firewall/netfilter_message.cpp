#include "firewall/netfilter_message.hpp"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>

#include <new>

namespace vmrouter::firewall {

namespace {

void collect(const nlattr* first, int length, std::vector<const nlattr*>& into) {
    int left = length;
    for (const nlattr* attribute = first; nla_ok(attribute, left); attribute = nla_next(attribute, &left)) {
        const auto type = static_cast<std::size_t>(nla_type(attribute));
        if (type < into.size()) into[type] = attribute;
    }
}

}  // namespace

NetfilterMessage::NetfilterMessage(std::uint16_t subsystem, std::uint16_t type, int flags, std::uint8_t family,
                                   std::uint16_t resource)
    : message_(nlmsg_alloc()) {
    if (!message_) throw std::bad_alloc();
    nlmsghdr* header = nlmsg_put(message_.get(), 0, 0, (subsystem << 8) | type, sizeof(nfgenmsg), flags);
    auto* generic = static_cast<nfgenmsg*>(nlmsg_data(header));
    generic->nfgen_family = family;
    generic->version = NFNETLINK_V0;
    generic->res_id = htons(resource);
}

Bytes NetfilterMessage::bytes() const {
    const nlmsghdr* header = nlmsg_hdr(message_.get());
    return {reinterpret_cast<const std::uint8_t*>(header), header->nlmsg_len};
}

std::vector<const nlattr*> netfilter_attributes(const nlmsghdr& message, std::size_t count) {
    std::vector<const nlattr*> attributes(count);
    const int length = nlmsg_attrlen(&message, sizeof(nfgenmsg));
    if (length > 0) collect(nlmsg_attrdata(&message, sizeof(nfgenmsg)), length, attributes);
    return attributes;
}

std::vector<const nlattr*> nested_attributes(const nlattr* parent, std::size_t count) {
    std::vector<const nlattr*> attributes(count);
    if (parent != nullptr) collect(static_cast<const nlattr*>(nla_data(parent)), nla_len(parent), attributes);
    return attributes;
}

Bytes attribute_bytes(const nlattr* attribute) {
    if (attribute == nullptr) return {};
    return {static_cast<const std::uint8_t*>(nla_data(attribute)), static_cast<std::size_t>(nla_len(attribute))};
}

std::uint32_t attribute_u32(const nlattr* attribute) {
    return Reader(attribute_bytes(attribute)).u32();
}
std::uint16_t attribute_u16(const nlattr* attribute) {
    return Reader(attribute_bytes(attribute)).u16();
}
std::uint8_t attribute_u8(const nlattr* attribute) {
    return Reader(attribute_bytes(attribute)).u8();
}

}  // namespace vmrouter::firewall
