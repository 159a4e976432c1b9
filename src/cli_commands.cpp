#include "src/cli_commands.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <array>
#include <utility>

#include "conf/keys.hpp"
#include "src/base/text.hpp"

namespace vmrouter::cli {
namespace {

/// A value that does not parse: CLI11 prefixes the option's name.
CLI::ValidationError refusal(const std::string& value, const std::string& wanted) {
    return CLI::ValidationError('"' + escape(value) + "\" is not " + wanted);
}

/// The default as a flag would spell it; "" when that is to give nothing.
std::string default_of(const conf::KeyText& key) {
    std::string text(key.fallback);
    std::erase_if(text, [](char c) { return c == '"' || c == '[' || c == ']'; });
    return text;
}

/// The option of a configuration key. Given more than once, a list grows and anything else is replaced.
void add_override(CLI::App& app, const conf::SectionText& section, const conf::KeyText& key, Source& source) {
    const std::string flag = "--" + std::string(key.flag);
    const std::string name = std::string(section.name) + '.' + std::string(key.name);
    const bool is_list = key.shape == conf::Shape::Strings;
    const auto store = [&source, name, flag](std::string value) {
        std::replace(value.begin(), value.end(), '\n', ',');  // what CLI11 joins repeated values with
        source.overrides.push_back({name, std::move(value), flag});
    };
    std::string help(key.help);
    const std::string fallback = default_of(key);
    if (!fallback.empty()) help += " [" + fallback + ']';
    auto* option =
        app.add_option_function<std::string>(key.name == "interface" ? flag + ",--iface" : flag, store, help);
    option->type_name(std::string(key.form));
    option->group('[' + std::string(section.name) + ']');
    option->multi_option_policy(is_list ? CLI::MultiOptionPolicy::Join : CLI::MultiOptionPolicy::TakeLast);
}

void add_overrides(CLI::App& app, Source& source) {
    for (const conf::SectionText& section : conf::sections())
        for (const conf::KeyText& key : section.keys)
            if (!key.flag.empty()) add_override(app, section, key, source);
}

void add_instance(CLI::App& app, Instance& instance) {
    const auto store = [&instance](const std::string& text) {
        if (!is_interface_name(text)) throw refusal(text, "an instance's name");
        instance.name = text;
    };
    auto* by_name = app.add_option_function<std::string>("--instance", store, "The instance, when several are running");
    auto* by_file = app.add_option("--config", instance.file, "The configuration it was started with");
    auto* by_interface = app.add_option_function<std::string>("--interface,--iface,--bridge", store,
                                                              "The interface or bridge it was started with");
    by_name->type_name("INSTANCE");
    by_interface->type_name("INTERFACE");
    by_file->type_name("FILE");
    by_name->excludes(by_file)->excludes(by_interface);
    by_file->excludes(by_interface);
}

void add_json(CLI::App& app, bool& json) {
    app.add_flag("--json", json, "Print one JSON document");
}

/// A choice of words.
template <class E, std::size_t Size>
void add_words(CLI::App& app, const std::string& name, E& target, const std::string& help,
               const std::array<std::pair<const char*, E>, Size>& words) {
    std::string form;
    for (const auto& [word, value] : words) form += (form.empty() ? "" : "|") + std::string(word);
    const auto store = [&target, words, form](const std::string& text) {
        for (const auto& [word, value] : words) {
            if (text != word) continue;
            target = value;
            return;
        }
        throw refusal(text, "one of " + form);
    };
    app.add_option_function<std::string>(name, store, help)->type_name(form);
}

void add_run(CLI::App& app, Draft& draft) {
    app.add_option("-c,--config", draft.run.source.file, "The configuration")->type_name("FILE");
    add_overrides(app, draft.run.source);
}

/// A configuration as the command's argument. --config names it too, as everywhere else.
void add_source(CLI::App& app, Source& source) {
    auto* position = app.add_option("file", source.file, "The configuration")->type_name("FILE");
    app.add_option("-c,--config", source.file, "The configuration")->type_name("FILE")->excludes(position);
    add_overrides(app, source);
}

void add_check(CLI::App& app, Draft& draft) {
    add_source(app, draft.check.source);
}

void add_plan(CLI::App& app, Draft& draft) {
    constexpr std::array formats = {std::pair{"text", Plan::Format::Text}, std::pair{"sh", Plan::Format::Sh},
                                    std::pair{"recipe", Plan::Format::Recipe}, std::pair{"nft", Plan::Format::Nft}};
    add_words(
        app, "--format", draft.plan.format,
        "text to read; sh: a script that takes up or down; recipe: brctl, iptables and dnsmasq.conf; nft: the rule set",
        formats);
    add_source(app, draft.plan.source);
}

void add_leases(CLI::App& app, Draft& draft) {
    add_instance(app, draft.leases.instance);
    auto* file =
        app.add_option("--file", draft.leases.file, "Show a leases file in dnsmasq's format, without an instance");
    file->type_name("FILE");
    for (const auto* option : {"--instance", "--config", "--interface"}) file->excludes(app.get_option(option));
    add_json(app, draft.leases.json);
}

/// `leases drop` and `leases pin`, below `leases`, whose options they take too.
template <Leases::Action Action>
void add_lease_action(CLI::App& app, Draft& draft) {
    const auto store = [&draft](const std::string& text) {
        const auto address = Ipv4::parse(text);
        if (!address) throw refusal(text, "an IPv4 address");
        draft.leases.address = *address;
        draft.leases.action = Action;
    };
    app.add_option_function<std::string>("address", store, "The lease's address")->type_name("ADDRESS")->required();
    app.excludes(app.get_parent()->get_option("--file"));
    app.fallthrough();
}

void add_ip(CLI::App& app, Draft& draft) {
    add_instance(app, draft.ip.instance);
    app.add_option("guest", draft.ip.guest, "A guest's name or MAC")->type_name("GUEST")->required();
    const auto store = [&draft](const std::string& text) {
        const auto time = parse_duration(text);
        if (!time) throw refusal(text, "a time such as 60 or 5m");
        draft.ip.wait = *time;
    };
    app.add_option_function<std::string>("--wait", store, "Wait so long for a guest that is not there yet")
        ->type_name("SECONDS");
}

void add_status(CLI::App& app, Draft& draft) {
    add_instance(app, draft.status.instance);
    add_json(app, draft.status.json);
}

void add_monitor(CLI::App& app, Draft& draft) {
    add_instance(app, draft.monitor.instance);
    app.add_option("--guest", draft.monitor.guest, "Only this guest: its name, MAC or address")->type_name("GUEST");
    app.add_option("--only", draft.monitor.only, "Only these kinds of events")->type_name("KIND,...")->delimiter(',');
    auto* top = app.add_flag("--top", draft.monitor.top, "Full screen");
    app.add_flag("--json", draft.monitor.json, "One JSON object a line")->excludes(top);
}

/// "10x100M"
std::optional<Capture::Ring> parse_ring(std::string_view text) {
    const auto times = text.find('x');
    if (times == std::string_view::npos) return std::nullopt;
    std::string_view size = text.substr(times + 1);
    const std::size_t unit = std::string_view("kMG").find(size.empty() ? '?' : size.back());
    const unsigned shift = unit == std::string_view::npos ? 0 : 10 * (static_cast<unsigned>(unit) + 1);
    if (shift > 0) size.remove_suffix(1);
    const auto count = parse_number(text.substr(0, times), 10000);
    const auto bytes = parse_number(size, UINT64_MAX >> shift);
    if (!count || *count == 0 || !bytes || *bytes == 0) return std::nullopt;
    return Capture::Ring{static_cast<std::uint32_t>(*count), *bytes << shift};
}

void add_capture(CLI::App& app, Draft& draft) {
    add_instance(app, draft.capture.instance);
    app.add_option("-o,--output", draft.capture.output, "A pcapng file, or - for a pipe")
        ->type_name("FILE")
        ->required();
    app.add_option("--guest", draft.capture.guest, "Only this guest: its name, MAC or address")->type_name("GUEST");
    app.add_option("--filter", draft.capture.filter, "Only what matches, in pcap-filter(7)")->type_name("EXPRESSION");
    const auto store = [&draft](const std::string& text) {
        draft.capture.ring = parse_ring(text);
        if (!draft.capture.ring) throw refusal(text, "COUNTxSIZE, such as 10x100M");
    };
    app.add_option_function<std::string>("--ring", store, "Keep so many files of that size")->type_name("COUNTxSIZE");
}

void add_verify(CLI::App& app, Draft& draft) {
    add_instance(app, draft.verify.instance);
    auto& verify = draft.verify;
    app.add_option("--target", verify.target, "What stands for the internet [" + verify.target + ']')
        ->type_name("NAME|ADDRESS");
    app.add_option("--rebind", verify.rebind, "A name that points into a private network [" + verify.rebind + ']')
        ->type_name("NAME");
    const auto store = [&verify](const std::string& text) {
        const auto dot = text.find('.');
        const auto whole = parse_number(std::string_view(text).substr(0, dot), 60);
        const auto tenths = dot == std::string::npos ? std::optional<std::uint64_t>(0)
                                                     : parse_number(std::string_view(text).substr(dot + 1), 9);
        if (!whole || !tenths || *whole + *tenths == 0) throw refusal(text, "seconds, such as 2 or 0.5");
        verify.wait = std::chrono::milliseconds(*whole * 1000 + *tenths * 100);
    };
    app.add_option_function<std::string>("--wait", store, "How long an answer may take [2]")->type_name("SECONDS");
    app.add_flag("--repeat", verify.repeat, "Stay on the segment and try again for each line of stdin");
    add_json(app, verify.json);
}

void add_doctor(CLI::App& app, Draft& draft) {
    add_instance(app, draft.doctor.instance);
    app.add_option("--guest", draft.doctor.guest, "Why this guest (its name, MAC or address) has no network")
        ->type_name("GUEST");
    add_json(app, draft.doctor.json);
}

void add_reload(CLI::App& app, Draft& draft) {
    add_instance(app, draft.reload.instance);
}

void add_down(CLI::App& app, Draft& draft) {
    add_instance(app, draft.down.instance);
}

void add_libvirt_xml(CLI::App& app, Draft& draft) {
    add_instance(app, draft.libvirt_xml.instance);
    app.add_flag("--define", draft.libvirt_xml.define, "Register it with libvirt");
}

void add_tap(CLI::App& app, Draft& draft) {
    add_instance(app, draft.tap.instance);
    const auto store = [&draft](const std::string& text) {
        if (!is_interface_name(text)) throw refusal(text, "an interface name");
        draft.tap.name = text;
    };
    app.add_option_function<std::string>("name", store, "The tap's name")->type_name("NAME")->required();
    app.add_option("--user", draft.tap.user, "Who may open it")->type_name("USER")->required();
}

void add_completions(CLI::App& app, Draft& draft) {
    constexpr std::array shells = {std::pair{"bash", Completions::Shell::Bash},
                                   std::pair{"zsh", Completions::Shell::Zsh},
                                   std::pair{"fish", Completions::Shell::Fish}};
    add_words(app, "shell", draft.completions.shell, "The shell", shells);
    app.get_option("shell")->required();
}

template <auto Member>
void choose(Draft& draft) {
    draft.chosen = draft.*Member;
}

}  // namespace

const std::vector<Row>& rows() {
    static const std::vector<Row> table = {
        {"",
         "Gives a VM, or a device on an Ethernet port, the internet and nothing else",
         {"vmrouter --config vm.toml", "vmrouter --iface enp6s0", "vmrouter --bridge virbr10 --lease-time 12h"},
         add_run,
         choose<&Draft::run>},
        {"check",
         "Validate a configuration; needs no root",
         {"vmrouter check vm.toml"},
         add_check,
         choose<&Draft::check>},
        {"plan",
         "Print everything that would be done; needs no root",
         {"vmrouter plan vm.toml", "vmrouter plan --bridge virbr10 --address 192.168.100.1/24 --format sh"},
         add_plan,
         choose<&Draft::plan>},
        {"leases",
         "The lease table",
         {"vmrouter leases", "vmrouter leases --json", "vmrouter leases --file /var/lib/misc/dnsmasq.leases"},
         add_leases,
         choose<&Draft::leases>},
        {"down",
         "Remove what a killed instance left",
         {"vmrouter down", "vmrouter down --instance virbr10"},
         add_down,
         choose<&Draft::down>},
        {"leases drop",
         "End a lease: the guest's next renewal is refused",
         {"vmrouter leases drop 192.168.100.23"},
         add_lease_action<Leases::Action::Drop>,
         choose<&Draft::leases>},
        {"leases pin",
         "Make a lease a reservation",
         {"vmrouter leases pin 192.168.100.23"},
         add_lease_action<Leases::Action::Pin>,
         choose<&Draft::leases>},
        {"ip",
         "A guest's address, for scripts",
         {"vmrouter ip web", "vmrouter ip 52:54:00:12:34:56 --wait 60"},
         add_ip,
         choose<&Draft::ip>},
        {"status",
         "What is served, and whether it is healthy",
         {"vmrouter status", "vmrouter status --json"},
         add_status,
         choose<&Draft::status>},
        {"monitor",
         "Live: leases, queries, new flows, blocked attempts",
         {"vmrouter monitor", "vmrouter monitor --guest web --only dns,blocked", "vmrouter monitor --json",
          "vmrouter monitor --top"},
         add_monitor,
         choose<&Draft::monitor>},
        {"capture",
         "Record packets for Wireshark",
         {"vmrouter capture -o web.pcapng --guest web", "vmrouter capture -o - --filter arp | tshark -r -",
          "vmrouter capture -o day.pcapng --ring 10x100M"},
         add_capture,
         choose<&Draft::capture>},
        {"verify",
         "Prove the isolation with a throw-away guest",
         {"vmrouter verify", "vmrouter verify --target www.debian.org --json"},
         add_verify,
         choose<&Draft::verify>},
        {"doctor",
         "What on this machine gets in the way, with the cure",
         {"vmrouter doctor", "vmrouter doctor --config vm.toml", "vmrouter doctor --guest web"},
         add_doctor,
         choose<&Draft::doctor>},
        {"reload",
         "Read the configuration again",
         {"vmrouter reload", "vmrouter reload --instance virbr10"},
         add_reload,
         choose<&Draft::reload>},
        {"libvirt-xml",
         "The network definition for virt-manager",
         {"vmrouter libvirt-xml", "vmrouter libvirt-xml --define"},
         add_libvirt_xml,
         choose<&Draft::libvirt_xml>},
        {"tap",
         "A tap on the bridge for an unprivileged QEMU",
         {"vmrouter tap tap-web --user alice"},
         add_tap,
         choose<&Draft::tap>},
        {"completions",
         "Completions for a shell",
         {"vmrouter completions bash", "vmrouter completions fish"},
         add_completions,
         choose<&Draft::completions>},
    };
    return table;
}

}  // namespace vmrouter::cli
