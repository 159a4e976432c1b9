#include <catch2/catch.hpp>
#include <cstdlib>

#include "firewall/ruleset.hpp"
#include "src/base/file.hpp"
#include "tests/unit/firewall/policies.hpp"

using namespace vmrouter;
using namespace vmrouter::firewall;
using namespace vmrouter::firewall::test;

TEST_CASE("The rule sets are the golden ones") {
    for (const auto& [name, policy] : golden_policies()) {
        const std::string path = VMROUTER_TEST_DATA "/firewall/" + name + ".nft";
        const std::string text = ruleset(policy);
        if (std::getenv("VMROUTER_UPDATE_GOLDENS") != nullptr) REQUIRE(replace_file(path, text));
        const auto golden = read_file(path);
        REQUIRE(golden);
        INFO("VMROUTER_UPDATE_GOLDENS=1 writes " << path << " anew; review the diff");
        CHECK(*golden == text);
    }
}

TEST_CASE("Another DHCP server of this host hears clients that have no address yet when its port is opened") {
    Policy policy = bridge_policy();
    const std::string rule = "255.255.255.255 } udp sport { 67, 68 } udp dport 67 goto vm_pass";
    CHECK(ruleset(policy).find(rule) != std::string::npos);
    policy.segment->dhcp = false;
    CHECK(ruleset(policy).find(rule) == std::string::npos);
    policy.segment->open_host_ports.push_back({Protocol::Udp, 67});
    CHECK(ruleset(policy).find(rule) != std::string::npos);
}
