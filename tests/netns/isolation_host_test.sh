#!/bin/bash
# Of the machine itself a guest gets DHCP, DNS and an echo, on one address. Nothing else over IPv4, nothing over IPv6, and
# no connection that began before the rules.
#
#   host: 192.168.1.2 (eth0), 203.0.113.2 (eth1), 10.77.0.1 (brother), 192.168.100.1 (virbr10), 127.0.0.1
#         services tcp/22 tcp/631 tcp/8080 udp/123 udp/5353 on all of them
. "$(dirname "$0")/lib.sh"

topology_bridge
mac_of() { cat "/sys/class/net/$1/address"; }
probes() {
    local verb=$1 address
    for address in 192.168.100.1 192.168.1.2 203.0.113.2 10.77.0.1; do
        "expect_$verb" g1 tcp host $address 22
        "expect_$verb" g1 udp host $address 123
    done
    "expect_$verb" g1 tcp host 192.168.100.1 631
    "expect_$verb" g1 icmp host 192.168.1.2
}

start_control
guest_add g1
guest_static g1 192.168.100.11/24 192.168.100.1
guest_static6 g1 2001:db8:99::11/64 2001:db8:99::1
probes reach
expect_reach g1 icmp host 192.168.100.1
expect_reach g1 tcp host 2001:db8:99::1 22
expect_reach g1 udp host 2001:db8:1::2 123
expect_reach g1 tcp inet 2001:db8:100::10 80
expect_reach g1 tcp lan 2001:db8:1::50 22
sysctl -qw net.ipv4.conf.all.route_localnet=1
send_frame g1 eth0 dst="$(mac_of virbr10)" ip.src=192.168.100.11 ip.dst=127.0.0.1 proto=udp dport=123
expect_seen host delivered "with route_localnet, 127.0.0.1 on the wire reaches a service"
sysctl -qw net.ipv4.conf.all.route_localnet=0
guest_delete g1
stop_control

step "a guest's session with a service, from before vmrouter"
# Connections are tracked already, so the sessions count as established.
nft 'table ip tracker { chain i { type filter hook input priority 0; ct state established counter; }
    chain o { type filter hook output priority 0; ct state established counter; }; }'
ip link add virbr10 type bridge forward_delay 0 # an existing bridge: adopted
ip addr add 192.168.100.1/24 dev virbr10
ip link set virbr10 up
guest_add g1
guest_static g1 192.168.100.11/24 192.168.100.1
serve g1 tcp/2200
background g1 old python3 -I "$LAB/repo/tests/netns/session.py" 192.168.100.1 22
background host old python3 -I "$LAB/repo/tests/netns/session.py" 192.168.100.11 2200
wait_until 5 grep -q heard "$LAB/g1-old.log"
wait_until 5 grep -q heard "$LAB/host-old.log"
start_vmrouter --bridge virbr10 --address 192.168.100.1/24
check "the guest's session is cut" wait_until 8 grep -q cut "$LAB/g1-old.log"
check "so is the host's session with the guest" wait_until 8 grep -q cut "$LAB/host-old.log"
background host new python3 -I "$LAB/repo/tests/netns/session.py" 192.168.100.11 2200
check "the host opens new ones" wait_until 5 grep -q heard "$LAB/host-new.log"

step "what is left of the host"
probes refused
expect_reach g1 icmp host 192.168.100.1
in_node g1 sh -c 'echo nameserver 192.168.100.1 >/etc/resolv.conf'
send_frame g1 eth0 dst="$(mac_of virbr10)" ip.src=192.168.100.11 ip.dst=192.168.100.1 proto=udp dport=53
expect_seen host delivered "a DNS query arrives"
send_frame g1 eth0 dst="$(mac_of virbr10)" ip.src=192.168.100.11 ip.dst=192.168.100.1 proto=udp dport=54
expect_unseen host delivered "the port next to it does not"
send_frame g1 eth0 dst="$(mac_of virbr10)" ip.src=192.168.100.11 ip.dst=192.168.100.1 proto=tcp dport=22 flags=ack
expect_unseen host delivered "TCP in the middle of nothing"
send_frame g1 eth0 dst="$(mac_of virbr10)" ip.src=192.168.100.11 ip.dst=192.168.100.1 proto=tcp dport=53 flags=synack
expect_unseen host delivered "an answer that nobody asked for"
send_frame g1 eth0 dst="$(mac_of virbr10)" ip.src=192.168.100.11 ip.dst=192.168.100.1 proto=icmp icmp_type=13
expect_unseen host delivered "an ICMP timestamp request"
sysctl -qw net.ipv4.conf.all.route_localnet=1
send_frame g1 eth0 dst="$(mac_of virbr10)" ip.src=192.168.100.11 ip.dst=127.0.0.1 proto=udp dport=123
expect_unseen host delivered "127.0.0.1 on the wire, with route_localnet"
sysctl -qw net.ipv4.conf.all.route_localnet=0
send_frame g1 eth0 ip.src=192.168.100.11 ip.dst=192.168.100.255 proto=udp dport=5353
expect_unseen host delivered "broadcast of the segment"
send_frame g1 eth0 dst=01:00:5e:00:00:fb ip.src=192.168.100.11 ip.dst=224.0.0.251 proto=udp dport=5353
expect_unseen host delivered "multicast"

step "IPv6 of every kind"
for forwarding in 0 1; do
    sysctl -qw net.ipv6.conf.all.forwarding=$forwarding
    ip -6 route replace default via 2001:db8:1::1
    mac=$(mac_of virbr10)
    for source in 2001:db8:99::11 fe80::5054:ff:fe00:1 fd00::11; do
        for target in 2001:db8:1::2 fe80::1 ::1; do
            send_frame g1 eth0 dst="$mac" ip6.src=$source ip6.dst=$target proto=udp dport=123
            expect_unseen host delivered "forwarding $forwarding: $source to $target"
        done
        send_frame g1 eth0 dst="$mac" ip6.src=$source ip6.dst=2001:db8:100::10 proto=udp dport=123
        expect_unseen inet "forwarding $forwarding: $source to the internet"
        send_frame g1 eth0 dst="$mac" ip6.src=$source ip6.dst=2001:db8:1::50 proto=udp dport=137
        expect_unseen lan "forwarding $forwarding: $source to the LAN"
    done
    # A router advertisement for 2001:db8:bad::/64: nobody believes it.
    send_frame g1 eth0 dst=33:33:00:00:00:01 ip6.src=fe80::5054:ff:fe00:1 ip6.dst=ff02::1 proto=icmp6 ttl=255 icmp_type=134
    expect_unseen host delivered "forwarding $forwarding: a router advertisement"
done
expect_equal "no IPv6 address on the segment" "" "$(ip -6 -o addr show dev virbr10)"
