#pragma once

// Instances as tests play them: each with its lock, its record of changes and its view of what is shared.

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "src/instance_lock.hpp"
#include "src/shared.hpp"
#include "tests/unit/link/namespace.hpp"

namespace vmrouter::test {

inline const std::string kForwarding = "net/ipv4/conf/eth0/forwarding";

class FakeSysctls : public SysctlAccess {
public:
    std::optional<std::string> read(const std::string& path) override {
        const auto found = values.find(path);
        return found == values.end() ? std::nullopt : std::optional(found->second);
    }
    Result<void> write(const std::string& path, std::string_view value,
                       const std::function<bool()>& still_holds) override {
        if (still_holds && !still_holds()) return Failure{Error{"the interface has changed meanwhile", path, {}}};
        values[path] = value;
        ++writes;
        return {};
    }
    std::map<std::string, std::string> values{{kForwarding, "0"}};
    int writes = 0;
};

/// One instance as a test plays it: its lock, its record, its view of what is shared.
struct Instance {
    Instance(const std::string& folder, const std::string& name, FakeSysctls& sysctls)
        : lock(InstanceLock::take(folder, name)),
          changes(Changes::open(folder + "/" + name + ".changes")),
          shared(folder, name, sysctls) {
        REQUIRE(lock);
        REQUIRE(changes);
    }
    Result<void> need(const std::string& path, std::string value) {
        return shared.need_sysctl(*changes, {path, std::move(value), false});
    }
    /// An orderly stop.
    void stop() {
        struct Sysctls final : Undoer {
            explicit Sysctls(Shared& s) : shared(s) {}
            Result<void> undo(const Change& change) override {
                return shared.release_sysctl(std::get<SetSysctl>(change));
            }
            Shared& shared;
        } undoer(shared);
        CHECK(changes->undo_all(undoer).empty());
        REQUIRE(shared.leave());
        kill();
    }
    /// kill -9: the lock goes, everything else stays. (The lock file would as well: "a lock goes with its process".)
    void kill() { const InstanceLock dropped = std::move(*lock); }

    Result<InstanceLock> lock;
    Result<Changes> changes;
    Shared shared;
};

inline std::vector<std::string> files_in(const std::string& folder) {
    std::vector<std::string> names;
    if (!std::filesystem::exists(folder)) return names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace vmrouter::test
