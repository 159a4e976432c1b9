#!/bin/bash
# Hosts as they are: bridge-nf-call-iptables 0 and 1, ip_forward 0 and 1, rp_filter 0, 1 and 2, a VPN by policy routing, no IPv6, no
# nftables, a machine that boots, one that was asleep. Each round: the internet yes, the LAN no, the host no, and afterwards all as it was.
# By default each pair of values once; MATRIX_ALL=1 LAB_LIMIT=1500 takes all 48 combinations.
#
#     inet ------------- gw --- host --- virbr10 --- g1
#     198.51.101.1 --- vpn (10.9.0.2) --- vpn0 10.9.0.1
. "$(dirname "$0")/lib.sh"

topology_bridge
node_add vpn
join host vpn0 vpn eth0 10.9.0.1/24
join inet eth1 vpn eth1 198.51.101.1/24
in_node vpn sh -e -c 'ip addr add 10.9.0.2/24 dev eth0; ip addr add 198.51.101.2/24 dev eth1; ip route add default via 198.51.101.1
    sysctl -qw net.ipv4.ip_forward=1; nft "table ip nat { chain post { type nat hook postrouting priority srcnat; oifname eth1 masquerade; }; }"'
wait_until 5 ping -c1 -W1 10.9.0.2
vpn_up() { # as wg-quick does it
    ip route add default via 10.9.0.2 dev vpn0 table 51820
    ip rule add not fwmark 0xca6c table 51820 priority 5210
    ip rule add table main suppress_prefixlength 0 priority 5209
}
vpn_down() {
    ip rule del priority 5209
    ip rule del priority 5210
    ip route del default table 51820
}
round() { # WHAT SEEN_AS: the source address that the internet sees
    snapshot_quick "$LAB/before"
    start_vmrouter --bridge virbr10 --address 192.168.100.1/24
    guest_add g1
    guest_static g1 192.168.100.20/24 192.168.100.1
    expect_reach g1 udp inet 198.51.100.10 123
    expect_equal "$1: by the way of the host's own traffic" "$2" "$(source_seen inet)"
    expect_refused g1 tcp lan 192.168.1.50 22
    expect_refused g1 tcp host 192.168.100.1 22
    guest_delete g1
    stop_vmrouter
    snapshot_quick "$LAB/after"
    expect_same_machine "$LAB/before" "$LAB/after"
}
BRIDGE_NF=/proc/sys/net/bridge/bridge-nf-call-iptables
need_bridge_nf 2>/dev/null || true
host() { # IPV6 BRIDGE_NF IP_FORWARD RP_FILTER VPN: one round on such a host
    local what="IPv6 $1, bridge-nf $2, ip_forward $3, rp_filter $4, VPN $5" seen_as=198.51.100.1
    [ -e "$BRIDGE_NF" ] || [ "$2" = 0 ] || return 0 # this kernel has none
    step "$what"
    [ "$1" = 1 ] || sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
    [ ! -e "$BRIDGE_NF" ] || echo "$2" >"$BRIDGE_NF"
    sysctl -qw net.ipv4.ip_forward="$3" net.ipv4.conf.all.rp_filter="$4" net.ipv4.conf.default.rp_filter="$4"
    [ "$5" = 0 ] || { vpn_up && seen_as=198.51.101.2; }
    round "$what" $seen_as
    [ "$5" = 0 ] || vpn_down
}
if [ -n "${MATRIX_ALL:-}" ]; then
    for ipv6 in 1 0; do for bridge_nf in 0 1; do for forward in 0 1; do for filter in 0 1 2; do for vpn in 0 1; do
        host $ipv6 $bridge_nf $forward $filter $vpn
    done; done; done; done; done
else # every value beside every value of each other setting
    host 1 1 1 0 1
    host 1 0 1 1 0
    host 1 0 0 2 1
    host 0 0 0 0 0
    host 0 1 0 1 1
    host 0 1 1 2 0
fi
sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0
sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
[ ! -e "$BRIDGE_NF" ] || echo 0 >"$BRIDGE_NF"

step "a kernel without nftables"
snapshot_machine "$LAB/before"
export ASAN_OPTIONS=detect_leaks=0 # LeakSanitizer is a debugger, and a process has one debugger only
strace -f -qq -e trace=socket -o "$LAB/sockets" "$VMROUTER" --bridge virbr10 >"$LAB/plain.log" 2>&1 &
TRACER=$!
wait_until 15 grep -q READY "$LAB/plain.log"
kill -TERM "$(pgrep -P "$TRACER" -o)"
wait "$TRACER"
FIRST=$(grep -n NETLINK_NETFILTER "$LAB/sockets" | head -1 | cut -d: -f1)
STATUS=0
timeout 20 strace -f -qq -e trace=socket -e inject=socket:error=EPROTONOSUPPORT:when="$FIRST+" -o /dev/null \
    "$VMROUTER" --bridge virbr10 >"$LAB/out" 2>&1 || STATUS=$?
unset ASAN_OPTIONS
expect_equal "status" 1 "$STATUS"
expect_match "what is missing is said" 'nf_?tables' "$(cat "$LAB/out")"
expect_match "and what to do" 'hint: .' "$(cat "$LAB/out")"
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"

step "a machine that boots: no link, no address, no route, no resolver"
cp /etc/resolv.conf "$LAB/resolv.conf"
rm /etc/resolv.conf
ln -s /run/not/there/yet.conf /etc/resolv.conf
ip route flush table main
ip addr flush dev eth0
ip link set eth0 down
ip link set eth1 down
start_vmrouter --bridge virbr10 --address 192.168.100.1/24
check "it says that there is no uplink yet" log_has 'UPLINK none yet'
guest_add g1
guest_dhcp g1 udhcpc
expect_refused g1 tcp host 192.168.100.1 22
mkdir -p /run/not/there
cp "$LAB/resolv.conf" /run/not/there/yet.conf
ip link set eth0 up
ip addr add 192.168.1.2/24 dev eth0
ip route add default via 192.168.1.1
dns_works() { in_node g1 dig +short +time=1 +tries=1 @192.168.100.1 www.example.net | grep -q 198.51.100.10; }
check "the rest follows: the uplink" wait_until 5 log_has 'UPLINK eth0'
check "the rest follows: DNS" wait_until 10 dns_works
expect_reach g1 tcp inet 198.51.100.10 80
expect_refused g1 tcp lan 192.168.1.50 22

step "asleep for a while"
kill -STOP "$VMROUTER_PID"
sleep 1.5
kill -CONT "$VMROUTER_PID"
check "DNS" wait_until 5 dns_works
expect_match "the lease is valid" 192.168.100 "$(in_node g1 udhcpc -n -q -f -i eth0 -t 3 -T 1 -s /bin/true 2>&1)"
expect_reach g1 tcp inet 198.51.100.10 80
expect_refused g1 tcp lan 192.168.1.50 22
guest_delete g1
stop_vmrouter
