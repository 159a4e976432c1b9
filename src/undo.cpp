#include "src/undo.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "src/link/address.hpp"
#include "src/link/bridge.hpp"
#include "src/link/host.hpp"
#include "src/link/route6.hpp"
#include "src/link/rule.hpp"

namespace vmrouter {
namespace {

/// The interface of that name; nullopt when there is none.
Result<std::optional<link::Link>> find_link(link::Netlink& netlink, const std::string& name) {
    auto links = link::read_links(netlink);
    if (!links) return Failure{std::move(links).error()};
    const auto found = std::find_if(links->begin(), links->end(), [&](const auto& link) { return link.name == name; });
    return found == links->end() ? std::nullopt : std::optional(*found);
}

Result<void> undo(link::Netlink& netlink, const CreatedLink& change) {
    const auto link = find_link(netlink, change.name);
    if (!link) return Failure{link.error()};
    if (!*link || !is_ours(**link, change.mac)) return {};  // never made, or somebody else's by now
    return delete_link(netlink, change.name);
}

Result<void> undo(link::Netlink& netlink, const SetMtu& change) {
    const auto link = find_link(netlink, change.name);
    if (!link) return Failure{link.error()};
    if (!*link || (*link)->mtu != change.ours) return {};
    return set_mtu(netlink, change.name, change.before);
}

/// What guests left in the neighbour table goes with our address: nothing else would remove it for a long time.
Result<void> undo(link::Netlink& netlink, const AddedAddress& change) {
    if (auto removed = remove_address(netlink, change.link, change.address); !removed) return removed;
    return flush_neighbours(netlink, change.link, change.address);
}

/// When IPv6 comes back, the kernel makes a link-local address of the MAC of today; a bridge's may have been another
/// one when the recorded address was made.
Result<void> undo(link::Netlink& netlink, const RemovedAddress6& change) {
    if (link::is_link_local(change.address)) {
        const auto link = find_link(netlink, change.link);
        if (!link) return Failure{link.error()};
        if (!*link) return {};
        const auto made = link::link_local_of((*link)->mac.value_or(MacAddress{}));
        if (made != change.address) {
            if (auto removed = remove_address6(netlink, change.link, made, 64); !removed) return removed;
        }
    }
    return add_address6(netlink, change.link, change.address, change.length, change.flags);
}

Result<void> undo(link::Netlink& netlink, const EnslavedPort& change) {
    const auto ports = link::ports(netlink, change.bridge);
    if (!ports) return Failure{ports.error()};
    const bool there = std::any_of(ports->begin(), ports->end(), [&](const auto& p) { return p.name == change.port; });
    return there ? release(netlink, change.port) : Result<void>{};
}

Result<void> undo(link::Netlink& netlink, const IsolatedPort& change) {
    const auto link = find_link(netlink, change.port);
    if (!link) return Failure{link.error()};
    if (!*link || (*link)->port_kind != "bridge") return {};
    return set_isolated(netlink, change.port, false);
}

Result<void> undo(link::Netlink& netlink, const AddedGuardRules& change) {
    const auto rules = link::read_rules(netlink);
    if (!rules) return Failure{rules.error()};
    for (const auto& rule : guard_rules(*rules, change.segment, change.mark)) {
        if (auto removed = remove_rule(netlink, rule); !removed) return removed;
    }
    return {};
}

Result<void> undo(const CreatedFile& change) {
    if (unlink(change.path.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return {};
    return Failure{system_error("cannot remove the file", errno, change.path)};
}

Result<void> undo(const CreatedFolder& change) {
    if (rmdir(change.path.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return {};
    if (errno == ENOTEMPTY || errno == EEXIST) return {};  // somebody else uses it by now
    return Failure{system_error("cannot remove the folder", errno, change.path)};
}

}  // namespace

Result<void> KernelUndoer::undo(const Change& change) {
    struct Visitor {
        KernelUndoer& self;

        Result<void> operator()(const CreatedLink& c) {
            const auto& left = self.left_;
            if (std::find(left.begin(), left.end(), c.name) != left.end()) return {};
            return vmrouter::undo(self.netlink_, c);
        }
        Result<void> operator()(const SetLinkUp& c) { return set_down(self.netlink_, c.name); }
        Result<void> operator()(const SetMtu& c) { return vmrouter::undo(self.netlink_, c); }
        Result<void> operator()(const AddedAddress& c) { return vmrouter::undo(self.netlink_, c); }
        Result<void> operator()(const RemovedAddress6& c) { return vmrouter::undo(self.netlink_, c); }
        Result<void> operator()(const RemovedRoute6& c) {
            return link::add_route6(self.netlink_, c.link, {c.destination, c.length, c.message});
        }
        Result<void> operator()(const EnslavedPort& c) { return vmrouter::undo(self.netlink_, c); }
        Result<void> operator()(const IsolatedPort& c) { return vmrouter::undo(self.netlink_, c); }
        Result<void> operator()(const SetSysctl& c) { return self.shared_.release_sysctl(c); }
        Result<void> operator()(const AddedGuardRules& c) { return vmrouter::undo(self.netlink_, c); }
        Result<void> operator()(const CreatedTable& c) { return self.undo_table(c); }
        Result<void> operator()(const InsertedRule& c) { return self.undo_rule(c); }
        Result<void> operator()(const FilledChecksums& c) { return self.undo_checksums(c); }
        Result<void> operator()(const CreatedFile& c) { return vmrouter::undo(c); }
        Result<void> operator()(const CreatedFolder& c) { return vmrouter::undo(c); }
        Result<void> operator()(const ToldProgram& c) { return self.undo_told(c); }
    };
    return std::visit(Visitor{*this}, change);
}

}  // namespace vmrouter
