#include "conf/availability.hpp"

#include <catch2/catch.hpp>

using namespace vmrouter;
using namespace vmrouter::conf;

namespace {

const UnavailableRow rows[] = {
    {"control.sandbox", [](const Config& config) { return config.control.sandbox != Control::Sandbox::Off; },
     [](Config& config) { config.control.sandbox = Control::Sandbox::Off; }, "the sandbox"},
};

}  // namespace

TEST_CASE("A default that is not there yet is off and listed") {
    Config config;
    Report report;
    const auto off = apply_availability(rows, config, {}, report);
    REQUIRE(off.size() == 1);
    CHECK(off[0].key == "control.sandbox");
    CHECK(off[0].what == "the sandbox");
    CHECK(config.control.sandbox == Control::Sandbox::Off);
    CHECK(report.errors().empty());
    CHECK(apply_availability(rows, config, {}, report).empty());
}

TEST_CASE("Asking for what is not there yet is an error at its place") {
    Config config;
    Places places;
    places.set("control.sandbox", {"vm.toml", 7, 11});
    Report report;
    CHECK(apply_availability(rows, config, places, report).empty());
    REQUIRE(report.errors().size() == 1);
    CHECK(
        to_string(report.errors()[0]) ==
        "vm.toml:7:11: control.sandbox asks for the sandbox, which this version does not have yet\n  hint: remove it");
}

TEST_CASE("Whatever a key's table says is missing can be switched off") {
    for (const UnavailableRow& row : unavailable()) {
        CAPTURE(row.key);
        Config config;
        row.disable(config);
        CHECK_FALSE(row.active(config));
    }
}
