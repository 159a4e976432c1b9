#!/bin/bash
# From outside nothing new reaches a guest but what a forward publishes; nothing uses the machine as a way through; and the
# host itself says nothing unasked.
#
#   inet 198.51.100.10 --- gw --- host 192.168.1.2 ------- virbr10 --- web (192.168.100.10, reserved), g2
#                          |       \--- eth1 --- office 203.0.113.50
#                          lan 192.168.1.50 (routes 192.168.100.0/24 through the host)
. "$(dirname "$0")/lib.sh"

topology_bridge
for node in lan office gw; do
    in_node $node ip route add 192.168.100.0/24 via "$([ $node = office ] && echo 203.0.113.2 || echo 192.168.1.2)"
done
in_node lan ip route add 203.0.113.0/24 via 192.168.1.2
in_node lan ip route add 10.77.0.0/24 via 192.168.1.2
cat >"$LAB/vm.toml" <<'TOML'
[network]
bridge = "virbr10"
address = "192.168.100.1/24"
[[dhcp.host]]
mac = "52:54:00:00:00:01"
address = "192.168.100.10"
name = "web"
[[firewall.forward]]
listen = "tcp/0.0.0.0:2222"
guest = "web"
port = 22
[[firewall.forward]]
listen = "udp/192.168.1.2:5000"
guest = "52:54:00:00:00:01"
port = 5000
[[firewall.forward]]
listen = "tcp/2223"
guest = "192.168.100.10"
port = 22
TOML
guests() {
    LAB_GUESTS=0
    guest_add web
    guest_static web 192.168.100.10/24 192.168.100.1
    serve web tcp/22 tcp/23 udp/5000
    guest_add g2
    guest_static g2 192.168.100.12/24 192.168.100.1
    serve g2 tcp/22
    in_node web ping -c1 -W1 192.168.100.1 >/dev/null || true
}

start_control
sysctl -qw net.ipv4.ip_forward=1
guests
expect_reach lan tcp web 192.168.100.10 22
expect_reach lan udp web 192.168.100.10 5000
expect_reach office tcp web 192.168.100.10 22
expect_reach lan tcp office 203.0.113.50 22
expect_arrive host udp web 192.168.100.255 5353 --device virbr10
guest_delete web
guest_delete g2
stop_control

start_vmrouter --config "$LAB/vm.toml"
guests
step "unasked"
expect_blocked lan tcp web 192.168.100.10 22
expect_blocked lan tcp web 192.168.100.10 23
expect_blocked lan udp web 192.168.100.10 5000
expect_blocked lan icmp web 192.168.100.10
expect_blocked gw tcp web 192.168.100.10 22
expect_blocked office tcp web 192.168.100.10 22
expect_blocked lan ip:41 web 192.168.100.10
for flags in ack synack rst fin; do
    send_frame lan eth0 dst="$(cat /sys/class/net/eth0/address)" ip.src=192.168.1.50 ip.dst=192.168.100.10 proto=tcp dport=22 flags=$flags
    expect_unseen web "TCP with $flags"
done
send_frame lan eth0 dst="$(cat /sys/class/net/eth0/address)" ip.src=192.168.1.50 ip.dst=192.168.100.10 proto=icmp icmp_type=5
expect_unseen web "an ICMP redirect"
send_frame lan eth0 dst="$(cat /sys/class/net/eth0/address)" ip.src=192.168.1.50 ip.dst=192.168.100.10 proto=udp dport=5000 frag=0x2000
expect_unseen web "a first fragment"
send_frame lan eth0 dst="$(cat /sys/class/net/eth0/address)" ip.src=192.168.1.50 ip.dst=192.168.1.2 proto=udp dport=5000 options=830704c0a8640a00
expect_unseen web "a source route through the host"

step "the host forwards for nobody else"
expect_blocked lan tcp office 203.0.113.50 22
expect_blocked office tcp lan 192.168.1.50 22

step "published"
expect_reach lan tcp web 192.168.1.2 2222
expect_equal "the guest sees who it is" 192.168.1.50 "$(source_seen web)"
expect_reach lan udp web 192.168.1.2 5000
expect_blocked lan tcp web 192.168.1.2 2223
expect_reach host tcp web 192.168.1.2 2222
expect_reach host tcp web 127.0.0.1 2222
expect_reach host tcp web 127.0.0.1 2223
expect_reach g2 tcp web 192.168.1.2 2222
expect_equal "a hairpin comes from us" 192.168.100.1 "$(source_seen web)"
expect_reach g2 tcp web 192.168.100.1 2222
for filter in 1 2 0; do
    sysctl -qw net.ipv4.conf.all.rp_filter=$filter net.ipv4.conf.eth0.rp_filter=$filter
    expect_reach lan tcp web 192.168.1.2 2222
done

step "path MTU of a published connection: errors of the path pass, errors about nothing do not"
background lan open python3 -I "$LAB/repo/tests/netns/session.py" 192.168.1.2 2222
wait_until 5 grep -q heard "$LAB/lan-open.log"
send_frame lan eth0 dst="$(cat /sys/class/net/eth0/address)" ip.src=192.168.1.50 ip.dst=192.168.100.10 proto=icmp icmp_type=3 icmp_code=4
expect_unseen web "an ICMP error about no connection"

step "what the host says unasked"
expect_blocked host udp web 192.168.100.255 5353 --device virbr10
expect_blocked host udp web 255.255.255.255 5353 --device virbr10
expect_blocked host udp web 224.0.0.251 5353 --device virbr10
expect_reach host tcp web 192.168.100.10 22
expect_reach host icmp web 192.168.100.10
