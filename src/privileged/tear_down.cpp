#include "src/privileged/local.hpp"

#include "src/link/bridge.hpp"
#include "src/link/host.hpp"
#include "src/privileged/undo.hpp"
#include "src/state.hpp"

namespace vmrouter {

std::vector<Error> LocalPrivileged::tear_down(bool keep) {
    std::vector<Error> errors;
    if (!changes_) return errors;
    background_.finish(std::chrono::seconds(10));  // what is told must not arrive after it was undone
    if (keep) {
        if (auto kept = shared_->keep(); !kept) errors.push_back(std::move(kept).error());
    } else {
        MachineUndoer undoer(netlink_, *shared_, nft_, runner_, plan_.instance);
        undoer.leave_links(remember_ports());
        errors = changes_->undo_all(undoer);
        if (!errors.empty()) errors = changes_->undo_all(undoer);  // what was busy or short of memory may work now
        if (auto left = shared_->leave(); !left) errors.push_back(std::move(left).error());
    }
    changes_.reset();
    lock_.reset();
    return errors;
}

bool has_kept_taps(const Folders& folders, const std::string& instance) {
    const auto state = load_state(folders.state + "/" + instance);
    return state && !state->taps.empty() && state->boot == boot_id();
}

namespace {

/// Those that a stop left because a program had them open.
Result<void> remove_kept_taps(link::Netlink& netlink, const std::string& folder) {
    auto state = load_state(folder);
    if (!state || state->taps.empty()) return {};
    const auto links = link::read_links(netlink);
    if (!links) return Failure{links.error()};
    if (state->boot == boot_id())
        for (const auto& name : kept_taps(*state, *links))
            if (auto gone = link::delete_link(netlink, name); !gone) return gone;
    state->taps.clear();
    return save_state(folder, *state);
}

}  // namespace

std::vector<Error> undo_instance(const Folders& folders, const std::string& instance) {
    auto lock = InstanceLock::take(folders.run, instance);
    if (!lock) return {std::move(lock).error()};
    auto netlink = link::Netlink::open();
    if (!netlink) return {std::move(netlink).error()};
    auto nft = firewall::Nft::open();
    if (!nft) return {std::move(nft).error()};
    auto changes = Changes::open(changes_path(folders, instance));
    if (!changes) return {std::move(changes).error()};
    SysctlAccess sysctls;
    Shared shared(folders.run, instance, sysctls);
    managers::SystemRunner runner;
    MachineUndoer undoer(*netlink, shared, *nft, runner, instance);
    auto errors = changes->undo_all(undoer);
    if (auto left = shared.leave(); !left) errors.push_back(std::move(left).error());
    if (auto removed = remove_kept_taps(*netlink, folders.state + "/" + instance); !removed)
        errors.push_back(std::move(removed).error());
    return errors;
}

}  // namespace vmrouter
