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
[[dhcp.host]]
mac = "52:54:00:00:00:03"
name = "app"
[[firewall.forward]]
listen = "tcp/0.0.0.0:2224"
guest = "app"
port = 22
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

# A helper on the host and at home: the FTP server connects back to the guest, which connection tracking calls RELATED.
cat >"$LAB/ftp.py" <<'PYTHON'
import socket, sys, threading
if sys.argv[1] == "server":  # connects to wherever PORT says
    listener = socket.create_server(("198.51.100.10", 21))
    print("ready", flush=True)
    while True:
        control, _ = listener.accept()
        control.sendall(b"220 hello\r\n")
        control.recv(200)  # the helper reads lines that follow a line
        control.sendall(b"331 who\r\n")
        words = control.recv(200).decode().strip().removeprefix("PORT ").split(",")
        control.sendall(b"200 ok\r\n")
        try:
            socket.create_connection((".".join(words[:4]), int(words[4]) * 256 + int(words[5])), 2)
        except OSError:
            pass
else:  # says where it listens
    listener = socket.create_server(("192.168.100.12", 5021))
    listener.settimeout(4)
    control = socket.create_connection(("198.51.100.10", 21), 3)
    control.recv(100)
    control.sendall(b"USER guest\r\n")
    control.recv(100)
    control.sendall(b"PORT 192,168,100,12,19,157\r\n")
    control.recv(100)
    try:
        listener.accept()
        print("connected back")
    except TimeoutError:
        print("nobody came")
PYTHON
background inet ftp python3 "$LAB/ftp.py" server
wait_until 5 grep -q ready "$LAB/inet-ftp.log"
in_node gw nft 'table ip helper { ct helper ftp { type "ftp" protocol tcp; }; chain f { type filter hook prerouting priority 0; tcp dport 21 ct helper set "ftp"; }; }'
nft 'table ip helper { ct helper ftp { type "ftp" protocol tcp; }; chain f { type filter hook prerouting priority 0; tcp dport 21 ct helper set "ftp"; }; }'
by_us() { # g2 sends by us to its neighbour
    in_node g2 ip neigh replace 192.168.100.10 lladdr "$(cat /sys/class/net/virbr10/address)" dev eth0 nud permanent
    in_node g2 ping -c4 -i0.2 -W1 192.168.100.10 || true
}
ftp() { in_node g2 timeout 10 python3 "$LAB/ftp.py" guest; }

start_control
sysctl -qw net.ipv4.ip_forward=1
guests
expect_equal "the helper opens a port" "connected back" "$(ftp)"
expect_reach lan tcp web 192.168.100.10 22
expect_reach lan udp web 192.168.100.10 5000
expect_reach office tcp web 192.168.100.10 22
expect_reach lan tcp office 203.0.113.50 22
expect_arrive host udp web 192.168.100.255 5353 --device virbr10
expect_match "the host tells a shorter way" 'Redirect Host' "$(by_us)"
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

in_node gw nft 'table ip published { chain pre { type nat hook prerouting priority dstnat; iifname wan0 tcp dport 2222 dnat to 192.168.1.2; }; }'
expect_reach inet tcp web 198.51.100.1 2222
expect_blocked inet tcp web 198.51.100.1 2225

step "to a reserved name without an address: wherever its guest is, and nobody who claims the name"
guest_add app # the one with the reserved MAC
guest_add thief
in_node thief sh -c 'echo "send host-name \"app\";" >/etc/dhcp/dhclient.conf'
guest_dhcp thief dhclient
serve thief tcp/22
expect_blocked lan tcp thief 192.168.1.2 2224
guest_dhcp app udhcpc
serve app tcp/22
expect_reach lan tcp app 192.168.1.2 2224
was=$(guest_address app)
guest_release app
expect_blocked lan tcp app 192.168.1.2 2224
# Somebody else gets the address meanwhile, and it another one.
guest_static thief "$was/24" 192.168.100.1
background app again udhcpc -f -i eth0 -t 10 -T 1 -F app -r 192.168.100.77
wait_until 20 guest_has_address app || fail "app gets an address again"
expect_reach lan tcp app 192.168.1.2 2224
guest_delete thief

step "path MTU of a published connection: errors of the path pass, errors about nothing do not"
background lan open python3 -I "$LAB/repo/tests/netns/session.py" 192.168.1.2 2222
wait_until 5 grep -q heard "$LAB/lan-open.log"
send_frame lan eth0 dst="$(cat /sys/class/net/eth0/address)" ip.src=192.168.1.50 ip.dst=192.168.100.10 proto=icmp icmp_type=3 icmp_code=4
expect_unseen web "an ICMP error about no connection"

step "a helper on the host opens no port (FTP: the server connects back to the guest)"
expect_equal "with vmrouter" "nobody came" "$(ftp)"
check "the helper was at work" grep -q . <(conntrack -L -p tcp --dport 21 2>/dev/null | grep helper=ftp)

step "what the host says unasked"
expect_blocked host udp web 192.168.100.255 5353 --device virbr10
expect_blocked host udp web 255.255.255.255 5353 --device virbr10
expect_blocked host udp web 224.0.0.251 5353 --device virbr10
heard() { # KIND: frames of the host that web hears while it says all that it can
    in_node web timeout 3 tcpdump -l -n -i eth0 "$1" >"$LAB/heard.log" 2>&1 &
    wait_until 5 grep -q listening "$LAB/heard.log"
    sysctl -qw net.ipv6.conf.virbr10.disable_ipv6=0 2>/dev/null || true # (put back at once)
    ip addr add 224.9.9.9 dev virbr10 autojoin 2>/dev/null || true
    ip link set virbr10 type bridge mcast_querier 1 mcast_snooping 1 2>/dev/null || true
    sleep 1.5
    ip link set virbr10 type bridge mcast_querier 0 mcast_snooping 0
    ip addr del 224.9.9.9/32 dev virbr10 2>/dev/null || true
    wait %% 2>/dev/null || true
}
heard "(igmp or ip6 or ether multicast) and not arp and not port 68 and not ether src $(guest_mac web) and not ether src $(guest_mac g2)"
expect_equal "no IGMP, MLD, mDNS or query of the bridge" "" "$(grep ' > ' "$LAB/heard.log" || true)"
sysctl -qw net.ipv4.conf.all.send_redirects=1
by_us >"$LAB/by-us"
expect_match "the neighbour is reached" ' 0% packet loss' "$(cat "$LAB/by-us")"
expect_equal "no redirect" "" "$(grep Redirect "$LAB/by-us" || true)"
expect_reach host tcp web 192.168.100.10 22
expect_reach host icmp web 192.168.100.10
