#!/bin/bash
# The rules outlive the program, and the program outlives what others do to the rules. While nobody repairs them, the dead
# man's switch (routing rules that bite when nothing marks packets) keeps the LAN shut.
#
#   the whole network of lib.sh, virbr10 with g1 192.168.100.11, and for a while g2 and g3
. "$(dirname "$0")/lib.sh"

topology_bridge
nft 'table inet somebody { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; chain c { type filter hook forward priority 50; counter; }; }'
others() { nft list table inet somebody | sed 's/packets.*//'; }
others >"$LAB/others"
cat >"$LAB/vm.toml" <<'TOML'
[network]
bridge = "virbr10"
address = "192.168.100.1/24"
[[dhcp.host]]
mac = "52:54:00:00:00:01"
address = "192.168.100.11"
name = "web"
[[firewall.forward]]
listen = "tcp/0.0.0.0:2222"
guest = "web"
port = 22
TOML
start_vmrouter --config "$LAB/vm.toml"
guest_add g1
guest_static g1 192.168.100.11/24 192.168.100.1
serve g1 tcp/22
count() { nft -j list ruleset | python3 -c 'import json, sys
print(sum(1 for o in json.load(sys.stdin)["nftables"] if o.get("rule", {}).get("table") == "vmrouter_virbr10"))'; }
complete() { [ "$(count)" = "$1" ]; }
rules=$(count)
expect_refused g1 tcp lan 192.168.1.50 22
expect_reach g1 tcp inet 198.51.100.10 80

step "killed: the rules stay (what they stop, a plain router lets through: isolation_lan, isolation_host)"
stop_vmrouter KILL
expect_refused g1 tcp lan 192.168.1.50 22
expect_refused g1 tcp office 203.0.113.50 22
expect_refused g1 tcp host 192.168.1.2 22
expect_reach g1 tcp inet 198.51.100.10 80

step "killed: a guest on a port that joins meanwhile"
kernel_knows() { nft -c 'table bridge lab { chain c { meta ibrname "virbr10" meta obrname "virbr10" accept; }; }' 2>/dev/null; }
by_name() { [[ $(nft list chain bridge vmrouter_virbr10 vm_ports_in) == *ibrname* ]]; }
expect_equal "ports are recognised by the bridge's name where the kernel knows it" \
    "$(kernel_knows && echo yes || echo no)" "$(by_name && echo yes || echo no)"
by_name && fresh=expect_unseen || fresh=expect_seen # the accepted limit of other kernels: @vm_ports is as it was when we died
sysctl -qw net.bridge.bridge-nf-call-ip6tables=0 2>/dev/null || true # with 1 the rules for routed IPv6 stop what is bridged
guest_add g2
guest_add g3
send_frame g3 eth0 arp=request spa=192.168.100.13 tpa=192.168.100.12
expect_seen g2 in "ARP of its own"
send_frame g3 eth0 arp=request spa=192.168.100.1 tpa=192.168.100.1
$fresh g2 in "gratuitous ARP for the gateway"
send_frame g3 eth0 dst=33:33:00:00:00:01 ip6.src=fe80::1 ip6.dst=ff02::1 proto=icmp6 icmp_type=134 ttl=255
$fresh g2 in "a router advertisement"
send_frame g3 eth0 vlan=5 arp=request spa=192.168.100.1 tpa=192.168.100.1
$fresh g2 in "gratuitous ARP for the gateway in a VLAN tag"
guest_delete g2
guest_delete g3
in_node g1 ip neigh flush dev eth0 # it believed the forged ARP as well, where that came through
sysctl -qw net.bridge.bridge-nf-call-ip6tables=1 2>/dev/null || true
start_vmrouter --config "$LAB/vm.toml"
expect_equal "the next start has the same rules" "$rules" "$(count)"
expect_reach g1 tcp inet 198.51.100.10 80

switch_is_back() { ip rule show priority 100 | sort | cmp -s - <(sort "$LAB/switch"); }
step "somebody flushes everything, and vmrouter is stopped: the dead man's switch"
for filter in 0 1 2; do
    sysctl -qw net.ipv4.conf.all.rp_filter=$filter net.ipv4.conf.eth0.rp_filter=$filter
    expect_reach g1 tcp inet 198.51.100.10 80
    expect_reach lan tcp g1 192.168.1.2 2222
    kill -STOP "$VMROUTER_PID"
    nft flush ruleset
    expect_blocked g1 tcp lan 192.168.1.50 22
    expect_blocked g1 udp lan 192.168.1.50 137
    expect_blocked g1 tcp office 203.0.113.50 22
    expect_reach g1 tcp host 192.168.1.2 22 # the control: nothing else stops it now
    if [ $filter = 0 ]; then # nor is it anything but the switch that keeps the LAN shut
        ip rule show priority 100 >"$LAB/switch"
        while ip rule del priority 100 2>/dev/null; do :; done
        expect_arrive g1 tcp lan 192.168.1.50 22
        expect_arrive g1 udp lan 192.168.1.50 137
        expect_arrive g1 tcp office 203.0.113.50 22
    fi
    in_node g1 python3 -I "$LAB/repo/tests/netns/session.py" 192.168.1.2 22 >"$LAB/gap$filter.log" 2>&1 &
    gap=$!
    wait_until 5 grep -q heard "$LAB/gap$filter.log"
    python3 -I "$LAB/repo/tests/netns/session.py" 192.168.100.11 22 >"$LAB/gap-host$filter.log" 2>&1 &
    gap_host=$!
    wait_until 5 grep -q heard "$LAB/gap-host$filter.log"
    kill -CONT "$VMROUTER_PID"
    check "rp_filter $filter: repaired at once" wait_until 5 complete "$rules"
    check "what began in the gap is cut" wait_until 5 grep -q cut "$LAB/gap$filter.log"
    check "in the other direction too" wait_until 5 grep -q cut "$LAB/gap-host$filter.log"
    wait $gap $gap_host || true
    [ $filter != 0 ] || check "the switch is put back" wait_until 5 switch_is_back
    expect_refused g1 tcp lan 192.168.1.50 22
    expect_refused g1 tcp host 192.168.1.2 22
done
nft -f "$LAB/others"

step "the rules are gone when the networks change"
shut() { nft get element inet vmrouter_virbr10 vm_lan '{ 198.51.100.0/28 }'; }
open() { nft list set inet vmrouter_virbr10 vm_lan && ! shut; }
for turn in 1 2 3; do
    expect_reach g1 tcp inet 198.51.100.10 80
    kill -STOP "$VMROUTER_PID" # both are told to it at once
    nft delete table inet vmrouter_virbr10
    ip route add 198.51.100.0/28 via 192.168.1.50
    kill -CONT "$VMROUTER_PID"
    check "turn $turn: the new network is shut" wait_until 5 shut
    expect_refused g1 tcp inet 198.51.100.10 80
    ip route delete 198.51.100.0/28
    check "turn $turn: and open again when it is gone" wait_until 5 open
done

step "somebody changes a part"
repaired() { # TEXT COMMAND...: it changes something of ours
    local text=$1
    shift
    "$@"
    if wait_until 5 restored; then ok "$text is repaired"; else
        fail "$text is not repaired"
        stable | diff - "$LAB/wanted" | head -10
    fi
}
stable() {
    local family
    for family in inet bridge arp; do nft -s list table $family vmrouter_virbr10; done 2>&1 |
        awk '/set vm_(loud|refusals|flows_guest|flows_all|sent|received|got|macs|newcomers|unleased) /, /^\t}/ { next } { print }' # what packets put there
    ip rule | grep '^100:' | sort
    sysctl net.ipv4.conf.virbr10.arp_ignore net.ipv4.conf.virbr10.send_redirects net.ipv4.conf.eth0.src_valid_mark \
        net.ipv4.conf.virbr10.forwarding net.ipv4.conf.eth0.forwarding net.ipv6.conf.virbr10.disable_ipv6
}
stable >"$LAB/wanted"
restored() { stable | cmp -s - "$LAB/wanted"; }
repaired "a deleted table" nft delete table inet vmrouter_virbr10
repaired "a deleted bridge table" nft delete table bridge vmrouter_virbr10
repaired "a flushed chain" nft flush chain inet vmrouter_virbr10 vm_from_guest
handle() { nft -a list chain "$1" vmrouter_virbr10 "$2" | grep "$3" | sed 's/.*handle //' | head -1; }
repaired "a deleted rule" nft delete rule inet vmrouter_virbr10 vm_from_guest handle "$(handle inet vm_from_guest @vm_private)"
repaired "a deleted rule of the bridge" nft delete rule bridge vmrouter_virbr10 vm_frame handle "$(handle bridge vm_frame 'ether type !=')"
delete_chain() { nft "flush chain inet vmrouter_virbr10 vm_clamp; delete chain inet vmrouter_virbr10 vm_clamp"; }
repaired "a deleted chain" delete_chain
repaired "an added rule" nft insert rule inet vmrouter_virbr10 vm_from_guest accept
repaired "a set element" nft delete element inet vmrouter_virbr10 vm_lan '{ 203.0.113.0/24 }'
by_name || repaired "a port" nft delete element bridge vmrouter_virbr10 vm_ports '{ "vnet1" }'
# shellcheck disable=SC2046
repaired "a routing rule" ip rule del $(ip rule | awk '/^100:/ { $1 = ""; print "priority 100" $0; exit }' | sed 's/from all//')
repaired "forwarding" sysctl -qw net.ipv4.conf.eth0.forwarding=0
for setting in arp_ignore=0 send_redirects=1 accept_redirects=1 accept_source_route=1; do
    repaired "$setting, of which the kernel tells nobody" sysctl -qw "net.ipv4.conf.virbr10.$setting"
done
repaired "src_valid_mark" sysctl -qw net.ipv4.conf.eth0.src_valid_mark=0
repaired "disable_ipv6" sysctl -qw net.ipv6.conf.virbr10.disable_ipv6=0
expect_equal "the tables of others are as they were" "$(cat "$LAB/others")" "$(others)"
expect_refused g1 tcp lan 192.168.1.50 22
expect_reach g1 tcp inet 198.51.100.10 80
stop_vmrouter
expect_equal "nothing of ours is left" "" "$(nft list ruleset | grep vmrouter || true)"
expect_equal "the tables of others are as they were" "$(cat "$LAB/others")" "$(others)"
