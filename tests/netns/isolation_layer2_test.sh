#!/bin/bash
# A guest with root makes frames by hand: it speaks for nobody but itself, and no tag, length or protocol gets around that.
#
#   g1 (the attacker) 192.168.100.11 --- vnet1 \
#   g2 192.168.100.12 ------------------ vnet2 - virbr10 - host 192.168.100.1       all three have reservations and leases
#   g3 192.168.100.13 ------------------ vnet3 /
. "$(dirname "$0")/lib.sh"

topology_bridge
guests() { # static or by DHCP
    local number
    for number in 1 2 3; do
        guest_add "g$number"
        if [ "$1" = static ]; then
            guest_static "g$number" "192.168.100.1$number/24" 192.168.100.1
        else
            guest_dhcp "g$number" udhcpc
        fi
    done
    host_mac=$(cat /sys/class/net/virbr10/address)
    for number in 1 2 3; do
        in_node "g$number" ping -c1 -W1 192.168.100.1 >/dev/null || true
    done
}
victim=52:54:00:00:00:02

# Each attack: where it would arrive, what it is, and the frame. Sent plain, and with tags around it.
attacks() { # WITNESS(NODE HOW TEXT) [further keys]
    local witness=$1
    shift
    attack() { # NODE TEXT KEY...
        local node=$1 text=$2
        shift 2
        send_frame g1 eth0 "$@"
        "$witness" "$node" in "$text"
    }
    attack g2 "ARP answer that claims the gateway" arp=reply dst=$victim spa=192.168.100.1 tha=$victim tpa=192.168.100.12 "$@"
    attack g2 "gratuitous ARP for the gateway" arp=request spa=192.168.100.1 tpa=192.168.100.1 "$@"
    attack g3 "gratuitous ARP for another guest" arp=request spa=192.168.100.12 tpa=192.168.100.12 "$@"
    attack g3 "ARP for another guest with its MAC inside" arp=request sha=$victim spa=192.168.100.12 tpa=192.168.100.13 "$@"
    attack g3 "another guest's address" dst=52:54:00:00:00:03 ip.src=192.168.100.12 ip.dst=192.168.100.13 "$@"
    attack g3 "the gateway's address" dst=52:54:00:00:00:03 ip.src=192.168.100.1 ip.dst=192.168.100.13 "$@"
    attack g3 "an address of elsewhere" dst=52:54:00:00:00:03 ip.src=8.8.8.8 ip.dst=192.168.100.13 "$@"
    attack g2 "ARP with lengths that shift its addresses" arp=reply arplen=0606 dst=$victim spa=192.168.100.1 tha=$victim tpa=192.168.100.12 "$@"
    attack g2 "an OFFER" sport=67 dport=68 ip.src=192.168.100.11 ip.dst=255.255.255.255 "$@"
    attack g2 "the first fragment of an OFFER" sport=67 dport=68 frag=0x2000 ip.src=192.168.100.11 ip.dst=255.255.255.255 "$@"
    attack g2 "a loose source route" options=830704c0a8640c00 ip.src=192.168.100.11 ip.dst=192.168.100.12 "$@"
    attack g2 "a record route" options=0707040000000000 ip.src=192.168.100.11 ip.dst=192.168.100.12 "$@"
    attack g2 "a router advertisement" dst=33:33:00:00:00:01 ip6.src=fe80::1 ip6.dst=ff02::1 proto=icmp6 icmp_type=134 ttl=255 "$@"
    attack g2 "IPv6 to a neighbour" dst=$victim ip6.src=fd00::11 ip6.dst=fd00::12 "$@"
    attack g3 "another guest's MAC" src=$victim dst=52:54:00:00:00:03 ip.src=192.168.100.11 ip.dst=192.168.100.13 "$@"
    attack g3 "another guest's MAC and address" src=$victim dst=52:54:00:00:00:03 ip.src=192.168.100.12 ip.dst=192.168.100.13 "$@"
}
others() { # what is neither IPv4 nor ARP
    local witness=$1 type
    for type in 8863 8864 88cc 888e 8906 0806; do # PPPoE, LLDP, EAPOL, FCoE, and ARP that is none
        send_frame g1 eth0 dst=$victim type=$type
        "$witness" g2 in "Ethernet type $type"
    done
    send_frame g1 eth0 dst=$victim llc=1
    "$witness" g2 in "an 802.3 frame"
    send_frame g1 eth0 dst=01:80:c2:00:00:00 llc=1
    "$witness" g2 in "a BPDU"
}

start_control
guests static
step "nothing stops them"
need_bridge_nf
sysctl -qw net.bridge.bridge-nf-call-iptables=0 # with 1 the bridge itself waits for the other fragments
others expect_seen
attacks expect_seen
in_node g2 ping -c1 -W1 192.168.100.1 >/dev/null || true # the bridge learns again where the victim is
attacks expect_seen vlan=5
in_node g2 ping -c1 -W1 192.168.100.1 >/dev/null || true
attacks expect_seen vlan=ad5,5
send_frame g1 eth0 src=$victim dst=52:54:00:00:00:03 ip.src=192.168.100.12 ip.dst=192.168.100.13
expect_match "the bridge believes the thief of a MAC" "$victim dev vnet1" "$(bridge fdb show br virbr10)"
for guest in g1 g2 g3; do guest_delete $guest; done
stop_control

cat >"$LAB/vm.toml" <<'TOML'
[network]
bridge = "virbr10"
address = "192.168.100.1/24"
[[dhcp.host]]
mac = "52:54:00:00:00:01"
address = "192.168.100.11"
[[dhcp.host]]
mac = "52:54:00:00:00:02"
address = "192.168.100.12"
[[dhcp.host]]
mac = "52:54:00:00:00:03"
address = "192.168.100.13"
TOML
sysctl -qw net.bridge.bridge-nf-call-iptables=1
start_vmrouter --config "$LAB/vm.toml"
LAB_GUESTS=0
guests dhcp
guarded() { [[ $(nft list table bridge vmrouter_virbr10) =~ ibrname|\"vnet3\" ]]; }
wait_until 5 guarded
for nf in 1 0; do
    sysctl -qw net.bridge.bridge-nf-call-iptables=$nf
    step "bridge-nf-call-iptables $nf: the same frames"
    attacks expect_unseen
    [ $nf = 0 ] || continue
    step "in one tag, in a priority tag, in two"
    for tags in 5 0 0,5 ad5 ad5,5; do attacks expect_unseen vlan=$tags; done
    others expect_unseen
done
known=$(ip neigh show 192.168.100.12 dev virbr10 | sed -n 's/.*lladdr \([^ ]*\).*/\1/p') # the kernel may have forgotten it meanwhile
expect_equal "the host takes nobody else for the victim" "$victim" "${known:-$victim}"
expect_match "the bridge does as well" "$victim dev vnet2" "$(bridge fdb show br virbr10)"
in_node g2 ping -c1 -W1 192.168.100.1 >/dev/null || true
expect_equal "the victim knows the gateway" "$host_mac" \
    "$(in_node g2 ip neigh show 192.168.100.1 dev eth0 | sed 's/.*lladdr \([^ ]*\).*/\1/')"

step "what the host itself would believe"
send_frame g1 eth0 dst="$host_mac" ip.src=192.168.100.12 ip.dst=192.168.100.1 dport=53
expect_unseen host delivered "a query in another guest's name"
send_frame g1 eth0 dst="$host_mac" src=$victim ip.src=192.168.100.12 ip.dst=192.168.100.1 dport=53
expect_unseen host delivered "a query with another guest's MAC and address"
send_frame g1 eth0 dst="$host_mac" ip.src=192.168.100.12 ip.dst=198.51.100.10 dport=123
expect_unseen inet "a datagram in another guest's name"
in_node g1 ip route add 192.168.1.2/32 dev eth0
in_node g1 ping -c1 -W1 192.168.1.2 >/dev/null 2>&1 || true
expect_match "ARP for another address of the host is not answered" 'FAILED|INCOMPLETE' "$(in_node g1 ip neigh show 192.168.1.2)"
in_node g1 ip route del 192.168.1.2/32 dev eth0

step "what a guest may do"
send_frame g1 eth0 ip.src=0.0.0.0 ip.dst=255.255.255.255 sport=68 dport=67
expect_seen host delivered "a DISCOVER from 0.0.0.0 passes"
send_frame g1 eth0 arp=request spa=0.0.0.0 tpa=192.168.100.77
expect_seen g2 in "an ARP probe (RFC 5227) passes"
send_frame g1 eth0 arp=request spa=192.168.100.11 tpa=192.168.100.12
expect_seen g2 in "an ARP question passes"
serve g2 tcp/22
expect_reach g1 tcp g2 192.168.100.12 22
expect_reach g1 udp inet 198.51.100.10 123
expect_reach g2 tcp inet 198.51.100.10 80
