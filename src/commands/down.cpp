#include "src/commands/down.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <ostream>
#include <vector>

#include "src/commands/instance.hpp"
#include "src/instance_lock.hpp"
#include "src/privileged.hpp"

namespace vmrouter {
namespace {

/// The instances whose record of changes is still there, those that were killed before they wrote one, and those that
/// left taps which a program had open.
std::vector<std::string> left_behind(const Folders& folders) {
    std::vector<std::string> names;
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(folders.run, failed))
        if (entry.path().extension() == ".changes" ||
            (entry.path().extension() == ".lock" && !running_instance(folders.run, entry.path().stem().string())))
            names.push_back(entry.path().stem());
    for (const auto& entry : std::filesystem::directory_iterator(folders.state, failed))
        if (const auto name = entry.path().filename().string();
            has_kept_taps(folders, name) && !running_instance(folders.run, name))
            names.push_back(name);
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
}

}  // namespace

int down(const cli::Down& options, std::ostream& out, std::ostream& err, const Folders& folders) {
    auto names = left_behind(folders);
    if (const auto named = named_instance(options.instance)) names = {*named};
    if (names.empty()) {
        remove_empty_folder(folders.run);
        out << "nothing to undo: no vmrouter has left anything behind\n";
        return 0;
    }
    if (geteuid() != 0) {
        err << "vmrouter: down changes bridges and firewall rules, which takes root\n  hint: run it with sudo\n";
        return 1;
    }
    int status = 0;
    for (const auto& name : names) {
        const auto errors = undo_instance(folders, name);
        for (const auto& error : errors) err << "vmrouter: " << to_string(error) << '\n';
        if (errors.empty())
            out << name << ": everything is as it was before\n";
        else
            status = 1;
    }
    return status;
}

}  // namespace vmrouter
