#!/bin/bash
# A guest reaches the internet and no network around the machine: not the LAN, not a second network with public addresses
# that only the host is connected to, not private or reserved ranges wherever they are, not what becomes a network of the
# host while we run. Every probe is first sent through a router that stops nothing.
#
#   inet ---- gw ---- host ---- virbr10 ---- g1 g2        lan: 192.168.1.50     office: 203.0.113.50 (public, on eth1)
#                      |  \--- eth1 --- office            deep: 10.55.0.9 behind the gateway
#                      |---- eth2 --- late (appears while we run)
. "$(dirname "$0")/lib.sh"

topology_bridge
# Of each range an address that the LAN's gateway would route to (of 0.0.0.0/8 and 127.0.0.0/8 Linux forwards nothing).
ranges="10.55.0.9 100.64.0.9 100.127.255.9 168.63.129.16 169.254.169.254 172.16.0.9 172.31.255.9 192.0.0.9 192.168.255.9 198.18.0.9
    198.19.255.9 240.0.0.9"
for address in $ranges; do in_node gw ip addr add "$address/32" dev lo; done
guest_ready() {
    guest_add g1
    guest_static g1 192.168.100.11/24 192.168.100.1
}
probes() { # VERB: reach or blocked or refused
    local verb=$1 address
    "expect_$verb" g1 tcp lan 192.168.1.50 22
    "expect_$verb" g1 tcp lan 192.168.1.50 445
    "expect_$verb" g1 tcp gw 192.168.1.1 80
    "expect_$verb" g1 tcp office 203.0.113.50 22
    for address in $ranges; do "expect_$verb" g1 tcp gw "$address" 80; done
    "expect_$verb" g1 udp lan 192.168.1.50 137
    "expect_$verb" g1 udp office 203.0.113.50 137
    "expect_$verb" g1 icmp lan 192.168.1.50
    "expect_$verb" g1 icmp office 203.0.113.50
}

start_control
guest_ready
probes reach
expect_arrive g1 ip:41 lan 192.168.1.50
expect_arrive g1 ip:47 office 203.0.113.50
guest_delete g1
stop_control

need_bridge_nf
for nf in 0 1; do
    step "with bridge-nf-call-iptables $nf"
    sysctl -qw net.bridge.bridge-nf-call-iptables=$nf
    start_vmrouter --bridge virbr10
    guest_add g1
    guest_static g1 192.168.100.11/24 192.168.100.1
    expect_reach g1 tcp inet 198.51.100.10 80
    expect_equal "the LAN sees our machine, not the guest" 192.168.1.2 "$(source_seen gw)"
    expect_reach g1 udp inet 198.51.100.10 123
    expect_reach g1 icmp inet 198.51.100.10
    if [ $nf = 0 ]; then
        probes refused
        expect_blocked g1 ip:41 lan 192.168.1.50
        expect_blocked g1 ip:47 office 203.0.113.50
        expect_blocked g1 udp lan 192.168.1.255 137
        expect_blocked g1 udp lan 224.0.0.251 5353
        expect_blocked g1 udp gw 255.255.255.255 9
    else
        expect_refused g1 tcp lan 192.168.1.50 22
        expect_refused g1 udp office 203.0.113.50 137
    fi

    step "guests reach one another, as themselves"
    guest_add g2
    guest_static g2 192.168.100.12/24 192.168.100.1
    serve g2 tcp/22 udp/53
    expect_reach g1 tcp g2 192.168.100.12 22
    expect_equal "under its own address" 192.168.100.11 "$(source_seen g2)"
    expect_reach g1 udp g2 192.168.100.12 53
    guest_delete g2
    guest_delete g1
    stop_vmrouter
done

step "a network that appears while we run is shut from its first packet"
start_vmrouter --bridge virbr10
guest_add g1
guest_static g1 192.168.100.11/24 192.168.100.1
node_add late
watch late
ip link add lab0 type veth peer name lab1
lab_place lab1 late eth0
lab_place lab0 host eth2
in_node late sh -c 'ip addr add 198.51.101.50/24 dev eth0; ip route add default via 198.51.101.2'
serve late tcp/22
ip addr add 198.51.101.2/24 dev eth2 # a public prefix, which was "the internet" a moment ago
expect_refused g1 tcp late 198.51.101.50 22
expect_refused g1 icmp late 198.51.101.50

step "a network behind the gateway: the sets follow the route"
in_node gw ip addr add 198.51.102.9/32 dev lo
expect_reach g1 tcp gw 198.51.102.9 80
background g1 open python3 -I "$LAB/repo/tests/netns/session.py" 198.51.102.9 80
wait_until 5 grep -q heard "$LAB/g1-open.log"
# Nothing polls: no thread wakes up until the event, and then the set has it at once.
switches() { cat /proc/"$VMROUTER_PID"/task/*/status | awk '/ctxt_switches/ { sum += $2 } END { print sum }'; }
quiet() {
    local before
    before=$(switches)
    sleep 2
    [ "$before" = "$(switches)" ]
}
check "two seconds without a wake-up" wait_until 20 quiet
table_handle() { nft -a list tables inet | sed -n 's/.*vmrouter_virbr10 # handle //p'; }
lan_has() { nft list set inet vmrouter_virbr10 vm_lan | grep -q "$1"; }
handle=$(table_handle)
ip route add 198.51.102.0/24 via 192.168.1.7 # somewhere else than the gateway: not the internet
ip neigh replace 192.168.1.7 lladdr "$(in_node gw cat /sys/class/net/br0/address)" dev eth0
check "the set of networks has it" wait_until 5 lan_has 198.51.102.0/24
expect_equal "the table was not loaded anew" "$handle" "$(table_handle)"
expect_refused g1 tcp gw 198.51.102.9 80
flow_gone() { ! conntrack -L -d 198.51.102.9 2>/dev/null | grep -q ESTABLISHED; }
check "the connection that was open into it is gone" wait_until 5 flow_gone
check "and the guest knows" wait_until 5 grep -q cut "$LAB/g1-open.log"
ip route del 198.51.102.0/24 via 192.168.1.7
lan_has_not() { # a listing that failed, because the set was just changing, says nothing
    local listed
    listed=$(nft list set inet vmrouter_virbr10 vm_lan) && ! grep -q "$1" <<<"$listed"
}
check "and it leaves the set with the route" wait_until 5 lan_has_not 198.51.102.0/24
expect_reach g1 tcp gw 198.51.102.9 80

step "a LAN that overlaps the segment appears: isolation is kept, and it is said"
join host eth3 late eth1
in_node late sh -e -c 'ip addr add 192.168.100.200/24 dev eth1; ip addr add 192.168.99.9/32 dev lo'
ip addr add 192.168.96.2/21 dev eth3
check "it is said loudly" wait_until 5 log_has 'OVERLAP.*192\.168\.96\.0/21.*192\.168\.100\.1/24'
check "the set has it" wait_until 5 lan_has 192.168.96.0/21
expect_refused g1 tcp late 192.168.99.9 22
expect_refused g1 tcp lan 192.168.1.50 22
expect_reach g1 tcp inet 198.51.100.10 80
expect_match "status shows it" '192\.168\.96\.0/21 overlaps' "$(python3 -I "$LAB/repo/tests/netns/status.py" "$VMROUTER" virbr10 \
    '[one["detail"] for one in status["health"] if "overlaps" in one["what"] and not one["ok"]]')"
in_node late ip neigh replace 192.168.100.11 lladdr "$(cat /sys/class/net/eth3/address)" dev eth1
expect_blocked late tcp g1 192.168.100.11 22
