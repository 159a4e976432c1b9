#include "src/cli.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "conf/keys.hpp"
#include "src/base/text.hpp"

using namespace vmrouter;
using namespace vmrouter::cli;

namespace {

std::variant<Command, Finished> parse_line(std::string_view line) {
    std::vector<std::string> words;
    for (const auto word : split(line, ' '))
        if (!word.empty()) words.emplace_back(word);
    return parse(words);
}

template <class T>
T command(std::string_view line) {
    CAPTURE(line);
    const auto result = parse_line(line);
    if (const auto* finished = std::get_if<Finished>(&result)) FAIL(finished->err + finished->out);
    REQUIRE(std::holds_alternative<T>(std::get<Command>(result)));
    return std::get<T>(std::get<Command>(result));
}

/// What wrong use is answered with.
std::string complaint(std::string_view line) {
    CAPTURE(line);
    const auto result = parse_line(line);
    REQUIRE(std::holds_alternative<Finished>(result));
    const auto& finished = std::get<Finished>(result);
    CHECK(finished.status == 2);
    CHECK(finished.out == "");
    return finished.err;
}

/// What is printed instead of doing anything.
std::string printed(std::string_view line) {
    CAPTURE(line);
    const auto result = parse_line(line);
    REQUIRE(std::holds_alternative<Finished>(result));
    CHECK(std::get<Finished>(result).status == 0);
    CHECK(std::get<Finished>(result).err == "");
    return std::get<Finished>(result).out;
}

}  // namespace

TEST_CASE("Without a command a configuration or a segment is served") {
    CHECK(command<Run>("--config vm.toml").source.file == "vm.toml");
    CHECK(command<Run>("-c vm.toml").source.file == "vm.toml");
    for (const auto* flag : {"--iface", "--interface"}) {
        const auto source = command<Run>(std::string(flag) + " enp6s0").source;
        CHECK(source.file == "");
        REQUIRE(source.overrides.size() == 1);
        CHECK(source.overrides[0].key == "network.interface");
        CHECK(source.overrides[0].value == "enp6s0");
        CHECK(load(source).config.network.interface == "enp6s0");
    }
    CHECK(complaint("").find("vmrouter: there is no configuration\n  hint: ") == 0);
    CHECK(complaint("--lan allow").find("there is no configuration") != std::string::npos);
}

TEST_CASE("Flags become overrides of their keys") {
    const auto source =
        command<Run>(
            "--bridge br0 --address 10.0.0.1/24 --lan=allow --lease-time 12h --block 1.1.1.1,2.2.2.2 --block 3.3.3.3")
            .source;
    const auto loaded = load(source);
    CHECK(loaded.errors.empty());
    CHECK(loaded.config.network.bridge == "br0");
    CHECK(loaded.config.network.address == Cidr::parse("10.0.0.1/24"));
    CHECK(loaded.config.firewall.lan == conf::Firewall::Lan::Allow);
    CHECK(loaded.config.dhcp.lease_time == std::chrono::hours{12});
    CHECK(loaded.config.firewall.block.size() == 3);
    CHECK(load(command<Run>("--bridge br0 --bridge br1").source).config.network.bridge == "br1");

    const auto wrong = load(command<Run>("--bridge br0 --mtu 5").source);
    REQUIRE(wrong.errors.size() == 1);
    CHECK(to_string(wrong.errors[0]).find("--mtu: network.mtu is 5;") == 0);
}

TEST_CASE("Every key of the table that has a flag is an option of whatever takes a configuration") {
    const auto all = commands();
    for (const std::string name : {"", "check", "plan"}) {
        const auto found =
            std::find_if(all.begin(), all.end(), [&](const CommandText& text) { return text.name == name; });
        REQUIRE(found != all.end());
        for (const conf::SectionText& section : conf::sections()) {
            for (const conf::KeyText& key : section.keys) {
                if (key.flag.empty()) continue;
                CAPTURE(name, key.flag);
                const std::string flag = "--" + std::string(key.flag);
                const auto has = [&flag](const OptionText& option) {
                    return std::find(option.names.begin(), option.names.end(), flag) != option.names.end();
                };
                CHECK(std::count_if(found->options.begin(), found->options.end(), has) == 1);
            }
        }
    }
}

TEST_CASE("check and plan take their file as an argument or as an option") {
    CHECK(command<Check>("check vm.toml").source.file == "vm.toml");
    CHECK(command<Check>("check --config vm.toml").source.file == "vm.toml");
    CHECK(command<Check>("--config vm.toml check").source.file == "vm.toml");
    CHECK(command<Check>("check vm.toml --lan allow").source.overrides.size() == 1);
    CHECK(command<Plan>("plan vm.toml").format == Plan::Format::Text);
    CHECK(command<Plan>("plan --format recipe --bridge br0 --address 10.0.0.1/24").format == Plan::Format::Recipe);
    CHECK(command<Plan>("plan vm.toml --format nft").format == Plan::Format::Nft);
    CHECK(complaint("plan vm.toml --format xml") == "vmrouter: \"xml\" is not one of text|sh|recipe|nft\n");
    CHECK(complaint("check").find("there is no configuration") != std::string::npos);
    CHECK(complaint("check a.toml b.toml") == "vmrouter: unexpected argument 'b.toml'\n");
    CHECK(complaint("check a.toml --config b.toml") != "");
}

TEST_CASE("Commands about an instance name it as it was started") {
    CHECK(command<Down>("down").instance.name == "");
    CHECK(command<Down>("down --instance br0").instance.name == "br0");
    CHECK(command<Down>("down --iface enp6s0").instance.name == "enp6s0");
    CHECK(command<Down>("down --bridge br0").instance.name == "br0");
    CHECK(command<Down>("down --config vm.toml").instance.file == "vm.toml");
    CHECK(command<Down>("--config vm.toml down").instance.file == "vm.toml");
    CHECK(command<Down>("--iface enp6s0 down").instance.name == "enp6s0");
    CHECK(complaint("--lan allow down") == "vmrouter: --lan has no effect before this command\n");
    CHECK(complaint("down --instance a --iface b") == "vmrouter: --instance excludes --interface\n");
}

TEST_CASE("leases shows an instance or a file") {
    CHECK(command<Leases>("leases").action == Leases::Action::List);
    CHECK(command<Leases>("leases --file x --json").json);
    CHECK(command<Leases>("leases --file x").file == "x");
    CHECK(complaint("leases --file x --instance br0") != "");
}

TEST_CASE("Wrong use is one line with the nearest thing that would be right") {
    CHECK(complaint("--ifcae x") == "vmrouter: unexpected argument '--ifcae'\n  hint: did you mean --iface?\n");
    CHECK(complaint("lease") == "vmrouter: unexpected argument 'lease'\n  hint: did you mean leases?\n");
    CHECK(complaint("leases --jsn") == "vmrouter: unexpected argument '--jsn'\n  hint: did you mean --json?\n");
    CHECK(complaint("--bridge") == "vmrouter: --bridge needs a value: BRIDGE\n");
    CHECK(complaint("\x1b[31m") == "vmrouter: unexpected argument '\\x1b[31m'\n");
}

TEST_CASE("Help and version are printed and nothing else is done") {
    CHECK(printed("--version") == "vmrouter " VMROUTER_VERSION "\n");
    CHECK(printed("--help") == printed("-h"));
    const auto all = commands();
    const std::string overview = printed("--help");
    for (const CommandText& text : all) {
        CAPTURE(text.name);
        CHECK(printed(text.name + " --help") == help(text, all));
        CHECK(printed(text.name + " --help").find("\nUsage: vmrouter" + (text.name.empty() ? "" : " " + text.name)) !=
              std::string::npos);
        if (text.name.find(' ') == std::string::npos) CHECK(overview.find("\n  " + text.name) != std::string::npos);
    }
    for (const auto line : split(overview, '\n')) CHECK(line.size() <= 100);
}

TEST_CASE("What the help texts show as examples is right use") {
    for (const CommandText& text : commands()) {
        CHECK_FALSE(text.examples.empty());
        CHECK_FALSE(text.help.empty());
        for (const std::string& example : text.examples) {
            CAPTURE(example);
            REQUIRE(example.starts_with("vmrouter "));
            const auto ours =
                std::string_view(example).substr(0, example.find(" | "));  // what reads a pipe is not ours
            CHECK(std::holds_alternative<Command>(parse_line(ours.substr(9))));
        }
    }
}

TEST_CASE("Help for what is no command says so and what is near") {
    CHECK(complaint("nonsense --help") == "vmrouter: unexpected argument 'nonsense'\n");
    CHECK(complaint("nonsense -h").find("'nonsense'") != std::string::npos);
    CHECK(complaint("statsu --help") == "vmrouter: unexpected argument 'statsu'\n  hint: did you mean status?\n");
    CHECK(complaint("--help nonsense").find("'nonsense'") != std::string::npos);
    CHECK(complaint("leases dorp --help") == "vmrouter: unexpected argument 'dorp'\n  hint: did you mean drop?\n");
    CHECK(complaint("status nonsense --help").find("'nonsense'") != std::string::npos);
}

TEST_CASE("Commands read their own options") {
    CHECK(command<Leases>("leases drop 10.0.0.5").action == Leases::Action::Drop);
    CHECK(command<Leases>("leases pin 10.0.0.5 --instance br0").instance.name == "br0");
    CHECK(command<Leases>("leases pin 10.0.0.5").address == Ipv4{10, 0, 0, 5});
    CHECK(complaint("leases drop web") == "vmrouter: \"web\" is not an IPv4 address\n");
    CHECK(complaint("leases --file x drop 10.0.0.5") != "");

    CHECK(command<Ip>("ip web --wait 60").wait == std::chrono::seconds{60});
    CHECK(command<Ip>("ip web --wait 2m").wait == std::chrono::seconds{120});
    CHECK(complaint("ip web --wait soon") == "vmrouter: \"soon\" is not a time such as 60 or 5m\n");
    CHECK(complaint("ip").find("guest") != std::string::npos);

    CHECK(command<Status>("status --json").json);
    CHECK(command<Monitor>("monitor --only dns,dhcp").only == std::vector<std::string>{"dns", "dhcp"});
    CHECK(command<Monitor>("monitor --guest web --top").top);
    CHECK(complaint("monitor --top --json") != "");

    const auto capture = command<Capture>("capture -o x.pcapng --guest web --ring 10x100M");
    CHECK(capture.output == "x.pcapng");
    REQUIRE(capture.ring);
    CHECK(capture.ring->count == 10);
    CHECK(capture.ring->bytes == 100ULL << 20);
    CHECK(command<Capture>("capture -o -").output == "-");
    for (const auto* bad : {"10", "0x1M", "1x0", "1x", "x1", "1xM", "1x18446744073709551615G"})
        CHECK(complaint("capture -o x --ring " + std::string(bad)).find("is not COUNTxSIZE") != std::string::npos);

    CHECK(command<Verify>("verify --json").json);
    CHECK(command<Doctor>("doctor --guest web").guest == "web");
    CHECK(command<LibvirtXml>("libvirt-xml --define").define);
    CHECK(command<Tap>("tap tap-web --user alice").user == "alice");
    CHECK(complaint("tap a/b --user alice") == "vmrouter: \"a/b\" is not an interface name\n");
    CHECK(command<Completions>("completions zsh").shell == Completions::Shell::Zsh);
    CHECK(command<Reload>("reload --instance br0").instance.name == "br0");
}
