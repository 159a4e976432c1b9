#include "src/lease_document.hpp"

#include <nlohmann/json.hpp>

#include "src/base/text.hpp"

namespace vmrouter {

using nlohmann::json;

json seconds_or_null(const std::optional<Time>& time) {
    if (!time) return nullptr;
    return std::chrono::floor<Seconds>(time->time_since_epoch()).count();
}

json text_or_null(std::string_view text) {
    return text.empty() ? json(nullptr) : json(std::string(text));
}

json lease_document(const dhcp::Lease& lease, Time now) {
    const bool is_over = lease.expires && *lease.expires <= now;
    return {{"address", to_string(lease.address)},
            {"mac", lease.hardware.empty() ? json(nullptr) : json(to_string(lease.hardware))},
            {"name", text_or_null(lease.name)},
            {"client_id", text_or_null(to_hex(lease.client_id))},
            {"expires", seconds_or_null(lease.expires)},
            {"state", std::string(is_over ? "expired" : dhcp::to_string(lease.state))},
            {"last_seen", lease.last_seen == Time{} ? json(nullptr) : seconds_or_null(lease.last_seen)}};
}

}  // namespace vmrouter
