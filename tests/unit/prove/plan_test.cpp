#include <catch2/catch.hpp>

#include "src/commands/plan_recipe.hpp"
#include "src/commands/plan_script.hpp"

using namespace vmrouter;

namespace {

Plan bridge_plan() {
    Plan plan;
    plan.instance = "virbr10";
    plan.segment = Segment{};
    plan.segment->name = "virbr10";
    plan.segment->address = *Cidr::parse("192.168.100.1/24");
    plan.policy.instance = "virbr10";
    plan.policy.segment = firewall::Segment{};
    plan.policy.segment->interface = "virbr10";
    plan.policy.segment->address = plan.segment->address;
    plan.leases_file = "/var/lib/vmrouter/virbr10/leases";
    plan.hosts_file = "/var/lib/vmrouter/virbr10/hostsfile";
    return plan;
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("Words are quoted for a shell when they need it, and only then") {
    CHECK(shell_word("virbr10") == "virbr10");
    CHECK(shell_word("") == "''");
    CHECK(shell_word("a b") == "'a b'");
    CHECK(shell_word("it's $(x)") == "'it'\\''s $(x)'");
}

TEST_CASE("A script opens the chains of others that can be opened, and names those that cannot") {
    const link::HostFacts host;
    ScriptFacts facts{host, {}, true};
    firewall::ForeignChain docker;
    docker.family = "ip";
    docker.table = "filter";
    docker.chain = "FORWARD";
    docker.insert_into = "DOCKER-USER";
    firewall::ForeignChain early = docker;
    early.chain = "EARLY";
    early.before_ours = true;
    facts.chains = {docker, early};
    const auto script = plan_script(bridge_plan(), facts);
    CHECK(has(script, "\n    pass ip filter DOCKER-USER\n"));
    CHECK(has(script, "ip filter EARLY drops before our rules are asked"));
    CHECK_FALSE(has(script, "\n    pass ip filter EARLY"));
    facts.chains.clear();
    facts.chains_known = false;
    CHECK(has(plan_script(bridge_plan(), facts), "could not be read (not root)"));
}

TEST_CASE("A plan without a segment is a script of rules, and no recipe") {
    Plan plan;
    plan.instance = "usermode";
    plan.policy.instance = "usermode";
    plan.policy.usermode.uids = {1000};
    const link::HostFacts host;
    const auto script = plan_script(plan, {host, {}, true});
    CHECK(has(script, "table inet vmrouter_usermode"));
    CHECK_FALSE(has(script, "ip link add"));
    CHECK(has(plan_recipe(plan, {}), "no recipe"));
}

TEST_CASE("What is asked for and not in the recipe is said") {
    conf::Config config;
    config.network.bridge = "virbr10";
    const auto plain = recipe_lacks(bridge_plan(), config);
    config.firewall.allow_domains = {{"debian.org", true}};
    config.usermode = {{std::string("alice")}};
    config.network.isolate_guests = true;
    config.dns.block_files = {"/etc/blocked"};
    CHECK(recipe_lacks(bridge_plan(), config).size() == plain.size() + 4);
}

TEST_CASE("A path in the configuration cannot begin another line of dnsmasq.conf or end its here-document") {
    conf::Config config;
    config.network.bridge = "virbr10";
    auto plan = bridge_plan();
    plan.leases_file = "/tmp/x\rEND_OF_DNSMASQ_CONF";
    CHECK(has(plan_recipe(plan, config), "dhcp-leasefile=/tmp/xEND_OF_DNSMASQ_CONF\n"));
}

TEST_CASE("dnsmasq gets options in the form it knows for them") {
    conf::Config config;
    config.network.bridge = "virbr10";
    config.dhcp.options = {{150, {192, 168, 100, 9}}, {224, {1, 2}}, {17, {'/', 's'}}};
    const auto text = dnsmasq_conf(bridge_plan(), config);
    CHECK(has(text, "dhcp-option=150,192.168.100.9\n"));
    CHECK(has(text, "dhcp-option=224,01:02\n"));
    CHECK(has(text, "dhcp-option=17,/s\n"));
    CHECK(has(text, "dhcp-range=192.168.100.2,192.168.100.254,255.255.255.0,3600\n"));
}
