#include "dhcp/pool.hpp"

namespace vmrouter::dhcp {
namespace {

/// .0 and .255 are legal hosts of a wide network, but old stacks in class C space take them for the network itself.
bool looks_like_a_network(Ipv4 address) {
    const bool class_c = address.value >> 29 == 0b110;
    const std::uint32_t last = address.value & 0xff;
    return class_c && (last == 0 || last == 255);
}

bool is_free(const LeaseTable& leases, Ipv4 address) {
    return leases.find(address) == nullptr;
}

/// Nobody has it, nobody had it, from `start` on; what may not be given is stepped over.
std::optional<Ipv4> walk(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations,
                         Ipv4 start) {
    const std::uint64_t size = config.range.size();
    std::uint64_t passed = 0;  // addresses of the range that have been looked at, so that the walk ends after one round
    Ipv4 from = start;
    while (passed < size) {
        const auto address = leases.next_free(from);
        if (!address) return std::nullopt;
        const std::uint64_t step = address->value >= from.value ? std::uint64_t{address->value} - from.value
                                                                : size - (std::uint64_t{from.value} - address->value);
        passed += step + 1;
        if (passed > size) return std::nullopt;
        if (usable(config, reservations, *address)) return address;
        from = *address == config.range.last ? config.range.first : Ipv4{address->value + 1};
    }
    return std::nullopt;
}

}  // namespace

std::uint32_t address_hash(Bytes hardware) {
    std::uint32_t hash = 0;
    for (const std::uint8_t byte : hardware) hash = byte + (hash << 6) + (hash << 16) - hash;
    return hash == 0 ? 1 : hash;
}

bool usable(const ServerConfig& config, const Reservations& reservations, Ipv4 address) {
    if (!config.range.contains(address) || !config.address.contains(address)) return false;
    if (address == config.address.address || looks_like_a_network(address)) return false;
    if (config.address.length < 31 && (address == config.address.first() || address == config.address.last()))
        return false;
    return reservations.by_address(address) == nullptr;
}

std::optional<Ipv4> choose_free(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations,
                                const HardwareAddress& hardware, Bytes client_id, std::optional<Ipv4> requested) {
    const auto can_have = [&](Ipv4 address) {
        return usable(config, reservations, address) && is_free(leases, address);
    };
    const bool by_client_id = hardware.empty() || config.identity == Identity::ClientId;
    std::optional<Ipv4> previous;
    const IdScope scope = id_scope(config.identity);
    if (by_client_id && !client_id.empty()) previous = leases.previous({}, client_id, scope);
    if (!previous && !hardware.empty()) previous = leases.previous(hardware, {}, scope);
    if (previous && can_have(*previous)) return previous;
    if (requested && can_have(*requested)) return requested;

    const std::uint64_t size = config.range.size();
    if (size == 0) return std::nullopt;
    const std::uint32_t hash = address_hash(hardware.empty() ? client_id : hardware.view());
    const Ipv4 start{static_cast<std::uint32_t>(config.range.first.value + hash % size)};
    if (const auto address = walk(leases, config, reservations, start)) return address;
    // Nothing is left that was never used: whoever was away longest loses the address it had.
    return leases.formerly_used(can_have);
}

}  // namespace vmrouter::dhcp
