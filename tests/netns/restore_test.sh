#!/bin/bash
# However vmrouter ends, the machine is as it was found: nft rules, links, addresses, routes, rules, neighbours, tc, sysctls, /run.
#
#     inet --- gw --- host --- virbr10 (made by vmrouter, or there before, with an address and ports) --- guests
#                        `---- enp6s0 (a spare port, up or down, with an address or without)
. "$(dirname "$0")/lib.sh"

topology_bridge
join host enp6s0 office spare0

round() { # TEXT SIGNAL ARGUMENT...
    local text=$1 signal=$2
    shift 2
    step "$text, then SIG$signal"
    snapshot_machine "$LAB/before"
    start_vmrouter "$@"
    snapshot_machine "$LAB/during"
    if cmp -s "$LAB/before" "$LAB/during"; then fail "$text: nothing was changed at all"; fi
    guest_add r1
    guest_static r1 192.168.100.20/24 192.168.100.1
    expect_reach r1 udp inet 198.51.100.10 123
    guest_delete r1
    stop_vmrouter "$signal"
    snapshot_machine "$LAB/after"
    expect_same_machine "$LAB/before" "$LAB/after"
}
quick() { # the same without a guest
    local text=$1 signal=$2
    shift 2
    step "$text, then SIG$signal"
    snapshot_machine "$LAB/before"
    start_vmrouter "$@"
    stop_vmrouter "$signal"
    snapshot_machine "$LAB/after"
    expect_same_machine "$LAB/before" "$LAB/after"
}

round "a bridge of our own" INT --bridge virbr10
round "a bridge of our own" TERM --bridge virbr10

step "an administrator's table, rule, forwarding and hardening are there before us"
nft 'table inet admin { chain input { type filter hook input priority 0; policy accept; tcp dport 9999 drop comment "theirs"; }; }'
sysctl -qw net.ipv4.conf.all.accept_redirects=0 net.ipv4.conf.default.rp_filter=2 net.ipv4.conf.eth1.forwarding=1
ip rule add from 192.0.2.1 lookup 99 priority 555
ip route add 192.0.2.0/24 via 192.168.1.1 table 99
quick "a bridge of our own on a furnished machine" TERM --bridge virbr10
sysctl -qw net.ipv4.ip_forward=1
quick "a machine that forwards already" TERM --bridge virbr10
sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.eth1.forwarding=1

step "an adopted bridge with an address, a port with a guest, and settings of its own"
ip link add virbr10 type bridge stp_state 0 forward_delay 400 ageing_time 20000
sysctl -qw net.ipv4.conf.virbr10.rp_filter=2 net.ipv4.conf.virbr10.arp_ignore=0
guest_add a1
guest_static a1 192.168.100.30/24 192.168.100.1
ip addr add 10.66.0.1/24 dev virbr10
ip link set virbr10 up
ip -6 addr add 2001:db8:66::1/64 dev virbr10
wait_until 5 sh -c 'bridge link | grep -q "vnet.*state forwarding"'
ping -c1 -W1 10.66.0.1 >/dev/null
quick "an adopted bridge" TERM --bridge virbr10
quick "an adopted bridge" INT --bridge virbr10
guest_delete a1
ip link delete virbr10

LAB_SEGMENT=enp6s0
quick "an interface that is up" TERM --iface enp6s0
ip addr add 10.55.0.1/24 dev enp6s0
ip -6 addr add 2001:db8:55::1/64 dev enp6s0 nodad
ip -6 route add 2001:db8:56::/48 via 2001:db8:55::2 dev enp6s0 metric 77
ip -6 route add 2001:db8:57::/48 dev enp6s0 table 99
quick "an interface that has another address" INT --iface enp6s0
ip addr flush dev enp6s0
ip link set enp6s0 down
quick "an interface that is down" TERM --iface enp6s0
sysctl -qw net.ipv6.conf.enp6s0.disable_ipv6=1
quick "an interface without IPv6" TERM --iface enp6s0
