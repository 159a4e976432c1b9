#pragma once

// argv to values. One table of commands (cli_commands.cpp) and the table of configuration keys (conf/keys.hpp) make
// everything else: parsing, --help, and what completions and manual pages are generated from.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "conf/load.hpp"
#include "src/base/ip4.hpp"

namespace vmrouter::cli {

/// Where a configuration comes from: a file, or the defaults, and what flags say about it.
struct Source {
    std::string file;                       ///< empty: none, then a flag names the segment
    std::vector<conf::Override> overrides;  ///< --bridge and --interface among them
};

/// conf::load_file or conf::load_defaults, whichever the source asks for.
conf::Loaded load(const Source& source);

/// Which running instance a command is about.
struct Instance {
    std::string
        name;  ///< from --instance, --bridge or --interface; empty: the one of `file`, else the only one running
    std::string file;  ///< --config
};

/// No command: serve in the foreground.
struct Run {
    Source source;
};

struct Check {
    Source source;
};

struct Plan {
    enum class Format { Text, Sh, Recipe, Nft };

    Source source;
    Format format = Format::Text;
};

struct Leases {
    enum class Action { List, Drop, Pin };

    Instance instance;
    Action action = Action::List;
    Ipv4 address;      ///< for drop and pin
    std::string file;  ///< a leases file to show, without any instance; empty: ask the instance
    bool json = false;
};

struct Ip {
    Instance instance;
    std::string guest;             ///< name or MAC
    std::chrono::seconds wait{0};  ///< for a guest that is not there yet
};

struct Status {
    Instance instance;
    bool json = false;
};

struct Monitor {
    Instance instance;
    std::string guest;              ///< empty: all
    std::vector<std::string> only;  ///< kinds of events; empty: all
    bool json = false;
    bool top = false;  ///< full screen
};

struct Capture {
    /// The newest `count` files of at most `bytes` each.
    struct Ring {
        std::uint32_t count = 0;
        std::uint64_t bytes = 0;
    };

    Instance instance;
    std::string output;  ///< path, "-" for stdout
    std::string guest;
    std::string filter;  ///< in pcap's language
    std::optional<Ring> ring;
};

struct Verify {
    Instance instance;
    std::string target = "example.com";      ///< a name, or an address: what stands for the internet
    std::string rebind = "10.0.0.1.nip.io";  ///< a name that points into a private network
    std::chrono::milliseconds wait{2000};    ///< for an answer
    bool repeat = false;                     ///< once more for each line of stdin
    bool json = false;
};

struct Doctor {
    Instance instance;
    std::string guest;  ///< why has this one no network; empty: the machine
    bool json = false;
};

struct Reload {
    Instance instance;
};

struct Down {
    Instance instance;
};

struct LibvirtXml {
    Instance instance;
    bool define = false;
};

struct Tap {
    Instance instance;
    std::string name;
    std::string user;  ///< who may open it
};

struct Completions {
    enum class Shell { Bash, Zsh, Fish };

    Shell shell = Shell::Bash;
};

using Command = std::variant<Run, Check, Plan, Leases, Ip, Status, Monitor, Capture, Verify, Doctor, Reload, Down,
                             LibvirtXml, Tap, Completions>;

/// Nothing is left to do but to print: --help and --version (status 0, `out`), wrong use (status 2, `err`).
struct Finished {
    int status = 0;
    std::string out;
    std::string err;
};

/// `arguments` without the program's name.
std::variant<Command, Finished> parse(std::vector<std::string> arguments);

/// What is offered, for --help, manual pages, completions and tests.
struct OptionText {
    std::vector<std::string> names;  ///< "-o", "--output"; one without dashes stands for a position
    std::string form;                ///< of its value; empty: takes none
    std::string help;
    std::string group;  ///< "Options", or the section of the configuration that it overrides: "[network]"
};
struct CommandText {
    std::string name;  ///< "leases", "leases drop"; "" for running in the foreground
    std::string help;
    std::vector<std::string> examples;
    std::vector<OptionText> options;
};
std::vector<CommandText> commands();

/// An argument that is known by its place.
bool is_position(const OptionText& option);
/// What stands below the command `name`: the commands below the program (""), `leases drop` below "leases".
std::vector<const CommandText*> below(std::string_view name, const std::vector<CommandText>& all);

/// The text of `vmrouter NAME --help`.
std::string help(const CommandText& command, const std::vector<CommandText>& all);

}  // namespace vmrouter::cli
