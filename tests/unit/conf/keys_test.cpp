#include "conf/keys.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "text.hpp"

using namespace vmrouter;
using namespace vmrouter::conf;
using namespace vmrouter::conf::test;

TEST_CASE("The defaults that the table of keys prints are the defaults of Config") {
    for (const SectionText& section : sections()) {
        if (section.repeated) continue;
        for (const KeyText& key : section.keys) {
            if (key.fallback.empty()) continue;
            CAPTURE(section.name, key.name);
            const std::string segment = "network.bridge = \"br0\"\n";
            const auto loaded = load_text(
                segment + std::string(section.name) + '.' + std::string(key.name) + " = " + std::string(key.fallback),
                "vm.toml");
            CHECK(text_of(loaded.errors) == "");
            Config expected = load_text(segment, "vm.toml").config;
            expected.control.sandbox = loaded.config.control.sandbox;  // written out, it is not switched off
            CHECK(loaded.config == expected);
        }
    }
}

TEST_CASE("Every key has a help text and every flag is spelled once") {
    std::set<std::string_view> flags;
    for (const SectionText& section : sections()) {
        CHECK_FALSE(section.help.empty());
        CHECK_FALSE(section.keys.empty());
        for (const KeyText& key : section.keys) {
            CAPTURE(section.name, key.name);
            CHECK_FALSE(key.help.empty());
            CHECK_FALSE(key.form.empty());
            CHECK(key.help.back() != '.');
            if (key.flag.empty()) continue;
            CHECK(flags.insert(key.flag).second);
            CHECK_FALSE(section.repeated);
            CHECK(key.flag.find('_') == std::string_view::npos);
        }
    }
    CHECK(flags.contains("address"));
    CHECK(flags.contains("lan"));
    CHECK(flags.contains("lease-time"));
}

TEST_CASE("Every flag takes the default that its key prints") {
    for (const SectionText& section : sections()) {
        for (const KeyText& key : section.keys) {
            if (key.flag.empty() || key.fallback.empty()) continue;
            CAPTURE(key.flag);
            std::string value(key.fallback);
            std::erase_if(value, [](char c) { return c == '"' || c == '[' || c == ']'; });
            const std::vector<Override> flags = {
                {"network.bridge", "br0", "--bridge"},
                {std::string(section.name) + '.' + std::string(key.name), value, "--flag"}};
            const auto loaded = load_defaults(flags);
            CHECK(text_of(loaded.errors) == "");
        }
    }
}
