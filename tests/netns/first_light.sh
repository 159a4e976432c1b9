# shellcheck shell=bash disable=SC2034
# The walk that both modes share: real clients get a lease, have names and the internet, and nothing else.
# Sourced by first_light_bridge_test.sh and first_light_iface_test.sh, after lib.sh.

# What must be blocked. With the control router each of these gets through (expect_reach), with vmrouter none does.
forbidden_probes() { # EXPECTATION GUEST
    "$1" "$2" tcp lan 192.168.1.50 22
    "$1" "$2" udp lan 192.168.1.50 137
    "$1" "$2" icmp lan 192.168.1.50
    "$1" "$2" ip:41 lan 192.168.1.50
    "$1" "$2" tcp gw 192.168.1.1 80
    "$1" "$2" tcp office 203.0.113.50 445
    "$1" "$2" udp office 203.0.113.50 137
    "$1" "$2" tcp host 192.168.1.2 22
    "$1" "$2" icmp host 192.168.1.2
    "$1" "$2" udp host 203.0.113.2 123
    "$1" "$2" tcp host 10.77.0.1 8080
    "$1" "$2" tcp host 192.168.100.1 22
    "$1" "$2" udp host 192.168.100.1 5353
    "$1" "$2" tcp lan 2001:db8:1::50 22
    "$1" "$2" icmp inet 2001:db8:100::10
    "$1" "$2" tcp host 2001:db8:99::1 22
    "$1" "$2" udp host 2001:db8:1::2 123
}
# The guest knows where IPv6 would go, without asking: only then does a probe leave it that nobody answers for.
guest_v6() { # GUEST NUMBER GATEWAY_MAC
    guest_static6 "$1" "2001:db8:99::$2/64" 2001:db8:99::1
    in_node "$1" ip -6 neigh replace 2001:db8:99::1 lladdr "$3" dev eth0 nud permanent
}
segment_mac() { cat "/sys/class/net/$LAB_SEGMENT/address"; }

# The classic recipe beside the control router: the leases line that dnsmasq writes for a client, without its time.
dnsmasq_lease() { # GUEST CLIENT
    background host dnsmasq dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file --user=root --log-dhcp --interface="$LAB_SEGMENT" \
        --bind-interfaces --except-interface=lo --no-ping --port=0 --dhcp-authoritative --dhcp-option=6,192.168.100.1 \
        --dhcp-range=192.168.100.2,192.168.100.254,1h --dhcp-leasefile="$LAB/dnsmasq.leases"
    LAB_DNSMASQ=$LAB_BACKGROUND
    guest_dhcp "$1" "$2"
    wait_until 5 test -s "$LAB/dnsmasq.leases"
    LAB_DNSMASQ_LEASE=$(cut -d' ' -f2- "$LAB/dnsmasq.leases")
}

control_walk() {
    start_control
    guest_add c1
    guest_static c1 192.168.100.21/24 192.168.100.1
    guest_v6 c1 21 "$(segment_mac)"
    forbidden_probes expect_reach_or_arrive c1
    send_frame c1 eth0 dst="$(segment_mac)" ip.src=192.168.100.77 ip.dst=198.51.100.10 dport=123
    expect_seen inet "control: a forged address of the segment arrives"
    guest_delete c1
    LAB_GUESTS=0
    guest_add g1 # the same number, and so the same MAC address, as the first guest below has
    dnsmasq_lease g1 udhcpc
    guest_release g1
    guest_delete g1
    kill "$LAB_DNSMASQ" && wait "$LAB_DNSMASQ" || true
    stop_control
    LAB_GUESTS=0
}
expect_reach_or_arrive() { if [ "${2#ip:}" = "$2" ]; then expect_reach "$@"; else expect_arrive "$@"; fi; }

leases=/var/lib/vmrouter/$LAB_SEGMENT/leases
lease_of() { [ ! -e "$leases" ] || awk -v mac="$(guest_mac "$1")" '$2 == mac' "$leases"; }
lease_expiry() { lease_of "$1" | cut -d' ' -f1; }
lease_is_newer() { [ "$(lease_expiry "$1")" -gt "${2:-0}" ]; }
lease_gone() { [ -z "$(lease_of "$1")" ]; }

client_walk() { # GUEST CLIENT
    local name=$1 client=$2 address before
    guest_dhcp "$name" "$client"
    address=$(guest_address "$name")
    expect_match "$name: the address is of the segment" '^192\.168\.100\.' "$address"
    expect_match "$name: the default route leads to us" 'via 192.168.100.1 ' "$(in_node "$name" ip route show default)"
    expect_match "$name: the resolver is ours" 'nameserver 192.168.100.1' "$(in_node "$name" cat /etc/resolv.conf)"
    wait_until 5 grep -q "$(guest_mac "$name")" "$leases" || true # the file is a second behind at most
    expect_match "$name: the lease is in the file" " $address " "$(lease_of "$name")"
    expect_equal "$name: dig over UDP" 198.51.100.10 "$(in_node "$name" dig +short www.example.net 2>&1)"
    expect_equal "$name: dig over TCP" 198.51.100.10 "$(in_node "$name" dig +tcp +short www.example.net 2>&1)"
    expect_reach "$name" tcp inet 198.51.100.10 80

    before=$(lease_expiry "$name")
    sleep 1.1 # the file counts seconds
    guest_renew "$name"
    if wait_until 10 lease_is_newer "$name" "$before"; then ok "$name: $client renews"; else fail "$name: $client renews"; fi
    expect_equal "$name: the address stays the same" "$address" "$(guest_address "$name")"
}

first_light() {
    local number=0 client
    step "three clients get, use and renew a lease"
    for client in udhcpc dhclient dhcpcd; do
        number=$((number + 1))
        guest_add "g$number"
        client_walk "g$number" "$client"
    done
    expect_equal "g1: the leases line is dnsmasq's, the address that it chooses included" "$LAB_DNSMASQ_LEASE" \
        "$(lease_of g1 | cut -d' ' -f2-)"

    step "names and the internet"
    expect_match "a large answer is truncated over UDP" 'flags: [a-z ]*tc' \
        "$(in_node g1 dig +ignore +noedns big.example.net TXT)"
    expect_match "... and whole over TCP" 'part.*15' "$(in_node g1 dig +tcp +short big.example.net TXT)"
    expect_reach g1 udp inet 198.51.100.10 123
    expect_equal "the gateway sees the host's address, not the guest's" 192.168.1.2 "$(source_seen gw)"
    expect_equal "the internet sees the gateway's address" 198.51.100.1 "$(source_seen inet)"
    expect_reach g1 icmp inet 198.51.100.10
    expect_match "curl works" 'you are 198.51.100.1' "$(in_node g1 curl -s -m5 http://www.example.net/)"
    check "our address answers to ping" in_node g1 ping -c1 -W2 192.168.100.1
    check "guests reach each other" in_node g1 ping -c1 -W2 "$(guest_address g2)"
    check "the host reaches a guest" ping -c1 -W2 "$(guest_address g1)"

    step "nothing else"
    guest_v6 g1 11 "$(segment_mac)"
    forbidden_probes expect_blocked g1
    send_frame g1 eth0 dst="$(segment_mac)" src="$(guest_mac g1)" ip.src=10.1.2.3 ip.dst=198.51.100.10 dport=123
    expect_seen g1 out "a forged source leaves the guest"
    expect_unseen inet "... and never arrives"
    step "nothing comes in from outside, though the neighbours route to us"
    in_node lan ip route add 192.168.100.0/24 via 192.168.1.2
    in_node office ip route add 192.168.100.0/24 via 203.0.113.2
    expect_blocked lan tcp g1 "$(guest_address g1)" 22
    expect_blocked lan icmp g1 "$(guest_address g1)"
    expect_blocked office udp g1 "$(guest_address g1)" 123
    expect_blocked office tcp lan 192.168.1.50 22 # nor do we forward for others

    step "a guest with an address of its own making works as well"
    guest_add g4
    guest_static g4 192.168.100.200/24 192.168.100.1 192.168.100.1
    expect_reach g4 tcp inet 198.51.100.10 80
    expect_equal "dig" 198.51.100.10 "$(in_node g4 dig +short www.example.net 2>&1)"
    expect_blocked g4 tcp lan 192.168.1.50 22

    step "release"
    for number in 1 2 3; do
        in_node "g$number" ping -c1 -W2 192.168.100.1 >/dev/null # a client does not wait for ARP before its address goes
        guest_release "g$number"
        if wait_until 5 lease_gone "g$number"; then ok "g$number: released, and gone from the file"; else
            fail "g$number: still in the file after its release: $(lease_of "g$number")"
        fi
    done
    for number in 1 2 3 4; do guest_delete "g$number"; done
}
