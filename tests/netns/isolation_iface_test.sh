#!/bin/bash
# On a plain interface the MAC stands for the port: what of the guards applies there, applies.
#
#   pi 192.168.100.11, evil 192.168.100.12 --- switch --- enp6s0 host 192.168.100.1     (one cable, no ports to tell apart)
. "$(dirname "$0")/lib.sh"

topology_iface
guests() {
    LAB_GUESTS=0
    guest_add pi
    guest_static pi 192.168.100.11/24 192.168.100.1
    guest_add evil
    guest_static evil 192.168.100.12/24 192.168.100.1
    host_mac=$(cat /sys/class/net/enp6s0/address)
    in_node pi ping -c1 -W1 192.168.100.1 >/dev/null || true
    in_node evil ping -c1 -W1 192.168.100.1 >/dev/null || true
}
pi_mac=52:54:00:00:00:01
attacks() { # WITNESS(NODE HOW TEXT)
    local witness=$1
    send_frame evil eth0 dst="$host_mac" ip.src=192.168.100.11 ip.dst=192.168.100.1 dport=53
    "$witness" host delivered "a query in another guest's name"
    send_frame evil eth0 dst="$host_mac" ip.src=192.168.100.11 ip.dst=198.51.100.10 dport=123
    "$witness" inet in "a datagram in another guest's name"
    send_frame evil eth0 dst="$host_mac" ip.src=192.168.1.50 ip.dst=192.168.100.1 dport=53
    "$witness" host delivered "a query in the name of a LAN host"
    send_frame evil eth0 dst="$host_mac" sport=67 dport=68 ip.src=192.168.100.12 ip.dst=255.255.255.255
    "$witness" host delivered "an OFFER"
    send_frame evil eth0 dst="$host_mac" ip.src=192.168.100.12 ip.dst=192.168.1.2 dport=123
    "$witness" host delivered "another address of the host"
    send_frame evil eth0 dst="$host_mac" options=0707040000000000 ip.src=192.168.100.12 ip.dst=198.51.100.10 dport=123
    "$witness" inet in "a record route"
}
start_control
guests
attacks expect_seen
believed() { # not within a second of what it heard last (locktime)
    send_frame evil eth0 arp=reply dst="$host_mac" spa=192.168.100.11 tha="$host_mac" tpa=192.168.100.1
    ip neigh show 192.168.100.11 dev enp6s0 | grep -q "$(guest_mac evil)"
}
check "the host believes a forged ARP answer" wait_until 5 believed
ip neigh flush dev enp6s0 # and now it asks again
vlans=no
if ip link add link enp6s0 name enp6s0.5 type vlan id 5 2>/dev/null; then # kernels with 802.1Q
    vlans=yes
    ip addr add 10.5.0.1/24 dev enp6s0.5
    ip link set enp6s0.5 up
    send_frame evil eth0 dst="$host_mac" vlan=5 ip.src=10.5.0.2 ip.dst=10.5.0.1 dport=123
    expect_seen host delivered "a frame for a VLAN of the host"
fi

step "sessions from before vmrouter, in both directions"
serve pi tcp/2200
background pi old python3 -I "$LAB/repo/tests/netns/session.py" 192.168.100.1 22
background host old python3 -I "$LAB/repo/tests/netns/session.py" 192.168.100.11 2200
wait_until 5 grep -q heard "$LAB/pi-old.log"
wait_until 5 grep -q heard "$LAB/host-old.log"
nft 'table ip tracker { chain i { type filter hook input priority 0; ct state established counter; }; chain o { type filter hook output priority 0; ct state established counter; }; }'
start_vmrouter --iface enp6s0 --address 192.168.100.1/24
check "the guest's is cut" wait_until 8 grep -q cut "$LAB/pi-old.log"
check "the host's is cut" wait_until 8 grep -q cut "$LAB/host-old.log"
stop_vmrouter
nft delete table ip tracker
guest_delete pi
guest_delete evil
stop_control

cat >"$LAB/pi.toml" <<'TOML'
[network]
interface = "enp6s0"
address = "192.168.100.1/24"
[[dhcp.host]]
mac = "52:54:00:00:00:01"
address = "192.168.100.11"
[[dhcp.host]]
mac = "52:54:00:00:00:02"
address = "192.168.100.12"
TOML
start_vmrouter --config "$LAB/pi.toml"
guests
attacks expect_unseen
send_frame evil eth0 arp=reply dst="$host_mac" spa=192.168.100.11 tha="$host_mac" tpa=192.168.100.1
sleep 0.2
expect_match "the host still knows where pi is" "$pi_mac" "$(ip neigh show 192.168.100.11 dev enp6s0)"
if [ $vlans = yes ]; then
    send_frame evil eth0 dst="$host_mac" vlan=5 ip.src=10.5.0.2 ip.dst=10.5.0.1 dport=123
    expect_unseen host delivered "a frame for a VLAN of the host"
fi
send_frame evil eth0 dst="$host_mac" vlan=0 ip.src=192.168.100.11 ip.dst=192.168.100.1 dport=53
expect_unseen host delivered "another guest's address in a priority tag"
for source in fe80::12 fd00::12 2001:db8:99::12; do
    send_frame evil eth0 dst="$host_mac" ip6.src=$source ip6.dst=2001:db8:1::2 dport=123
    expect_unseen host delivered "IPv6 from $source to the host"
    send_frame evil eth0 dst="$host_mac" ip6.src=$source ip6.dst=2001:db8:100::10 dport=123
    expect_unseen inet "IPv6 from $source to the internet"
done
send_frame evil eth0 dst="$host_mac" ip.src=0.0.0.0 ip.dst=255.255.255.255 sport=68 dport=67
expect_seen host delivered "a DISCOVER from 0.0.0.0 passes"
expect_reach pi tcp inet 198.51.100.10 80
expect_reach evil udp inet 198.51.100.10 123
expect_refused pi tcp lan 192.168.1.50 22
expect_refused pi tcp host 192.168.1.2 22
expect_refused pi udp office 203.0.113.50 137
expect_blocked lan tcp pi 192.168.100.11 22
