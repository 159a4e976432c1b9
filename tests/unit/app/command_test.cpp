#include "src/command.hpp"

#include <catch2/catch.hpp>

using namespace vmrouter;

TEST_CASE("A command's output is returned and its failure is told in its own words") {
    CHECK(*run_command({"echo", "one", "two"}) == "one two\n");
    const auto failed = run_command({"ls", "/nonexistent"});
    REQUIRE_FALSE(failed);
    CHECK(failed.error().what.find("/nonexistent") != std::string::npos);
    CHECK_FALSE(run_command({"no-such-program"}));
}

TEST_CASE("A command that does not end is killed when its time is over") {
    const auto begun = std::chrono::steady_clock::now();
    CHECK_FALSE(run_command({"sleep", "60"}, Milliseconds{100}));
    CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds{10});
}

TEST_CASE("A command's arguments are not looked at by a shell") {
    CHECK(*run_command({"echo", "$(id)", ";", "reboot"}) == "$(id) ; reboot\n");
}
