#include "firewall/live.hpp"

#include <linux/netfilter.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "firewall/ruleset.hpp"
#include "firewall/sets.hpp"
#include "src/base/text.hpp"

namespace vmrouter::firewall {

namespace {

using Action = ElementChange::Action;
using nlohmann::json;

constexpr std::size_t names_limit = 65536;  // the size of the set vm_names

constexpr std::uint8_t arp_family = NFPROTO_ARP;

/// The objects in the JSON of a listing that are of `kind` and in our table.
std::vector<json> objects(const json& listing, const char* kind, const std::string& table) {
    std::vector<json> found;
    for (const auto& object : listing.value("nftables", json::array())) {
        const auto it = object.find(kind);
        if (it != object.end() && it->value("table", std::string{}) == table) found.push_back(*it);
    }
    return found;
}

Result<json> parse(const Result<std::string>& text) {
    if (!text) return Failure{text.error()};
    auto parsed = json::parse(*text, nullptr, false);
    if (parsed.is_discarded()) return Failure{Error{"nftables lists in a form that is not JSON", {}, {}}};
    return parsed;
}

/// An element of a listing in the words of sets.cpp, less what only one side says: quotes, and /32 of single addresses.
std::string words(const json& element) {
    if (element.is_string()) return element.get<std::string>();
    if (element.is_number()) return std::to_string(element.get<std::uint64_t>());
    std::string text;
    if (element.is_array()) {  // of a map: key and value
        for (const auto& part : element) text += (text.empty() ? "" : " : ") + words(part);
    } else if (const auto concat = element.find("concat"); concat != element.end()) {
        for (const auto& part : *concat) text += (text.empty() ? "" : " . ") + words(part);
    } else if (const auto prefix = element.find("prefix"); prefix != element.end()) {
        text = words(prefix->value("addr", json())) + "/" + words(prefix->value("len", json()));
    } else if (const auto elem = element.find("elem"); elem != element.end()) {
        text = words(elem->value("val", json()));
    }
    return text;
}

std::string plain(std::string element) {
    std::erase(element, '"');
    for (const std::string_view whole : {"/32", "/128"}) {
        if (element.size() > whole.size() && element.compare(element.size() - whole.size(), whole.size(), whole) == 0)
            element.resize(element.size() - whole.size());
    }
    return element;
}

bool same_elements(const json& listing, const std::string& table, const std::string& family,
                   const std::vector<Set>& sets) {
    std::map<std::string, std::vector<std::string>> found;
    for (const char* kind : {"set", "map"}) {
        for (const auto& object : objects(listing, kind, table)) {
            if (object.value("family", std::string{}) != family) continue;
            auto& elements = found[object.value("name", std::string{})];
            for (const auto& element : object.value("elem", json::array())) elements.push_back(plain(words(element)));
            std::sort(elements.begin(), elements.end());
        }
    }
    return std::all_of(sets.begin(), sets.end(), [&](const Set& set) {
        if (set.options.find("timeout") != std::string_view::npos) return true;
        std::vector<std::string> wanted;
        for (const auto& element : set.elements) wanted.push_back(plain(element));
        std::sort(wanted.begin(), wanted.end());
        return found[std::string(set.name)] == wanted;
    });
}

/// Which tables a policy has.
std::vector<std::pair<std::string, bool>> families(const Policy& policy) {
    const bool segment = policy.segment.has_value();
    return {{"inet", true},
            {"bridge", segment && policy.segment->mode == Mode::Bridge},
            {"arp", segment},
            {"netdev", segment && policy.segment->ingress_guard}};
}

/// Hands each address of a set and its counter to `add`.
template <class Add>
void each_count(const json& listing, const std::string& table, Add add) {
    for (const auto& set : objects(listing, "set", table)) {
        for (const auto& element : set.value("elem", json::array())) {
            const auto elem = element.find("elem");
            if (elem == element.end() || !elem->contains("counter")) continue;
            const auto address = Ipv4::parse(elem->value("val", std::string{}));
            const auto& counter = (*elem)["counter"];
            if (address)
                add(*address, counter.value("packets", std::uint64_t{0}), counter.value("bytes", std::uint64_t{0}));
        }
    }
}

std::chrono::milliseconds left(Monotonic until, Monotonic now) {
    return std::chrono::ceil<std::chrono::milliseconds>(until - now);
}

}  // namespace

Result<void> Live::apply(const Policy& policy, Monotonic now) {
    std::string text = ruleset(policy);
    if (policy.segment && policy.segment->allow_domains) {
        if (const auto names = admitted(now); !names.empty())
            text += "add element inet " + table_name(policy.instance) + " vm_names { " + names + " }\n";
    }
    if (auto done = nft_.run(text); !done) return done;
    remember(policy);
    rules_ = kernel_rules();
    return {};
}

Result<void> Live::update(const Policy& policy, Monotonic now) {
    const auto current = this->policy();
    if (!current || !same_shape(*current, policy)) return apply(policy, now);
    if (auto done = nft_.run(elements(*current, policy)); !done) return done;
    remember(policy);
    return {};
}

Result<void> Live::repair(Monotonic now) {
    const auto current = policy();
    if (!current) return {};
    return apply(*current, now);
}

Result<void> Live::remove(const std::string& instance) {
    if (auto done = nft_.run(removal(instance)); !done) return done;
    policy_.reset();
    bindings_.clear();
    pins_.clear();
    admitted_.clear();
    return {};
}

Result<void> Live::bind(const Binding& binding) {
    if (!policy_ || !policy_->segment) return {};
    const std::string port = pinned_to(binding);
    const auto known = bindings_.find({binding.address, binding.mac});
    const std::string old_port = known == bindings_.end() ? std::string{} : known->second;
    std::vector<ElementChange> changes;
    if (known == bindings_.end()) {
        if (!owned_by_others(binding.address, binding.mac))
            change(changes, Action::Add, "vm_owned", element_key(binding.address));
        change(changes, Action::Add, "vm_bound", element_key(binding.mac, binding.address));
    }
    move_pin(changes, binding.mac, old_port, port);
    if (auto done = write(changes); !done) return done;
    count_pin(binding.mac, old_port, port);
    bindings_[{binding.address, binding.mac}] = port;
    return {};
}

Result<void> Live::unbind(const MacAddress& mac, Ipv4 address) {
    const auto known = bindings_.find({address, mac});
    if (known == bindings_.end()) return {};
    std::vector<ElementChange> changes;
    if (!owned_by_others(address, mac)) change(changes, Action::Delete, "vm_owned", element_key(address));
    change(changes, Action::Delete, "vm_bound", element_key(mac, address));
    move_pin(changes, mac, known->second, {});
    if (auto done = write(changes); !done) return done;
    count_pin(mac, known->second, {});
    bindings_.erase(known);
    return {};
}

Result<void> Live::admit(std::span<const Ipv4> addresses, Seconds ttl, Monotonic now) {
    if (!policy_ || !policy_->segment || !policy_->segment->allow_domains) return {};
    const Monotonic until = now + ttl;
    std::vector<ElementChange> adds;
    std::vector<ElementChange> all;
    for (const auto address : addresses) {
        const auto known = admitted_.find(address);
        if (known != admitted_.end() && known->second >= until) continue;
        ElementChange element{Action::Delete, NFPROTO_INET, "vm_names", element_key(address), {}};
        if (known != admitted_.end() && known->second > now) all.push_back(element);  // kernels keep the old time-out
        element.action = Action::Add;
        element.timeout = left(until, now);
        all.push_back(element);
        adds.push_back(element);
    }
    if (admitted_.size() + adds.size() > names_limit) {
        std::erase_if(admitted_, [&](const auto& entry) { return entry.second <= now; });
        if (admitted_.size() + adds.size() > names_limit)
            return Failure{Error{"allow_domains: more than 65536 addresses at once", {}, "allow fewer names"}};
    }
    const std::string table = table_name(policy_->instance);
    auto answer = writer_.write(table, all);
    if (answer && *answer == ENOENT) answer = writer_.write(table, adds);  // one ran out just now
    if (!answer) return Failure{answer.error()};
    if (*answer != 0) return Failure{system_error("nftables refused an address of an allowed name", *answer, table)};
    for (const auto address : addresses) {
        auto& entry = admitted_[address];
        entry = std::max(entry, until);
    }
    return {};
}

Result<bool> Live::in_force() {
    const auto wanted = policy();
    if (!wanted || rules_.empty() || kernel_rules() != rules_) return false;
    const auto listing = parse(nft_.list("list ruleset"));
    if (!listing) return Failure{listing.error()};
    const std::string table = table_name(wanted->instance);
    if (!same_elements(*listing, table, "inet", inet_sets(*wanted))) return false;
    if (!wanted->segment) return true;
    if (!same_elements(*listing, table, "arp", arp_sets(*wanted))) return false;
    return wanted->segment->mode != Mode::Bridge || same_elements(*listing, table, "bridge", bridge_sets(*wanted));
}

/// Our tables as nft lists them; empty when one of them is missing.
std::string Live::kernel_rules() {
    std::string all;
    for (const auto& [family, wanted] : families(*policy_)) {
        if (!wanted) continue;
        const auto text = nft_.list_rules("list table " + family + " " + table_name(policy_->instance));
        if (!text) return {};
        all += *text;
    }
    return all;
}

std::optional<Policy> Live::policy() const {
    if (!policy_) return std::nullopt;
    Policy full = *policy_;
    for (const auto& [pair, port] : bindings_) full.bindings.push_back({pair.second, pair.first, port});
    return full;
}

Result<std::vector<Counter>> Live::counters() {
    if (!policy_) return std::vector<Counter>{};
    const auto listing = parse(nft_.list("list counters"));
    if (!listing) return Failure{listing.error()};
    std::map<std::string, Counter> sums;
    for (const auto& object : objects(*listing, "counter", table_name(policy_->instance))) {
        const auto name = object.value("name", std::string{});
        if (name.rfind("vm_", 0) != 0) continue;
        auto& sum = sums[name.substr(3)];
        sum.name = name.substr(3);
        sum.packets += object.value("packets", std::uint64_t{0});
        sum.bytes += object.value("bytes", std::uint64_t{0});
    }
    std::vector<Counter> result;
    for (auto& [name, counter] : sums) result.push_back(std::move(counter));
    return result;
}

Result<std::vector<Traffic>> Live::traffic() {
    std::vector<Traffic> result;
    if (!policy_ || !policy_->segment) return result;
    const std::string table = table_name(policy_->instance);
    const auto sent = parse(nft_.list("list set inet " + table + " vm_sent"));
    if (!sent) return Failure{sent.error()};
    const auto received = parse(nft_.list("list set inet " + table + " vm_received"));
    if (!received) return Failure{received.error()};
    std::map<Ipv4, Traffic> guests;
    each_count(*sent, table, [&](Ipv4 guest, std::uint64_t packets, std::uint64_t bytes) {
        guests[guest].sent_packets = packets;
        guests[guest].sent_bytes = bytes;
    });
    each_count(*received, table, [&](Ipv4 guest, std::uint64_t packets, std::uint64_t bytes) {
        guests[guest].received_packets = packets;
        guests[guest].received_bytes = bytes;
    });
    for (auto& [guest, traffic] : guests) {
        traffic.guest = guest;
        result.push_back(traffic);
    }
    return result;
}

/// The elements of vm_names that have not run out, with what is left of their time.
std::string Live::admitted(Monotonic now) {
    std::erase_if(admitted_, [&](const auto& entry) { return entry.second <= now; });
    std::string text;
    for (const auto& [address, until] : admitted_)
        text += (text.empty() ? "" : ", ") + to_string(address) + " timeout " +
                std::to_string(left(until, now).count()) + "ms";
    return text;
}

void Live::remember(const Policy& policy) {
    Policy copy = policy;
    bindings_.clear();
    pins_.clear();
    for (const auto& binding : copy.bindings) {
        const auto [entry, fresh] = bindings_.try_emplace({binding.address, binding.mac}, pinned_to(binding));
        if (fresh) count_pin(binding.mac, {}, entry->second);
    }
    copy.bindings.clear();
    policy_ = std::move(copy);
}

bool Live::owned_by_others(Ipv4 address, const MacAddress& mac) const {
    for (auto it = bindings_.lower_bound({address, MacAddress{}}); it != bindings_.end() && it->first.first == address;
         ++it) {
        if (it->first.second != mac) return true;
    }
    return false;
}

/// Into every table that has the set.
void Live::change(std::vector<ElementChange>& changes, Action action, std::string_view set,
                  const std::vector<std::uint8_t>& key) const {
    const bool bridge = policy_->segment->mode == Mode::Bridge;
    const bool pins = set == "vm_pinned" || set == "vm_pins";  // matched where ports are known
    if (!pins) changes.push_back({action, NFPROTO_INET, std::string(set), key, {}});
    if (!pins) changes.push_back({action, arp_family, std::string(set), key, {}});
    if (bridge) changes.push_back({action, NFPROTO_BRIDGE, std::string(set), key, {}});
}

/// One binding of `mac` names port `to` instead of `from` (empty: none).
void Live::move_pin(std::vector<ElementChange>& changes, const MacAddress& mac, const std::string& from,
                    const std::string& to) const {
    if (from == to) return;
    const auto known = pins_.find(mac);
    const auto count = [&](const std::string& port) -> std::size_t {
        if (known == pins_.end()) return 0;
        const auto it = known->second.find(port);
        return it == known->second.end() ? 0 : it->second;
    };
    const bool pinned = known != pins_.end();
    const bool from_ends = !from.empty() && count(from) == 1;
    const bool to_begins = !to.empty() && count(to) == 0;
    if (from_ends) change(changes, Action::Delete, "vm_pins", element_key(mac, from));
    if (to_begins) change(changes, Action::Add, "vm_pins", element_key(mac, to));
    if (!pinned && to_begins) change(changes, Action::Add, "vm_pinned", element_key(mac));
    if (pinned && from_ends && to.empty() && known->second.size() == 1)
        change(changes, Action::Delete, "vm_pinned", element_key(mac));
}

void Live::count_pin(const MacAddress& mac, const std::string& from, const std::string& to) {
    if (from == to) return;
    auto& ports = pins_[mac];
    if (!to.empty()) ++ports[to];
    if (!from.empty() && --ports[from] == 0) ports.erase(from);
    if (ports.empty()) pins_.erase(mac);
}

Result<void> Live::write(const std::vector<ElementChange>& changes) {
    const std::string table = table_name(policy_->instance);
    const auto answer = writer_.write(table, changes);
    if (!answer) return Failure{answer.error()};
    if (*answer != 0)
        return Failure{
            system_error("nftables refused a guest's address", *answer, table,
                         "the rules may have been changed by somebody else; they are put back when that is noticed")};
    return {};
}

Result<bool> in_force(Nft& nft, const Policy& policy) {
    const auto listing = parse(nft.list("list ruleset"));
    if (!listing) return Failure{listing.error()};
    const std::string table = table_name(policy.instance);
    std::map<std::string, std::size_t> found;
    for (const auto& chain : objects(*listing, "chain", table))
        found[chain.value("family", std::string{}) + " " + chain.value("name", std::string{})] = 0;
    for (const auto& rule : objects(*listing, "rule", table))
        ++found[rule.value("family", std::string{}) + " " + rule.value("chain", std::string{})];
    return found == outline(policy);
}

bool knows_bridge_names(Nft& nft) {
    return nft
        .check(
            "table bridge vmrouter_asks {\n"
            "  chain ports { meta ibrname \"bridge\" meta obrname \"bridge\" accept; }\n"
            "}\n")
        .has_value();
}

}  // namespace vmrouter::firewall
