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
