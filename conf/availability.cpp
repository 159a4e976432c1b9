#include "conf/availability.hpp"

#include <array>
#include <string>
#include <vector>

namespace vmrouter::conf {
namespace {

constexpr std::array rows = {
    UnavailableRow{"control.sandbox", [](const Config& c) { return c.control.sandbox != Control::Sandbox::Off; },
                   [](Config& c) { c.control.sandbox = Control::Sandbox::Off; }, "the sandbox"},
};

}  // namespace

std::span<const UnavailableRow> unavailable() {
    return rows;
}

std::vector<Unavailable> apply_availability(std::span<const UnavailableRow> table, Config& config, const Places& places,
                                            Report& report) {
    std::vector<Unavailable> off;
    for (const UnavailableRow& row : table) {
        if (!row.active(config)) continue;
        if (places.contains(row.key)) {
            report.error(
                places.of(row.key),
                std::string(row.key) + " asks for " + std::string(row.what) + ", which this version does not have yet",
                "remove it");
            continue;
        }
        row.disable(config);
        off.push_back({std::string(row.key), std::string(row.what)});
    }
    return off;
}

}  // namespace vmrouter::conf
