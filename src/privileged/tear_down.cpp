#include "src/privileged/local.hpp"

#include "src/privileged/undo.hpp"

namespace vmrouter {

std::vector<Error> LocalPrivileged::tear_down(bool keep) {
    std::vector<Error> errors;
    if (!changes_) return errors;
    background_.finish(std::chrono::seconds(10));  // what is told must not arrive after it was undone
    if (!keep) {
        remember_ports();
        MachineUndoer undoer(netlink_, *shared_, nft_, runner_, plan_.instance, plan_.policy.mark);
        errors = changes_->undo_all(undoer);
        if (!errors.empty()) errors = changes_->undo_all(undoer);  // what was busy or short of memory may work now
        if (auto left = shared_->leave(); !left) errors.push_back(std::move(left).error());
    }
    changes_.reset();
    lock_.reset();
    return errors;
}

std::vector<Error> undo_instance(const Folders& folders, const std::string& instance) {
    auto lock = InstanceLock::take(folders.run, instance);
    if (!lock) return {std::move(lock).error()};
    auto netlink = link::Netlink::open();
    if (!netlink) return {std::move(netlink).error()};
    auto nft = firewall::Nft::open();
    if (!nft) return {std::move(nft).error()};
    auto changes = Changes::open(changes_path(folders, instance));
    if (!changes) return {std::move(changes).error()};
    std::uint32_t mark = firewall::default_mark;
    for (const auto& change : changes->all())
        if (const auto* rules = std::get_if<AddedGuardRules>(&change)) mark = rules->mark;
    SysctlAccess sysctls;
    Shared shared(folders.run, instance, sysctls);
    managers::SystemRunner runner;
    MachineUndoer undoer(*netlink, shared, *nft, runner, instance, mark);
    auto errors = changes->undo_all(undoer);
    if (auto left = shared.leave(); !left) errors.push_back(std::move(left).error());
    return errors;
}

}  // namespace vmrouter
