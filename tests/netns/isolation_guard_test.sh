#!/bin/bash
# source_guard: with "lease" only the address that DHCP gave passes, from the ACK to the release or to the last second of the lease,
# and a reserved one; with "off" a guest may use what it likes of the segment. And DNS: whatever server a guest asks, ours
# answers; with allow_domains only what the allowed names resolve to is reachable, and no other name leaves this machine.
#
#   g1 by DHCP, g2 with addresses that it took, g3 that listens, on virbr10
. "$(dirname "$0")/lib.sh"

topology_bridge
configure() { # lines of [firewall], further tables
    printf '[network]\nbridge = "virbr10"\naddress = "192.168.100.1/24"\n[firewall]\n%s\n%s\n' "$1" "${2:-}" >"$LAB/vm.toml"
}
guests() {
    LAB_GUESTS=0
    guest_add g1
    guest_add g2
    guest_static g2 192.168.100.77/24 192.168.100.1
    guest_add g3
    guest_static g3 192.168.100.13/24 192.168.100.1
    mac=$(cat /sys/class/net/virbr10/address)
    in_node g3 ping -c1 -W1 192.168.100.1 >/dev/null 2>&1 || true
}
query() { in_node g2 dig +short +time=2 +tries=1 "$@" || true; }
# A name with the token in it: where it is seen, the question went.
ask_token() {
    lab_token
    LAB_TOKENS=$TOKEN
    in_node g2 dig +time=1 +tries=1 "$@" "$TOKEN.example.net" >"$LAB/dig" 2>&1 || true
}
forged() { # WITNESS
    send_frame g2 eth0 dst="$(guest_mac g3)" ip.src=192.168.100.1 ip.dst=192.168.100.13 dport=123
    "$1" g3 in "our address"
    send_frame g2 eth0 dst="$mac" ip.src=192.168.1.50 ip.dst=198.51.100.10 dport=123
    "$1" inet "an address of elsewhere"
    send_frame g2 eth0 dst="$mac" ip.src=192.168.1.50 ip.dst=192.168.100.1 proto=icmp
    "$1" lan "an echo whose answer goes to a LAN host"
}

start_control
guests
expect_reach g2 udp inet 198.51.100.10 123
expect_reach g2 tcp inet 198.51.100.10 80
expect_reach g2 tcp inet 198.51.100.53 80
expect_arrive g2 tcp inet 198.51.100.10 853
expect_reach g2 tcp lan 192.168.1.50 22
forged expect_seen
expect_equal "no server at 198.51.100.10 answers over UDP" "" "$(query @198.51.100.10 www.example.net | grep -v '^;')"
for guest in g1 g2 g3; do guest_delete $guest; done
stop_control

step "lease: a reservation, a lease that runs out, an address that nobody gave"
mkdir -p /var/lib/vmrouter/virbr10
echo "$(($(date +%s) + 25)) 52:54:00:00:00:02 192.168.100.77 * *" >/var/lib/vmrouter/virbr10/leases
configure 'source_guard = "lease"' $'[[dhcp.host]]\nmac = "52:54:00:00:00:03"\naddress = "192.168.100.13"'
start_vmrouter --config "$LAB/vm.toml"
guests
expect_reach g2 udp inet 198.51.100.10 123
expect_reach g3 udp inet 198.51.100.10 123
in_node g3 ip addr replace 192.168.100.14/24 dev eth0
expect_blocked g3 udp inet 198.51.100.10 123 --from 192.168.100.14
expect_blocked g3 icmp host 192.168.100.1 --from 192.168.100.14
expect_blocked g3 udp inet 198.51.100.10 67 --from 192.168.100.14
in_node g3 ip addr del 192.168.100.14/24 dev eth0
step "lease: from the ACK to the release"
guest_dhcp g1 udhcpc
client=$LAB_BACKGROUND
address=$(guest_address g1)
expect_reach g1 tcp inet 198.51.100.10 80
expect_reach g1 icmp host 192.168.100.1
background g1 flow python3 -I "$LAB/repo/tests/netns/session.py" 198.51.100.10 80
wait_until 5 grep -q heard "$LAB/g1-flow.log"
flows() { conntrack -L -p tcp --state ESTABLISHED -s "$1" 2>/dev/null | wc -l; }
has_no_flow() { [ "$(flows "$address")" = 0 ]; }
expect_equal "its connection is known" 1 "$(flows "$address")"
guest_release g1
check "and cut with the lease" wait_until 5 has_no_flow
kill "$client" && wait_until 5 lab_dead "$client" # or its script takes the next address away
in_node g1 ip addr add "$address/24" dev eth0
in_node g1 ip route replace default via 192.168.100.1
in_node g1 ip neigh replace 192.168.100.1 lladdr "$mac" dev eth0 nud permanent
expect_blocked g1 udp inet 198.51.100.10 123
in_node g1 ip addr flush dev eth0
expired() { nft list set inet vmrouter_virbr10 vm_owned >"$LAB/owned" && ! grep -q 192.168.100.77 "$LAB/owned"; }
check "the lease of g2 runs out" wait_until 40 expired
in_node g2 ip neigh replace 192.168.100.1 lladdr "$mac" dev eth0 nud permanent
expect_blocked g2 udp inet 198.51.100.10 123
stop_vmrouter

step "off: any address of the segment, but not ours"
configure 'source_guard = "off"'
start_vmrouter --config "$LAB/vm.toml"
expect_reach g2 udp inet 198.51.100.10 123
send_frame g2 eth0 dst="$mac" ip.src=192.168.100.78 ip.dst=198.51.100.10 dport=123
expect_seen inet "another address"
forged expect_unseen

step "queries to any server are answered by ours"
expect_equal "UDP" 198.51.100.10 "$(query @198.51.100.10 www.example.net)"
expect_equal "TCP" 198.51.100.10 "$(query +tcp @198.51.100.10 www.example.net)"
expect_equal "to the LAN's server" 198.51.100.10 "$(query @192.168.1.1 www.example.net)"
ask_token @192.168.100.1
expect_seen inet "any name is asked for"
stop_vmrouter

step "allow_domains"
configure 'allow_domains = ["www.example.net"]'
start_vmrouter --config "$LAB/vm.toml"
expect_refused g2 tcp inet 198.51.100.10 80
# shellcheck disable=SC2016
in_node g2 python3 -I -c 'import socket, subprocess
found = subprocess.run(["dig", "+short", "+time=2", "@192.168.100.1", "www.example.net"], capture_output=True, text=True).stdout.split()[0]
socket.create_connection((found, 80), 2)
print("connected to", found)' >"$LAB/at-once" 2>&1 || true
expect_equal "the answer comes when its address is open" "connected to 198.51.100.10" "$(tail -1 "$LAB/at-once")"
left=$(nft -j list set inet vmrouter_virbr10 vm_names | grep -o '"expires": [0-9]*' | grep -o '[0-9]*')
ttl=$(in_node g2 dig +noall +answer +time=2 @192.168.100.1 www.example.net | awk '{ print $2 }')
check "for its TTL, $ttl s" test $((left - ttl)) -ge -2 -a $((left - ttl)) -le 10
expect_reach g2 tcp inet 198.51.100.10 80
expect_refused g2 tcp inet 198.51.100.53 80
expect_refused g2 tcp inet 198.51.100.10 853
expect_refused g2 udp inet 198.51.100.10 853
ask_token @192.168.100.1
expect_match "another name is refused" REFUSED "$(cat "$LAB/dig")"
expect_unseen inet "and not asked for"
ask_token @198.51.100.53
expect_match "nor by another server" REFUSED "$(cat "$LAB/dig")"
expect_unseen inet "which is not asked"
expect_equal "an alias of an allowed name is another name" "" "$(query @192.168.100.1 alias.example.net)"
expect_refused g2 tcp lan 192.168.1.50 22
expect_refused g2 tcp lan 192.168.1.50 22

step "what was refused is told once, however often it is tried"
expect_equal "one line for two attempts" 1 "$(grep -c 'BLOCK lan tcp 192.168.1.50:22 from 192.168.100.77' "$LAB/vmrouter.log")"
expect_equal "status has it by guest and destination" "[('52:54:00:00:00:02', '192.168.100.77', 'tcp', 22, 2)]" \
    "$(python3 -I "$LAB/repo/tests/netns/status.py" "$VMROUTER" virbr10 '[(one["mac"], one["address"], one["protocol"], one["port"], one["count"])
        for one in status["blocked"] if (one["reason"], one["peer"]) == ("lan", "192.168.1.50")]')"

step "allow_domains: a removed table does not leave answers without their addresses"
kill -STOP "$VMROUTER_PID"
nft delete table inet vmrouter_virbr10
(sleep 0.3 && kill -CONT "$VMROUTER_PID") &
expect_equal "asked in the gap" 198.51.100.10 "$(query @192.168.100.1 www.example.net)"
expect_reach g2 tcp inet 198.51.100.10 80
stop_vmrouter

step "allow_domains: a chain of aliases, a wildcard"
configure 'allow_domains = ["alias.example.net"]'
start_vmrouter --config "$LAB/vm.toml"
expect_refused g2 tcp inet 198.51.100.10 80
expect_match "the alias leads on" 198.51.100.10 "$(query @192.168.100.1 alias.example.net)"
expect_reach g2 tcp inet 198.51.100.10 80
expect_equal "the name that it leads to is not allowed by itself" "" "$(query @192.168.100.1 www.example.net)"
stop_vmrouter
configure 'allow_domains = ["*.example.net"]'
start_vmrouter --config "$LAB/vm.toml"
expect_equal "below a wildcard" 198.51.100.10 "$(query @192.168.100.1 www.example.net)"
ask_token @192.168.100.1
expect_seen inet "anything below it is asked for"
expect_equal "what lies beside it is not" "" "$(query @192.168.100.1 example.org)"
expect_reach g2 tcp inet 198.51.100.10 80
