#!/bin/bash
# source_guard: with "lease" only the address that DHCP gave passes, from the ACK to the release; with "off" a guest may use
# what it likes of the segment. And DNS: whatever server a guest asks, ours answers; with allow_domains only what the
# allowed names resolve to is reachable.
#
#   g1 by DHCP, g2 with an address that it took, on virbr10
. "$(dirname "$0")/lib.sh"

topology_bridge
configure() {
    printf '[network]\nbridge = "virbr10"\naddress = "192.168.100.1/24"\n[firewall]\n%s\n' "$1" >"$LAB/vm.toml"
}
configure 'source_guard = "lease"'
start_vmrouter --config "$LAB/vm.toml"
guest_add g1
guest_add g2
guest_static g2 192.168.100.77/24 192.168.100.1

step "lease: an address that nobody gave"
in_node g2 ip neigh replace 192.168.100.1 lladdr "$(cat /sys/class/net/virbr10/address)" dev eth0 nud permanent
expect_blocked g2 udp inet 198.51.100.10 123
expect_blocked g2 icmp host 192.168.100.1
step "lease: from the ACK to the release"
guest_dhcp g1 udhcpc
address=$(guest_address g1)
expect_reach g1 tcp inet 198.51.100.10 80
expect_reach g1 icmp host 192.168.100.1
guest_release g1
in_node g1 ip addr add "$address/24" dev eth0
in_node g1 ip route replace default via 192.168.100.1
in_node g1 ip neigh replace 192.168.100.1 lladdr "$(cat /sys/class/net/virbr10/address)" dev eth0 nud permanent
expect_blocked g1 udp inet 198.51.100.10 123
in_node g1 ip addr flush dev eth0
stop_vmrouter

step "off: any address of the segment, but not ours"
configure 'source_guard = "off"'
start_vmrouter --config "$LAB/vm.toml"
mac=$(cat /sys/class/net/virbr10/address)
expect_reach g2 udp inet 198.51.100.10 123
send_frame g2 eth0 dst="$mac" ip.src=192.168.100.78 ip.dst=198.51.100.10 dport=123
expect_seen inet "another address"
send_frame g2 eth0 dst="$mac" ip.src=192.168.100.1 ip.dst=198.51.100.10 dport=123
expect_unseen inet "our address"
send_frame g2 eth0 dst="$mac" ip.src=192.168.1.50 ip.dst=198.51.100.10 dport=123
expect_unseen inet "an address of elsewhere"

step "queries to any server are answered by ours"
query() { in_node g2 dig +short +time=2 +tries=1 "$@"; }
expect_equal "UDP" 198.51.100.10 "$(query @9.9.9.9 www.example.net)"
expect_equal "TCP" 198.51.100.10 "$(query +tcp @9.9.9.9 www.example.net)"
expect_equal "to the LAN's server" 198.51.100.10 "$(query @192.168.1.1 www.example.net)"
stop_vmrouter

step "allow_domains"
configure 'allow_domains = ["www.example.net"]'
start_vmrouter --config "$LAB/vm.toml"
expect_refused g2 tcp inet 198.51.100.10 80
expect_equal "the allowed name resolves" 198.51.100.10 "$(query @192.168.100.1 www.example.net)"
expect_reach g2 tcp inet 198.51.100.10 80
expect_refused g2 tcp inet 198.51.100.53 80
expect_refused g2 tcp inet 198.51.100.10 853
expect_match "another name is refused" REFUSED "$(in_node g2 dig +time=2 +tries=1 @192.168.100.1 alias.example.net || true)"
expect_equal "nor by another server" "" "$(query @9.9.9.9 alias.example.net || true)"
expect_refused g2 tcp lan 192.168.1.50 22
expect_refused g2 tcp lan 192.168.1.50 22

step "what was refused is told once, however often it is tried"
expect_equal "one line for two attempts" 1 "$(grep -c 'BLOCK lan tcp 192.168.1.50:22 from 192.168.100.77' "$LAB/vmrouter.log")"
