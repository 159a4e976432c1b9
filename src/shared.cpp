#include "src/shared.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/instance_lock.hpp"

namespace vmrouter {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kSizeLimit = std::size_t{8} << 20;

/// Sysctls and interfaces belong to a network namespace; instances in different ones only share this folder.
std::uint64_t network_namespace() {
    struct stat info {};
    return stat("/proc/thread-self/ns/net", &info) == 0 ? info.st_ino : 0;
}

/// No instance has a file of this name: theirs end in .lock, .changes and .sock.
std::string shared_lock(const std::string& folder) {
    return folder + "/shared-lock";
}

/// Held for one read-change-write of `shared`, or one change of the machine with it; never across a wait. A file that
/// only root can open: the folder itself could be locked by everybody.
Result<FileDescriptor> lock_shared(const std::string& folder) {
    const auto path = shared_lock(folder);
    for (;;) {
        FileDescriptor file = open_lock_file(path);
        if (!file) return Failure{system_error("cannot open the lock file", errno, path)};
        while (flock(file.get(), LOCK_EX) != 0) {
            if (errno != EINTR) return Failure{system_error("cannot lock the file", errno, path)};
        }
        if (is_file_at(path, file.get())) return file;  // otherwise the last one to leave has just removed it
    }
}

/// net.ipv4.ip_forward; its name as a thing that was on before the first instance, or was not.
constexpr const char* kForwarding = "net/ipv4/ip_forward";

/// "net/ipv4/conf/NAME/forwarding"
bool is_forwarding_of_interface(std::string_view path) {
    return path.starts_with("net/ipv4/conf/") && path.ends_with("/forwarding");
}

/// Whether the sysctl goes with a link that this instance made.
bool goes_with_our_link(const Changes& changes, std::string_view path) {
    const auto interface = link::interface_in(path);
    return !interface.empty() && std::any_of(changes.all().begin(), changes.all().end(), [&](const Change& change) {
        const auto* created = std::get_if<CreatedLink>(&change);
        return created != nullptr && created->name == interface;
    });
}

const SetSysctl* find_recorded(const Changes& changes, std::string_view path) {
    for (const Change& change : changes.all()) {
        const auto* sysctl = std::get_if<SetSysctl>(&change);
        if (sysctl != nullptr && sysctl->path == path) return sysctl;
    }
    return nullptr;
}

}  // namespace

struct Shared::Content {
    struct Instance {
        std::uint64_t space = 0;  ///< network namespace
        std::string name;
        std::string segment;
        std::optional<Cidr> network;
        bool kept = false;
    };
    struct Needed {
        std::uint64_t space = 0;
        std::string path;
        std::string before;
        std::string ours;
        std::vector<std::string> users;
    };
    /// Something made together: a folder, a table, rules.
    struct Thing {
        std::uint64_t space = 0;
        std::string name;
        bool was_there = false;
        std::vector<std::string> users;
        [[nodiscard]] bool has_user(const std::string& instance) const {
            return std::find(users.begin(), users.end(), instance) != users.end();
        }
    };
    std::vector<Instance> instances;
    std::vector<Needed> sysctls;
    std::vector<Thing> things;

    [[nodiscard]] bool is_empty() const { return instances.empty() && sysctls.empty() && things.empty(); }
    auto find_sysctl(const std::string& path) {
        const auto space = network_namespace();
        return std::find_if(sysctls.begin(), sysctls.end(),
                            [&](const Needed& entry) { return entry.space == space && entry.path == path; });
    }
    auto find_thing(std::string_view name) {
        const auto space = network_namespace();
        return std::find_if(things.begin(), things.end(),
                            [&](const Thing& entry) { return entry.space == space && entry.name == name; });
    }
    /// The thing, listed with `there_now` when it is new, and with one more that uses it.
    const Thing& use_thing(std::string_view name, bool there_now, const std::string& user) {
        auto entry = find_thing(name);
        if (entry == things.end())
            entry = things.insert(entry, {network_namespace(), std::string(name), there_now, {}});
        if (!entry->has_user(user)) entry->users.push_back(user);
        return *entry;
    }
};

std::optional<std::string> SysctlAccess::read(const std::string& path) {
    const auto value = link::read_sysctl(path);
    return value ? std::optional(*value) : std::nullopt;
}

Result<void> SysctlAccess::write(const std::string& path, std::string_view value,
                                 const std::function<bool()>& still_holds) {
    return still_holds ? link::write_sysctl(path, value, still_holds) : link::write_sysctl(path, value);
}

Result<Shared::Content> Shared::load() const {
    const std::string path = folder_ + "/shared";
    auto text = read_own_file(path, kSizeLimit);
    if (!text) return Failure{std::move(text).error()};
    Content content;
    if (!*text) return content;
    try {
        const auto json = nlohmann::json::parse(**text);
        for (const auto& entry : json.at("instances")) {
            Content::Instance instance{entry.at("namespace"), entry.at("name"), entry.at("segment"), std::nullopt,
                                       entry.value("kept", false)};
            if (entry.contains("network")) instance.network = Cidr::parse(entry.at("network").get<std::string>());
            content.instances.push_back(std::move(instance));
        }
        for (const auto& entry : json.at("sysctls")) {
            content.sysctls.push_back({entry.at("namespace"), entry.at("path"), entry.at("before"), entry.at("ours"),
                                       entry.at("users").get<std::vector<std::string>>()});
        }
        for (const auto& entry : json.at("things")) {
            content.things.push_back({entry.at("namespace"), entry.at("name"), entry.at("was_there"),
                                      entry.at("users").get<std::vector<std::string>>()});
        }
    } catch (const nlohmann::json::exception& error) {
        return Failure{Error{std::string("what instances share cannot be understood: ") + error.what(), path,
                             "stop every vmrouter, then remove the file"}};
    }
    return content;
}

Result<void> Shared::save(const Content& content) const {
    const std::string path = folder_ + "/shared";
    if (content.is_empty()) {
        if (unlink(path.c_str()) != 0 && errno != ENOENT)
            return Failure{system_error("cannot remove the file", errno, path)};
        return {};
    }
    Json json{{"instances", Json::array()}, {"sysctls", Json::array()}, {"things", Json::array()}};
    for (const auto& instance : content.instances) {
        Json entry{{"namespace", instance.space}, {"name", instance.name}, {"segment", instance.segment}};
        if (instance.network) entry["network"] = to_string(*instance.network);
        if (instance.kept) entry["kept"] = true;
        json["instances"].push_back(std::move(entry));
    }
    for (const auto& entry : content.sysctls) {
        json["sysctls"].push_back({{"namespace", entry.space},
                                   {"path", entry.path},
                                   {"before", entry.before},
                                   {"ours", entry.ours},
                                   {"users", entry.users}});
    }
    for (const auto& entry : content.things) {
        json["things"].push_back(
            {{"namespace", entry.space}, {"name", entry.name}, {"was_there", entry.was_there}, {"users", entry.users}});
    }
    return replace_file_unsynced(path, json.dump(1) + "\n");
}

bool Shared::runs(const std::string& instance) const {
    return instance == instance_ || running_instance(folder_, instance).has_value();
}

bool Shared::is_alive(const Content& content, const std::string& instance) const {
    const auto is_kept = [&](const Content::Instance& one) { return one.kept && one.name == instance; };
    return runs(instance) || std::any_of(content.instances.begin(), content.instances.end(), is_kept);
}

bool Shared::is_one_alive(const Content& content, const std::vector<std::string>& instances) const {
    return std::any_of(instances.begin(), instances.end(),
                       [&](const std::string& one) { return is_alive(content, one); });
}

Result<void> Shared::join(std::string_view segment, std::optional<Cidr> network) {
    const auto lock = lock_shared(folder_);
    if (!lock) return Failure{lock.error()};
    auto content = load();
    if (!content) return Failure{std::move(content).error()};
    const auto space = network_namespace();
    auto own = content->instances.end();
    for (auto at = content->instances.begin(); at != content->instances.end(); ++at) {
        if (at->name == instance_) own = at;
        if (at->name == instance_ || at->space != space || !network || !at->network) continue;
        if (at->network->overlaps(*network) && is_alive(*content, at->name)) {
            return Failure{
                Error{to_string(*network) + " overlaps " + to_string(*at->network) + " of the instance " + at->name,
                      "network.address", "choose another network, or \"auto\""}};
        }
    }
    if (own == content->instances.end()) own = content->instances.insert(own, Content::Instance{});
    *own = {space, instance_, std::string(segment), network, false};
    return save(*content);
}

Result<std::vector<SharedInstance>> Shared::instances() const {
    const auto content = load();  // replaced as a whole: no lock needed to read
    if (!content) return Failure{content.error()};
    std::vector<SharedInstance> result;
    for (const auto& instance : content->instances) {
        if (instance.space != network_namespace()) continue;
        result.push_back({instance.name, instance.segment, instance.network, is_alive(*content, instance.name),
                          runs(instance.name)});
    }
    return result;
}

Result<void> Shared::need_sysctl(Changes& changes, const link::Sysctl& wanted,
                                 const std::function<bool()>& still_holds) {
    if (!is_utf8(wanted.path))
        return Failure{Error{"an interface whose name is not UTF-8 is left as it is", escape(wanted.path), {}}};
    const auto lock = lock_shared(folder_);
    if (!lock) return Failure{lock.error()};
    const auto current = access_.read(wanted.path);
    if (still_holds && !still_holds())
        return Failure{Error{"the interface has changed meanwhile", "/proc/sys/" + wanted.path, {}}};
    if (!current) {
        if (wanted.optional) return {};
        return Failure{Error{"there is no such kernel setting", "/proc/sys/" + wanted.path, {}}};
    }
    if (goes_with_our_link(changes, wanted.path))
        return *current == wanted.value ? Result<void>{} : access_.write(wanted.path, wanted.value, still_holds);

    auto content = load();
    if (!content) return Failure{std::move(content).error()};
    auto entry = content->find_sysctl(wanted.path);
    const SetSysctl* recorded = find_recorded(changes, wanted.path);
    if (entry == content->sysctls.end()) {
        if (*current == wanted.value && recorded == nullptr) return {};  // somebody else wants it so as well
        const std::string before = recorded != nullptr ? recorded->before : *current;
        entry = content->sysctls.insert(entry, {network_namespace(), wanted.path, before, wanted.value, {}});
    }
    if (is_forwarding_of_interface(wanted.path))
        content->use_thing(kForwarding, access_.read(kForwarding) != "0", instance_);
    entry->ours = wanted.value;
    if (std::find(entry->users.begin(), entry->users.end(), instance_) == entry->users.end())
        entry->users.push_back(instance_);

    if (auto noted = changes.record(SetSysctl{wanted.path, entry->before, wanted.value}); !noted) return noted;
    if (auto saved = save(*content); !saved) return saved;
    return *current == wanted.value ? Result<void>{} : access_.write(wanted.path, wanted.value, still_holds);
}

Result<void> Shared::release_sysctl(const SetSysctl& change) {
    const auto lock = lock_shared(folder_);
    if (!lock) return Failure{lock.error()};
    auto content = load();
    if (!content) return Failure{std::move(content).error()};
    // Somebody (Docker) has switched forwarding on for the whole machine since, and counts on it.
    const auto thing = content->find_thing(kForwarding);
    const bool wanted_by_others = is_forwarding_of_interface(change.path) && thing != content->things.end() &&
                                  !thing->was_there && access_.read(kForwarding) == "1";
    const auto restore = [&](const std::string& before, const std::string& ours) {
        if (wanted_by_others) return Result<void>{};
        const auto current = access_.read(change.path);
        if (current != ours) return Result<void>{};
        auto written = access_.write(change.path, before, {});
        if (!written && !access_.read(change.path)) return Result<void>{};  // its interface went away just now
        return written;
    };
    const auto entry = content->find_sysctl(change.path);
    if (entry == content->sysctls.end()) return restore(change.before, change.ours);

    std::erase(entry->users, instance_);
    if (is_one_alive(*content, entry->users)) return save(*content);
    if (auto restored = restore(entry->before, entry->ours); !restored) return restored;
    content->sysctls.erase(entry);
    return save(*content);
}

Result<void> Shared::forget_sysctl(const std::string& path) {
    const auto lock = lock_shared(folder_);
    if (!lock) return Failure{lock.error()};
    auto content = load();
    if (!content) return Failure{std::move(content).error()};
    const auto entry = content->find_sysctl(path);
    if (entry == content->sysctls.end()) return {};
    content->sysctls.erase(entry);
    return save(*content);
}

Result<void> Shared::release_interface(Changes& changes, std::string_view interface) {
    std::vector<SetSysctl> recorded;
    for (const Change& change : changes.all()) {
        const auto* sysctl = std::get_if<SetSysctl>(&change);
        if (sysctl != nullptr && link::interface_in(sysctl->path) == interface) recorded.push_back(*sysctl);
    }
    for (auto sysctl = recorded.rbegin(); sysctl != recorded.rend(); ++sysctl) {
        if (auto released = release_sysctl(*sysctl); !released) return released;
        if (auto forgotten = changes.forget(*sysctl); !forgotten) return forgotten;
    }
    return {};
}

Result<bool> Shared::found_before(std::string_view thing, bool there_now) {
    const auto lock = lock_shared(folder_);
    if (!lock) return Failure{lock.error()};
    auto content = load();
    if (!content) return Failure{std::move(content).error()};
    const bool was_there = content->use_thing(thing, there_now, instance_).was_there;
    if (auto saved = save(*content); !saved) return Failure{std::move(saved).error()};
    return was_there;
}

Result<bool> Shared::count_on(std::string_view thing) {
    const auto lock = lock_shared(folder_);
    if (!lock) return Failure{lock.error()};
    auto content = load();
    if (!content) return Failure{std::move(content).error()};
    if (const auto entry = content->find_thing(thing); entry != content->things.end() && entry->has_user(instance_))
        return false;  // not written again: every other instance is told of a write
    content->use_thing(thing, false, instance_);
    if (auto saved = save(*content); !saved) return Failure{std::move(saved).error()};
    return true;
}

Result<void> Shared::release(std::string_view thing, const std::function<Result<void>()>& remove) {
    const auto lock = lock_shared(folder_);
    if (!lock) return Failure{lock.error()};
    auto content = load();
    if (!content) return Failure{std::move(content).error()};
    const auto entry = content->find_thing(thing);
    if (entry == content->things.end()) return remove();
    std::erase(entry->users, instance_);
    if (is_one_alive(*content, entry->users)) return save(*content);
    if (auto removed = remove(); !removed) return removed;
    content->things.erase(entry);
    return save(*content);
}

Result<void> Shared::keep() {
    const auto lock = lock_shared(folder_);
    if (!lock) return Failure{lock.error()};
    auto content = load();
    if (!content) return Failure{std::move(content).error()};
    for (auto& instance : content->instances) instance.kept |= instance.name == instance_;
    return save(*content);
}

Result<void> Shared::leave() {
    const auto lock = lock_shared(folder_);
    if (!lock) return Failure{lock.error()};
    auto content = load();
    if (!content) return Failure{std::move(content).error()};
    unlink((folder_ + "/shared.new").c_str());  // of somebody who was killed while he wrote: we hold the lock
    std::erase_if(content->instances, [&](const Content::Instance& instance) { return instance.name == instance_; });
    for (auto& thing : content->things) std::erase(thing.users, instance_);
    std::erase_if(content->things, [](const Content::Thing& thing) { return thing.users.empty(); });
    auto saved = save(*content);
    if (saved && content->is_empty()) unlink(shared_lock(folder_).c_str());  // whoever waits for it asks again
    return saved;
}

}  // namespace vmrouter
