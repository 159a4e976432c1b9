#include "src/commands/doctor.hpp"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

#include "src/base/terminal.hpp"
#include "src/commands/doctor_facts.hpp"

namespace vmrouter {
namespace {

using diagnosis::Finding;
using diagnosis::Severity;

Style style_of(Severity severity) {
    switch (severity) {
        case Severity::Broken:
            return Style::Bad;
        case Severity::Risk:
            return Style::Warn;
        case Severity::Note:
            return Style::Faint;
    }
    return Style::Plain;
}

void print(const std::vector<Finding>& findings, std::ostream& out) {
    const auto terminal = Terminal::of(out);
    constexpr std::size_t indent = 8;
    const auto line = [&](const char* title, const std::string& text) {
        if (!text.empty()) out << "        " << title << wrap(printable(text), terminal.width, indent + 7) << '\n';
    };
    for (const auto& one : findings) {
        std::string word = to_string(one.severity);
        word.resize(indent, ' ');
        out << terminal.paint(style_of(one.severity), word) << wrap(printable(one.what), terminal.width, indent)
            << '\n';
        line("where: ", one.where);
        line("cure:  ", one.cure);
    }
}

}  // namespace

int doctor(const cli::Doctor& options, std::ostream& out, std::ostream& err, const Folders& folders) {
    if (geteuid() != 0) {
        err << "vmrouter: doctor reads firewalls and other programs' sockets, which takes root\n  hint: run it with "
               "sudo\n";
        return 1;
    }
    Progress progress(err);
    progress.show("looking at this machine");
    const auto facts = diagnosis::gather(options.instance, folders);
    if (!facts) {
        progress.clear();
        err << "vmrouter: " << to_string(facts.error()) << '\n';
        return 2;
    }
    std::vector<Finding> findings;
    if (options.guest.empty()) {
        findings = diagnosis::diagnose(*facts);
    } else {
        progress.show("looking for the guest");
        findings = diagnosis::diagnose_guest(*facts, diagnosis::gather_guest(options.guest, *facts, folders));
    }
    progress.clear();
    const bool in_the_way = std::any_of(findings.begin(), findings.end(),
                                        [](const Finding& one) { return one.severity != Severity::Note; });
    if (options.json) {
        out << nlohmann::json{{"segment", facts->segment},
                              {"running", facts->running},
                              {"ok", !in_the_way},
                              {"findings", diagnosis::to_json(findings)}}
                   .dump(2)
            << '\n';
        return in_the_way ? 1 : 0;
    }
    print(findings, out);
    if (!in_the_way)
        out << (options.guest.empty() ? "nothing is in the way\n"
                                      : "nothing is known to be wrong with this guest's network\n");
    return in_the_way ? 1 : 0;
}

}  // namespace vmrouter
