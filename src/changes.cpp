#include "src/changes.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/state.hpp"

namespace vmrouter {
namespace {

using Json = nlohmann::ordered_json;

template <class... Functions>
struct Overloaded : Functions... {
    using Functions::operator()...;
};

constexpr std::size_t kSizeLimit = std::size_t{8} << 20;
constexpr int kFormat = 1;

/// "net/ipv4/conf/eth0/forwarding" as sysctl(8) writes it; interface names keep their dots.
std::string sysctl_name(std::string path) {
    std::replace(path.begin(), path.end(), '.', '\n');
    std::replace(path.begin(), path.end(), '/', '.');
    std::replace(path.begin(), path.end(), '\n', '/');
    return path;
}

std::string prefix_of(const RemovedRoute6& route) {
    return to_string(route.destination) + "/" + std::to_string(route.length);
}

std::string header_line() {
    return Json{{"vmrouter_changes", kFormat}, {"boot", boot_id()}}.dump() + "\n";
}

/// After a reboot only what is on disk can still be there.
bool outlives_boot(const Change& change) {
    return std::holds_alternative<CreatedFile>(change) || std::holds_alternative<CreatedFolder>(change);
}

/// Reads members of one object; a missing or wrong one makes the whole line unreadable.
class Members {
public:
    explicit Members(const nlohmann::json& object) : object_(object) {}

    std::string text(const char* key) {
        const auto member = object_.find(key);
        if (member == object_.end() || !member->is_string()) return ok_ = false, std::string();
        return *member;
    }
    std::uint32_t number(const char* key) {
        const auto member = object_.find(key);
        if (member == object_.end() || !member->is_number_unsigned()) return ok_ = false, 0U;
        const auto value = member->get<std::uint64_t>();
        if (value > UINT32_MAX) ok_ = false;
        return static_cast<std::uint32_t>(value);
    }
    MacAddress mac(const char* key) {
        const auto value = MacAddress::parse(text(key));
        if (!value) ok_ = false;
        return value.value_or(MacAddress{});
    }
    Cidr cidr(const char* key) {
        const auto value = Cidr::parse(text(key));
        if (!value) ok_ = false;
        return value.value_or(Cidr{});
    }
    Ipv6 ipv6(const char* key) {
        const auto value = Ipv6::parse(text(key));
        if (!value) ok_ = false;
        return value.value_or(Ipv6{});
    }
    [[nodiscard]] bool ok() const { return ok_; }

private:
    const nlohmann::json& object_;
    bool ok_ = true;
};

Json json_of(const Change& change) {
    return std::visit(
        Overloaded{
            [](const CreatedLink& c) {
                return Json{{"change", "created_link"}, {"name", c.name}, {"mac", to_string(c.mac)}};
            },
            [](const SetLinkUp& c) {
                return Json{{"change", "set_link_up"}, {"name", c.name}};
            },
            [](const SetMtu& c) {
                return Json{{"change", "set_mtu"}, {"name", c.name}, {"before", c.before}, {"ours", c.ours}};
            },
            [](const AddedAddress& c) {
                return Json{{"change", "added_address"}, {"link", c.link}, {"address", to_string(c.address)}};
            },
            [](const RemovedAddress6& c) {
                return Json{{"change", "removed_address6"},
                            {"link", c.link},
                            {"address", to_string(c.address)},
                            {"length", c.length},
                            {"flags", c.flags}};
            },
            [](const RemovedRoute6& c) {
                return Json{{"change", "removed_route6"},
                            {"link", c.link},
                            {"destination", to_string(c.destination)},
                            {"length", c.length},
                            {"message", c.message}};
            },
            [](const EnslavedPort& c) {
                return Json{{"change", "enslaved_port"}, {"port", c.port}, {"bridge", c.bridge}};
            },
            [](const IsolatedPort& c) {
                return Json{{"change", "isolated_port"}, {"port", c.port}};
            },
            [](const SetSysctl& c) {
                return Json{{"change", "set_sysctl"}, {"path", c.path}, {"before", c.before}, {"ours", c.ours}};
            },
            [](const AddedGuardRules& c) {
                return Json{{"change", "added_guard_rules"}, {"segment", c.segment}, {"mark", c.mark}};
            },
            [](const CreatedTable& c) {
                return Json{{"change", "created_table"}, {"family", c.family}, {"name", c.name}};
            },
            [](const InsertedRule& c) {
                return Json{{"change", "inserted_rule"}, {"family", c.family},   {"table", c.table},
                            {"chain", c.chain},          {"comment", c.comment}, {"mark", c.mark}};
            },
            [](const FilledChecksums& c) {
                return Json{{"change", "filled_checksums"},
                            {"link", c.link},
                            {"created_table", c.created_table ? 1 : 0},
                            {"created_chain", c.created_chain ? 1 : 0}};
            },
            [](const CreatedFile& c) {
                return Json{{"change", "created_file"}, {"path", c.path}};
            },
            [](const CreatedFolder& c) {
                return Json{{"change", "created_folder"}, {"path", c.path}};
            },
            [](const ToldProgram& c) {
                return Json{{"change", "told_program"}, {"program", c.program}, {"link", c.link}, {"before", c.before}};
            },
        },
        change);
}

std::optional<Change> change_of(std::string_view kind, Members& r) {
    if (kind == "created_link") return CreatedLink{r.text("name"), r.mac("mac")};
    if (kind == "set_link_up") return SetLinkUp{r.text("name")};
    if (kind == "set_mtu") return SetMtu{r.text("name"), r.number("before"), r.number("ours")};
    if (kind == "added_address") return AddedAddress{r.text("link"), r.cidr("address")};
    if (kind == "removed_address6") {
        return RemovedAddress6{r.text("link"), r.ipv6("address"), static_cast<std::uint8_t>(r.number("length")),
                               r.number("flags")};
    }
    if (kind == "removed_route6") {
        return RemovedRoute6{r.text("link"), r.ipv6("destination"), static_cast<std::uint8_t>(r.number("length")),
                             r.text("message")};
    }
    if (kind == "enslaved_port") return EnslavedPort{r.text("port"), r.text("bridge")};
    if (kind == "isolated_port") return IsolatedPort{r.text("port")};
    if (kind == "set_sysctl") return SetSysctl{r.text("path"), r.text("before"), r.text("ours")};
    if (kind == "added_guard_rules") return AddedGuardRules{r.text("segment"), r.number("mark")};
    if (kind == "created_table") return CreatedTable{r.text("family"), r.text("name")};
    if (kind == "inserted_rule") {
        return InsertedRule{r.text("family"), r.text("table"), r.text("chain"), r.text("comment"), r.number("mark")};
    }
    if (kind == "filled_checksums")
        return FilledChecksums{r.text("link"), r.number("created_table") != 0, r.number("created_chain") != 0};
    if (kind == "created_file") return CreatedFile{r.text("path")};
    if (kind == "created_folder") return CreatedFolder{r.text("path")};
    if (kind == "told_program") return ToldProgram{r.text("program"), r.text("link"), r.text("before")};
    return std::nullopt;
}

/// Whether both are about the same thing, so that only the first `before` is the machine's own.
bool same_subject(const Change& a, const Change& b) {
    if (a.index() != b.index()) return false;
    if (const auto* sysctl = std::get_if<SetSysctl>(&a)) return sysctl->path == std::get<SetSysctl>(b).path;
    if (const auto* mtu = std::get_if<SetMtu>(&a)) return mtu->name == std::get<SetMtu>(b).name;
    if (const auto* filled = std::get_if<FilledChecksums>(&a)) return filled->link == std::get<FilledChecksums>(b).link;
    if (const auto* told = std::get_if<ToldProgram>(&a)) {
        const auto& other = std::get<ToldProgram>(b);
        return told->program == other.program && told->link == other.link;
    }
    return a == b;
}

/// `known`, with what is to be undone now: our newest value.
Change merged(Change known, const Change& newer) {
    if (auto* sysctl = std::get_if<SetSysctl>(&known)) sysctl->ours = std::get<SetSysctl>(newer).ours;
    if (auto* mtu = std::get_if<SetMtu>(&known)) mtu->ours = std::get<SetMtu>(newer).ours;
    return known;
}

Result<void> append(const std::string& path, const std::string& line) {
    FileDescriptor file(open(path.c_str(), O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC));
    if (!file) return Failure{system_error("cannot open the record of changes", errno, path)};
    if (const int failed = write_all(file.get(), line); failed != 0)
        return Failure{system_error("cannot write the record of changes", failed, path)};
    return {};
}

}  // namespace

std::string to_string(const Change& change) {
    return std::visit(
        Overloaded{
            [](const CreatedLink& c) { return "created " + c.name; },
            [](const SetLinkUp& c) { return "set " + c.name + " up"; },
            [](const SetMtu& c) {
                return "set the MTU of " + c.name + " from " + std::to_string(c.before) + " to " +
                       std::to_string(c.ours);
            },
            [](const AddedAddress& c) { return "added " + to_string(c.address) + " to " + c.link; },
            [](const RemovedAddress6& c) { return "removed " + to_string(c.address) + " from " + c.link; },
            [](const RemovedRoute6& c) { return "removed the route to " + prefix_of(c) + " from " + c.link; },
            [](const EnslavedPort& c) { return "put " + c.port + " on " + c.bridge; },
            [](const IsolatedPort& c) { return "isolated port " + c.port; },
            [](const SetSysctl& c) { return "set " + sysctl_name(c.path) + " from " + c.before + " to " + c.ours; },
            [](const AddedGuardRules& c) { return "added routing rules for " + c.segment; },
            [](const CreatedTable& c) { return "created table " + c.family + " " + c.name; },
            [](const InsertedRule& c) {
                return "inserted a rule into chain " + c.family + " " + c.table + " " + c.chain;
            },
            [](const FilledChecksums& c) { return "had the checksums of DHCP replies to " + c.link + " completed"; },
            [](const CreatedFile& c) { return "created " + c.path; },
            [](const CreatedFolder& c) { return "created the folder " + c.path; },
            [](const ToldProgram& c) { return "told " + c.program + " about " + c.link; },
        },
        change);
}

std::string describe_undo(const Change& change) {
    return std::visit(
        Overloaded{
            [](const CreatedLink& c) { return "delete " + c.name; },
            [](const SetLinkUp& c) { return "set " + c.name + " down"; },
            [](const SetMtu& c) { return "set the MTU of " + c.name + " to " + std::to_string(c.before); },
            [](const AddedAddress& c) { return "remove " + to_string(c.address) + " from " + c.link; },
            [](const RemovedAddress6& c) { return "add " + to_string(c.address) + " to " + c.link; },
            [](const RemovedRoute6& c) { return "add the route to " + prefix_of(c) + " through " + c.link; },
            [](const EnslavedPort& c) { return "take " + c.port + " off " + c.bridge; },
            [](const IsolatedPort& c) { return "end the isolation of port " + c.port; },
            [](const SetSysctl& c) { return "set " + sysctl_name(c.path) + " to " + c.before; },
            [](const AddedGuardRules& c) { return "remove the routing rules of " + c.segment; },
            [](const CreatedTable& c) { return "delete table " + c.family + " " + c.name; },
            [](const InsertedRule& c) {
                return "remove our rule from chain " + c.family + " " + c.table + " " + c.chain;
            },
            [](const FilledChecksums& c) { return "no longer complete the checksums of DHCP replies to " + c.link; },
            [](const CreatedFile& c) { return "remove " + c.path; },
            [](const CreatedFolder& c) { return "remove the folder " + c.path; },
            [](const ToldProgram& c) { return "tell " + c.program + " about " + c.link; },
        },
        change);
}

std::string to_json(const Change& change) {
    // Names are the machine's own; should one not be UTF-8, the record is kept and that change cannot be undone.
    return json_of(change).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<Change> change_from_json(std::string_view line) {
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object()) return std::nullopt;
    Members reader(object);
    const std::string kind = reader.text("change");
    auto change = change_of(kind, reader);
    return reader.ok() ? change : std::nullopt;
}

Result<Changes> Changes::open(std::string path) {
    Changes changes(std::move(path));
    unlink((changes.path_ + ".new").c_str());  // of one that was killed while it wrote
    auto content = read_own_file(changes.path_, kSizeLimit);
    if (!content) return Failure{std::move(content).error()};
    if (!*content) return changes;

    bool earlier_boot = false;
    for (const auto line : split(**content, '\n')) {
        if (line.empty()) continue;
        const auto object = nlohmann::json::parse(line, nullptr, false);
        if (object.is_object() && object.contains("vmrouter_changes")) {
            const auto boot = object.value("boot", std::string());
            earlier_boot = !boot.empty() && boot != boot_id();
        } else if (auto change = change_from_json(line); !change) {
            ++changes.unreadable_;
        } else if (!earlier_boot || outlives_boot(*change)) {
            changes.changes_.push_back(std::move(*change));
        }
    }
    if (auto rewritten = changes.rewrite(); !rewritten) return Failure{std::move(rewritten).error()};
    return changes;
}

Result<void> Changes::rewrite() const {
    if (changes_.empty()) {
        if (unlink(path_.c_str()) != 0 && errno != ENOENT)
            return Failure{system_error("cannot remove the record of changes", errno, path_)};
        return {};
    }
    std::string content = header_line();
    for (const Change& change : changes_) content += to_json(change) + "\n";
    return replace_file_unsynced(path_, content, 0600);
}

Result<void> Changes::record(const Change& change) {
    const auto known = std::find_if(changes_.begin(), changes_.end(),
                                    [&](const Change& other) { return same_subject(other, change); });
    if (known != changes_.end()) {
        Change updated = merged(*known, change);
        if (updated == *known) return {};
        std::swap(*known, updated);
        auto written = rewrite();
        if (!written) *known = std::move(updated);
        return written;
    }
    changes_.push_back(change);
    auto written = changes_.size() == 1 ? rewrite() : append(path_, to_json(change) + "\n");
    if (!written) written = rewrite();  // somebody removed the file, or a line was written in part
    if (!written) changes_.pop_back();  // it must not be made, so there is nothing to undo
    return written;
}

Result<void> Changes::forget(const Change& change) {
    const auto known = std::find_if(changes_.begin(), changes_.end(),
                                    [&](const Change& other) { return same_subject(other, change); });
    if (known == changes_.end()) return {};
    changes_.erase(known);
    return rewrite();
}

std::vector<Error> Changes::undo_all(Undoer& undoer) {
    return undo_down_to(0, undoer);
}

std::vector<Error> Changes::undo_down_to(std::size_t keep, Undoer& undoer) {
    std::vector<Error> errors;
    for (std::size_t left = changes_.size(); left > keep; --left) {
        const auto at = changes_.begin() + static_cast<std::ptrdiff_t>(left - 1);
        if (auto undone = undoer.undo(*at); !undone) {
            errors.push_back(std::move(undone).error());
            continue;
        }
        changes_.erase(at);
        // A record that still names what is undone costs nothing: undoing it again is harmless.
        if (auto written = rewrite(); !written && left - 1 == keep) errors.push_back(std::move(written).error());
    }
    return errors;
}

}  // namespace vmrouter
