#!/bin/bash
# The lab itself, without vmrouter: its nodes reach each other, its probes arrive where nothing stops them and are seen to be
# stopped where something does, and a snapshot sees every kind of change.
#
#   the whole network of lib.sh, with the control router on virbr10 and two guests
. "$(dirname "$0")/lib.sh"

topology_bridge
snapshot_machine "$LAB/before"

start_control
guest_add g1
guest_add g2
for number in 1 2; do
    guest_static "g$number" "192.168.100.1$number/24" 192.168.100.1 192.168.1.1
    guest_static6 "g$number" "2001:db8:99::1$number/64" 2001:db8:99::1
done

step "with a router that stops nothing, every probe gets through"
expect_reach g1 tcp inet 198.51.100.10 80
expect_equal "the internet sees the gateway's address" 198.51.100.1 "$(source_seen inet)"
expect_equal "the gateway sees the host's address" 192.168.1.2 "$(source_seen gw)"
expect_reach g1 udp inet 198.51.100.10 123
expect_reach g1 icmp inet 198.51.100.10
expect_reach g1 icmp inet 2001:db8:100::10
expect_reach g1 tcp inet 2001:db8:100::10 80
expect_reach g1 tcp lan 192.168.1.50 22
expect_reach g1 udp lan 192.168.1.50 137
expect_reach g1 udp office 203.0.113.50 137
expect_reach g1 tcp host 192.168.1.2 22
expect_reach g1 udp host 10.77.0.1 123
expect_reach g1 icmp host 192.168.100.1
expect_reach g1 tcp host 2001:db8:99::1 22
serve g2 tcp/22
expect_reach g1 tcp g2 192.168.100.12 22
expect_arrive g1 ip:41 lan 192.168.1.50
send_frame g1 eth0 dst="$(guest_mac g2)" vlan=5 ip.src=192.168.100.11 ip.dst=192.168.100.12
expect_seen g2 "a tagged frame made by hand arrives"
send_frame g1 eth0 arp=request spa=192.168.100.1 tpa=192.168.100.12
expect_seen g2 in "a token fits into an ARP frame"
check "names resolve" in_node g1 dig +short @192.168.1.1 www.example.net
expect_match "a large answer comes over TCP" 'part.*15' "$(in_node g1 dig +short @192.168.1.1 big.example.net TXT)"
expect_match "curl works on the services" 'you are 198.51.100.1' "$(in_node g1 curl -s -m5 http://198.51.100.10/)"

step "an expectation fails when it should"
expect_failure() { # TEXT EXPECTATION...: the expectation must note a failure (in a subshell, so that ours stays clean)
    local text=$1 said
    shift
    said=$(LAB_FAILED=0 && "$@" && echo "failures $LAB_FAILED")
    if grep -q 'failures 1$' <<<"$said"; then ok "$text"; else fail "$text: $said"; fi
}
expect_failure "blocked, of an open port" expect_blocked g1 tcp lan 192.168.1.50 22
expect_failure "blocked, where nothing listens and only the SYN arrives" expect_blocked g1 tcp lan 192.168.1.50 9
expect_failure "blocked, of the host itself" expect_blocked g1 udp host 192.168.1.2 123
expect_failure "refused, of an open port" expect_refused g1 tcp lan 192.168.1.50 22
in_node g1 ip route add blackhole 192.0.2.0/24
expect_failure "blocked, when the probe never left" expect_blocked g1 tcp lan 192.0.2.1 22

step "with rules in the way, nothing arrives and the sender learns of a refusal"
nft 'table inet wall { chain f { type filter hook forward priority 0; ip daddr 192.168.1.50 tcp dport 22 reject with tcp reset
        ip daddr 192.168.1.50 drop; ip6 daddr 2001:db8:1::50 drop; }
    chain i { type filter hook input priority 0; iifname virbr10 udp dport 123 drop; iifname virbr10 tcp dport 22 reject; }; }'
expect_failure "reach, of a dropped datagram" expect_reach g1 udp lan 192.168.1.50 137
expect_blocked g1 udp lan 192.168.1.50 137
expect_blocked g1 icmp lan 192.168.1.50
expect_blocked g1 ip:41 lan 192.168.1.50
expect_blocked g1 tcp lan 2001:db8:1::50 22
expect_refused g1 tcp lan 192.168.1.50 22
expect_blocked g1 udp host 192.168.1.2 123
expect_refused g1 tcp host 192.168.1.2 22
nft delete table inet wall

guest_delete g1
guest_delete g2
stop_control

snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"

step "a snapshot sees every kind of change"
sees() { # UNDO CHANGE...
    local undo=$1
    shift
    "$@"
    snapshot_machine "$LAB/changed"
    expect_failure "seen: $*" expect_same_machine "$LAB/before" "$LAB/changed"
    $undo
}
sees "nft delete table ip x" nft add table ip x
sees "ip link delete d0" ip link add d0 type bridge
sees "ip addr del 10.9.9.9/32 dev eth0" ip addr add 10.9.9.9/32 dev eth0
sees "ip route del 10.9.9.0/24" ip route add 10.9.9.0/24 via 192.168.1.1
sees "ip route flush table 77" ip route add prohibit default table 77
sees "ip rule del priority 100" ip rule add priority 100 fwmark 0/1 prohibit
sees "ip -6 rule del priority 100" ip -6 rule add priority 100 fwmark 0/1 prohibit
sees "ip neigh del 192.168.1.9 dev eth0" ip neigh add 192.168.1.9 lladdr 02:00:00:00:00:01 nud permanent dev eth0
sees "tc qdisc del dev eth0 clsact" tc qdisc add dev eth0 clsact
sees "ip link set eth1 mtu 1500" ip link set eth1 mtu 1400
sees "sysctl -qw net.ipv4.conf.eth0.forwarding=0" sysctl -qw net.ipv4.conf.eth0.forwarding=1
sees "rm /run/left" touch /run/left
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"
