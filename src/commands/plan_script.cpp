// One function a kind of change; each writes the lines of `up`. Most of what `up` does is noted in a file, one line a
// change, which `down` reads backwards: the script undoes what it did and nothing else, also after a failure half-way.

#include "src/commands/plan_script.hpp"

#include <algorithm>

#include "firewall/ruleset.hpp"
#include "src/link/bridge.hpp"
#include "src/link/rule.hpp"

namespace vmrouter {
namespace {

constexpr std::string_view intro =
    R"sh(# It makes the state that vmrouter makes and puts it back. What it is not: it serves no DHCP and no DNS, relays no port
# from loopback, cuts no connection that is open already, tells systemd-networkd nothing, and follows nothing: a network,
# an uplink or a guest that comes later is not known to these rules, and nobody repairs them.
)sh";

constexpr std::string_view head = R"sh(set -eu

say() { echo "vmrouter: $*" >&2; }
note() { echo "$*" >>"$saved"; }

# Writes a setting, when it is there and has another value.
setting() { # PATH VALUE
    [ -e "/proc/sys/$1" ] || return 0
    old=$(cat "/proc/sys/$1")
    [ "$old" != "$2" ] || return 0
    note "setting $1 $2 $old"
    echo "$2" >"/proc/sys/$1"
}

# A routing rule that refuses guests a network whenever the firewall is gone.
guard() { # PREFIX
    note "guard $1"
    ip -4 rule add iif "$segment" fwmark "0/$mark" to "$1" prohibit priority "$guard_priority"
}

# Puts the rule "what we let pass, passes" into a chain of another firewall.
pass() { # FAMILY TABLE CHAIN
    note "pass $1 $2 $3"
    nft insert rule "$1" "$2" "$3" meta mark and "$mark" == "$mark" counter accept comment "\"$table\""
}

# One change, undone.
undo() { # KIND WORD...
    kind=$1
    shift
    case $kind in
        tables) printf '%s' "$remove_tables" | nft -f - ;;
        pass)
            nft -a list chain "$1" "$2" "$3" 2>/dev/null | sed -n "s/.*comment \"$table\".* # handle \([0-9]*\)\$/\1/p" |
                while read -r handle; do nft delete rule "$1" "$2" "$3" handle "$handle"; done
            ;;
        bridge) ip link delete dev "$segment" ;;
        mtu) ip link set dev "$segment" mtu "$1" ;;
        setting)
            [ -e "/proc/sys/$1" ] || return 0
            [ "$(cat "/proc/sys/$1")" != "$2" ] || echo "$3" >"/proc/sys/$1"
            ;;
        ipv6) ip -6 addr replace "$@" dev "$segment" ;;
        isolated) bridge link set dev "$1" isolated off ;;
        guard) ip -4 rule delete iif "$segment" fwmark "0/$mark" to "$1" prohibit priority "$guard_priority" ;;
        address)
            ip -4 addr delete "$1" dev "$segment"
            ip -4 neigh flush dev "$segment" to "$1" nud all 2>/dev/null || true
            ;;
        up) ip link set dev "$segment" down ;;
        managed) nmcli device set "$segment" managed yes ;;
        lookup) resolvectl revert "$segment" ;;
        checksums) iptables -t mangle -D POSTROUTING -o "$segment" -p udp --dport 68 -j CHECKSUM --checksum-fill ;;
        mangle-chain) nft delete chain ip mangle POSTROUTING ;;
        mangle-table) nft delete table ip mangle ;;
    esac
}

down() {
    [ -e "$saved" ] || { say "nothing to undo: there is no $saved" && return 0; }
    failed=0
    # Newest first. A link that was ours takes its settings and addresses along.
    awk '{ line[NR] = $0 } END { for (i = NR; i > 0; i--) print line[i] }' "$saved" >"$saved.reversed"
    while read -r change; do
        # shellcheck disable=SC2086 # its words are what undo() takes
        undo $change || { say "could not undo: $change" && failed=1; }
    done <"$saved.reversed"
    rm -f "$saved" "$saved.reversed"
    return "$failed"
}

)sh";

constexpr std::string_view tail = R"sh(
case ${1:-} in
    up)
        [ ! -e "$saved" ] || { say "it is up already ($saved); take it down first" && exit 1; }
        : >"$saved"
        status=0
        # Not `up || ...`: set -e does not hold in there.
        trap 'status=$?; [ "$status" = 0 ] || { say "it failed; undoing what was done" && down; }' EXIT
        up
        ;;
    down) down ;;
    *)
        echo "usage: $0 up|down" >&2
        exit 2
        ;;
esac
)sh";

std::string hex(std::uint32_t bits) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (; bits != 0; bits >>= 4U) text.insert(text.begin(), digits[bits & 0xfU]);
    return "0x" + text;
}

void add(std::string& out, const std::string& line) {
    out += "    " + line + '\n';
}

void add_tables(std::string& out, const Plan& plan) {
    add(out, "# the firewall, before anything of the segment is up");
    add(out, "note tables");
    out += "    nft -f - <<'END_OF_RULES'\n" + firewall::ruleset(plan.policy) + "END_OF_RULES\n";
}

void add_passes(std::string& out, const ScriptFacts& facts) {
    if (!facts.chains_known)
        add(out,
            "# the rules of other firewalls could not be read (not root): none is opened for guests' traffic here");
    for (const auto& chain : facts.chains) {
        if (chain.before_ours)
            add(out, "# " + chain.family + " " + chain.table + " " + chain.chain + " drops before our rules are asked");
        else if (!chain.has_our_rule)
            add(out, "pass " + shell_word(chain.family) + " " + shell_word(chain.table) + " " +
                         shell_word(chain.insert_into));
    }
}

void add_link(std::string& out, const Segment& segment, const ScriptFacts& facts) {
    const std::string mtu = std::to_string(segment.mtu);
    const auto* present = facts.host.find(segment.name);
    if (segment.is_bridge && !segment.exists) {
        add(out, "# the bridge; forward delay as short as the kernel takes it");
        add(out, "note bridge");
        add(out, "ip link add name \"$segment\" address " + to_string(segment.mac) + " mtu " + mtu +
                     " type bridge forward_delay " + (segment.stp ? "200" : "0") + " stp_state " +
                     (segment.stp ? "1" : "0") + " mcast_snooping 0 mcast_querier 0 group_fwd_mask 0");
        add(out, "ip link set dev \"$segment\" alias " + std::string(link::our_alias));
        add(out, "ip link set dev \"$segment\" addrgenmode none 2>/dev/null || true # where there is IPv6");
    } else if (segment.set_mtu && present != nullptr) {
        add(out, "note mtu " + std::to_string(present->mtu));
        add(out, "ip link set dev \"$segment\" mtu " + mtu);
    }
}

/// disable_ipv6 takes addresses away that somebody set.
void add_ipv6(std::string& out, const Segment& segment) {
    if (segment.is_bridge && !segment.exists) return;
    add(out, "# IPv6 addresses that go with disable_ipv6; noted before it, so that they come back after it");
    add(out, "ip -6 -o addr show dev \"$segment\" permanent scope global |");
    add(out,
        "    awk '{ print \"ipv6\", $4, / nodad/ ? \"nodad\" : \"\", /noprefixroute/ ? \"noprefixroute\" : \"\" }' "
        ">>\"$saved\"");
}

void add_settings(std::string& out, const std::vector<link::Sysctl>& settings) {
    for (const auto& setting : settings) add(out, "setting " + shell_word(setting.path) + " " + setting.value);
}

void add_isolation(std::string& out, const Segment& segment, const ScriptFacts& facts) {
    if (!segment.isolate_guests) return;
    for (const auto* port : facts.host.ports_of(segment.name)) {
        add(out, "note isolated " + shell_word(port->name));
        add(out, "bridge link set dev " + shell_word(port->name) + " isolated on");
    }
}

void add_address(std::string& out, const Segment& segment, const ScriptFacts& facts) {
    const std::string address = to_string(segment.address);
    const auto* present = facts.host.find(segment.name);
    const bool has_address =
        present != nullptr && std::any_of(facts.host.addresses.begin(), facts.host.addresses.end(), [&](const auto& a) {
            return a.link == present->index && a.local == segment.address.address &&
                   a.network == segment.address.network();
        });
    if (!has_address) {
        add(out, "note address " + address);
        const std::string broadcast =
            segment.address.length < 31 ? " broadcast " + to_string(segment.address.last()) : "";
        add(out, "ip -4 addr add " + address + broadcast + " dev \"$segment\"");
    }
    if (present != nullptr && present->up()) return;
    if (segment.exists) add(out, "note up");
    add(out, "ip link set dev \"$segment\" up");
}

void add_manager(std::string& out) {
    add(out, "# before the address: a manager that does not know it would take it away");
    add(out, "if [ \"$(nmcli -t -f RUNNING general 2>/dev/null)\" = running ]; then");
    add(out, "    nmcli device set \"$segment\" managed no && note managed");
    add(out, "fi");
}

void add_checksums(std::string& out) {
    add(out, "# completes the checksums of DHCP replies that other programs on this host send to the segment");
    add(out, "if command -v iptables >/dev/null; then");
    add(out, "    nft list table ip mangle >/dev/null 2>&1 || note mangle-table");
    add(out, "    nft list chain ip mangle POSTROUTING >/dev/null 2>&1 || note mangle-chain");
    add(out, "    note checksums");
    add(out, "    iptables -t mangle -A POSTROUTING -o \"$segment\" -p udp --dport 68 -j CHECKSUM --checksum-fill");
    add(out, "else");
    add(out, "    say \"without iptables, the checksums of other programs' DHCP replies stay as they are\"");
    add(out, "fi");
}

void add_lookup(std::string& out, const Plan& plan) {
    add(out, "# this machine resolves guests by name, where systemd-resolved runs");
    add(out, "if [ -e /run/systemd/resolve/stub-resolv.conf ]; then");
    add(out, "    note lookup");
    add(out, "    resolvectl domain \"$segment\" " + shell_word("~" + plan.host_lookup_domain));
    add(out, "    resolvectl default-route \"$segment\" no");
    add(out, "    resolvectl dns \"$segment\" " + to_string(plan.segment->address.address));
    add(out, "fi");
}

void add_segment(std::string& out, const Plan& plan, const ScriptFacts& facts) {
    const Segment& segment = *plan.segment;
    add_passes(out, facts);
    add_link(out, segment, facts);
    add_ipv6(out, segment);
    add_settings(out, plan.sysctls);
    add_isolation(out, segment, facts);
    for (const auto& prefix : plan.lans) add(out, "guard " + to_string(prefix));
    if (segment.exists) add_manager(out);
    add_address(out, segment, facts);
    if (plan.fill_checksums) add_checksums(out);
    if (!plan.host_lookup_domain.empty()) add_lookup(out, plan);
    add(out, "# forwarding comes last");
    add_settings(out, plan.forwarding);
}

}  // namespace

std::string shell_word(std::string_view text) {
    const auto is_harmless = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("_-./:,=@%+").find(c) != std::string_view::npos;
    };
    if (!text.empty() && std::all_of(text.begin(), text.end(), is_harmless)) return std::string(text);
    std::string quoted = "'";
    for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + '\'';
}

std::string plan_script(const Plan& plan, const ScriptFacts& facts) {
    std::string out = "#!/bin/sh\n# vmrouter " + plan.instance +
                      " without vmrouter, for this machine as it is now: sh FILE up, sh FILE down.\n";
    out += intro;
    for (const auto& warning : plan.warnings) out += "# warning: " + warning + '\n';
    out += "saved=/run/vmrouter-" + plan.instance + ".saved\n";
    out += "table=" + firewall::table_name(plan.instance) + '\n';
    out += "segment=" + (plan.segment ? plan.segment->name : std::string("none")) + '\n';
    out += "mark=" + hex(plan.policy.mark) + "\nguard_priority=" + std::to_string(link::guard_priority) + '\n';
    out += "remove_tables='" + firewall::removal(plan.instance) + "'\n";
    out += head;
    out += "up() {\n";
    add_tables(out, plan);
    if (plan.segment) add_segment(out, plan, facts);
    out += "}\n";
    out += tail;
    return out;
}

}  // namespace vmrouter
