#include "src/commands/execute.hpp"

#include <iostream>

#include "src/app.hpp"
#include "src/commands/capture.hpp"
#include "src/commands/check.hpp"
#include "src/commands/completions.hpp"
#include "src/commands/down.hpp"
#include "src/commands/ip.hpp"
#include "src/commands/leases.hpp"
#include "src/commands/libvirt_xml.hpp"
#include "src/commands/monitor.hpp"
#include "src/commands/plan.hpp"
#include "src/commands/reload.hpp"
#include "src/commands/status.hpp"
#include "src/commands/tap.hpp"

namespace vmrouter {
namespace {

/// One function a command. Those without one are not offered by the command line (cli_commands.cpp).
struct Execute {
    int operator()(const cli::Run& options) const {
        return run([source = options.source] { return cli::load(source); });
    }
    int operator()(const cli::Check& options) const { return check(options, std::cout, std::cerr); }
    int operator()(const cli::Plan& options) const { return plan(options, std::cout, std::cerr); }
    int operator()(const cli::Leases& options) const {
        return leases(options, SystemClock{}.now(), std::cout, std::cerr);
    }
    int operator()(const cli::Ip& options) const { return ip(options, std::cout, std::cerr); }
    int operator()(const cli::Status& options) const {
        return status(options, SystemClock{}.now(), std::cout, std::cerr);
    }
    int operator()(const cli::Monitor& options) const { return monitor(options, std::cout, std::cerr); }
    int operator()(const cli::Capture& options) const { return capture(options, std::cout, std::cerr); }
    int operator()(const cli::Tap& options) const { return tap(options, std::cout, std::cerr); }
    int operator()(const cli::LibvirtXml& options) const { return libvirt_xml(options, std::cout, std::cerr); }
    int operator()(const cli::Reload& options) const { return reload(options, std::cout, std::cerr); }
    int operator()(const cli::Down& options) const { return down(options, std::cout, std::cerr); }
    int operator()(const cli::Completions& options) const { return completions(options, std::cout); }
    template <class Other>
    int operator()(const Other&) const {
        std::cerr << "vmrouter: this command is not part of this version\n";
        return 2;
    }
};

}  // namespace

int execute(const cli::Command& command) {
    return std::visit(Execute{}, command);
}

}  // namespace vmrouter
