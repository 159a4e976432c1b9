#include "src/commands/check.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace vmrouter;

namespace {

struct Outcome {
    int status = 0;
    std::string out;
    std::string err;
};

Outcome check_text(const std::string& text, std::vector<conf::Override> overrides = {}) {
    const auto path = std::filesystem::temp_directory_path() / ("vmrouter-check-" + std::to_string(getpid()) + ".toml");
    std::ofstream(path) << text;
    std::ostringstream out;
    std::ostringstream err;
    const int status = check({{path.string(), std::move(overrides)}}, out, err);
    std::filesystem::remove(path);
    const auto named = [&path](std::string said) {
        for (auto at = said.find(path.string()); at != std::string::npos; at = said.find(path.string()))
            said.replace(at, path.string().size(), "vm.toml");
        return said;
    };
    return {status, named(out.str()), named(err.str())};
}

}  // namespace

TEST_CASE("A right configuration is OK and what is missing is listed") {
    const auto outcome = check_text("network.bridge = \"br0\"\n");
    CHECK(outcome.status == 0);
    CHECK(outcome.err == "");
    std::string expected;
    for (const auto& missing : conf::load_text("network.bridge = \"br0\"\n", "").unavailable)
        expected += "not in this version yet, and off: " + missing.what + " (" + missing.key + ")\n";
    CHECK(outcome.out == expected + "vm.toml: OK\n");
}

TEST_CASE("Warnings do not make a configuration wrong") {
    const auto outcome = check_text("network.bridge = \"br0\"\ndns.enabled = false\ndns.domain = \"a.b\"\n");
    CHECK(outcome.status == 0);
    CHECK(outcome.err == "vmrouter: warning: vm.toml:3:14: dns.domain has no effect while dns.enabled is false\n");
    CHECK(outcome.out.find("vm.toml: OK, 1 warning\n") != std::string::npos);
}

TEST_CASE("Errors are all printed and the status is 2") {
    const auto outcome = check_text("network.bridge = \"br0\"\nnetwork.mtu = 5\nnetwork.stp = 1\n");
    CHECK(outcome.status == 2);
    CHECK(outcome.out == "");
    CHECK(outcome.err ==
          "vmrouter: vm.toml:2:15: network.mtu is 5; it must be a number from 576 to 9000, or \"auto\"\n"
          "vmrouter: vm.toml:3:15: network.stp is 1; it must be true or false\n"
          "vmrouter: vm.toml: 2 errors\n");
    CHECK(check_text("network.bridge = \"br0\"\n", {{"network.mtu", "5", "--mtu"}}).status == 2);
}

TEST_CASE("A missing file is wrong use") {
    std::ostringstream out;
    std::ostringstream err;
    CHECK(check({{"/nonexistent.toml", {}}}, out, err) == 2);
    CHECK(err.str().find("vmrouter: /nonexistent.toml: ") == 0);
}
