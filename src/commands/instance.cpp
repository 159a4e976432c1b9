#include "src/commands/instance.hpp"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "conf/load.hpp"
#include "src/base/file.hpp"
#include "src/instance_lock.hpp"

namespace vmrouter {

namespace {

/// Only root may look at the locks; others see the sockets, and connect() tells whether somebody is behind one.
std::vector<std::string> instances_with_socket(const std::string& folder) {
    std::vector<std::string> names;
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(folder, failed))
        if (entry.path().extension() == ".sock") names.push_back(entry.path().stem());
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace

std::optional<std::string> named_instance(const cli::Instance& instance) {
    if (!instance.name.empty()) return instance.name;
    if (instance.file.empty()) return std::nullopt;
    return conf::instance_name(conf::load_file(instance.file).config);
}

Result<std::string> control_socket(const cli::Instance& instance, const Folders& folders) {
    if (!instance.file.empty()) {
        if (const auto text = read_file(instance.file); !text) return Failure{text.error()};
        const auto loaded = conf::load_file(instance.file);
        if (loaded.config.control.socket) return *loaded.config.control.socket;
    }
    auto name = named_instance(instance);
    if (!name) {
        auto running = running_instances(folders.run);
        if (running.empty()) running = instances_with_socket(folders.run);
        if (running.empty())
            return Failure{Error{"no vmrouter is running here", folders.run, "start one: vmrouter --config vm.toml"}};
        if (running.size() > 1) {
            std::string names;
            for (const auto& one : running) names += " " + one;
            return Failure{Error{"several are running:" + names, {}, "name one with --instance"}};
        }
        name = running.front();
    }
    return folders.run + "/" + *name + ".sock";
}

}  // namespace vmrouter
