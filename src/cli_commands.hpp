#pragma once

// The table of commands: for each its name, help, examples and options. What is parsed into, too. The parser (cli.cpp)
// is the only one to know it; everyone else sees cli.hpp.

#include <optional>
#include <string_view>
#include <vector>

#include "src/cli.hpp"

namespace CLI {
class App;
}

namespace vmrouter::cli {

/// What the command line is parsed into: one of each, and the one that was asked for.
struct Draft {
    Run run;
    Check check;
    Plan plan;
    Leases leases;
    Ip ip;
    Status status;
    Monitor monitor;
    Capture capture;
    Verify verify;
    Doctor doctor;
    Reload reload;
    Down down;
    LibvirtXml libvirt_xml;
    Tap tap;
    Completions completions;
    std::optional<Command> chosen;
};

/// One row a command; the one without a name is running in the foreground, and one of two words stands below the first.
struct Row {
    std::string_view name;
    std::string_view help;
    std::vector<std::string_view> examples;
    void (*add)(CLI::App&, Draft&);
    void (*choose)(Draft&);
};

/// The table, in the order of --help.
const std::vector<Row>& rows();

}  // namespace vmrouter::cli
