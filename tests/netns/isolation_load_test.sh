#!/bin/bash
# What guests do all day passes: large transfers, thousands of connections, small path MTUs.
#
#   g1 --- virbr10 --- host --- gw --- inet (a path of MTU 1300 behind the gateway)
. "$(dirname "$0")/lib.sh"

topology_bridge
cat >"$LAB/load.py" <<'PYTHON'
import resource, selectors, socket, sys, time
verb, address, port, amount = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
if verb == "sink":  # counts what it receives, answers with the count
    s = socket.create_server((address, port), backlog=64)
    print("ready", flush=True)
    while True:
        c, _ = s.accept()
        total = 0
        while part := c.recv(1 << 20):
            total += len(part)
        c.sendall(b"%d" % total)
        c.close()
elif verb == "send":
    c = socket.create_connection((address, port), 5)
    for _ in range(amount):
        c.sendall(bytes(1 << 20))
    c.shutdown(socket.SHUT_WR)
    print("arrived", c.recv(64).decode())
elif verb == "many":  # that many connections, all open at once, one word each
    all_of_them = []
    for i in range(amount):
        all_of_them.append(socket.create_connection((address, port), 10))
    answered = 0
    for c in all_of_them:
        c.sendall(b"word")
    for c in all_of_them:
        c.settimeout(20)
        answered += bool(c.recv(64))
    print("answered", answered)
PYTHON
mss_of() { sed -n 's/.*mss \([0-9]*\).*/\1/p' "$LAB/inet-dump$1.log" | head -1; }
syn() { # NUMBER: a connection, with the SYN as inet sees it
    background inet "dump$1" tcpdump -l -n -i eth0 -c 1 'tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn'
    wait_until 5 grep -q listening "$LAB/inet-dump$1.log"
    expect_reach g1 tcp inet 198.51.100.10 80
    wait_until 5 grep -q mss "$LAB/inet-dump$1.log"
}
narrow() { # the uplink's MTU
    ip link set eth0 mtu "$1"
    in_node gw ip link set lan1 mtu "$1"
}
start_control
guest_add g1
guest_static g1 192.168.100.11/24 192.168.100.1
narrow 1400
syn 0
expect_equal "nothing else makes segments smaller" 1460 "$(mss_of 0)"
narrow 1500
guest_delete g1
stop_control

start_vmrouter --bridge virbr10 --address 192.168.100.1/24
LAB_GUESTS=0
guest_add g1
guest_static g1 192.168.100.11/24 192.168.100.1
background inet sink python3 "$LAB/load.py" sink 198.51.100.10 9000 0
wait_until 5 grep -q ready "$LAB/inet-sink.log"
expect_equal "64 MiB arrive" "arrived 67108864" "$(in_node g1 timeout 60 python3 "$LAB/load.py" send 198.51.100.10 9000 64)"
expect_equal "2000 connections at once" "answered 2000" "$(in_node g1 timeout 60 python3 "$LAB/load.py" many 198.51.100.10 80 2000)"

step "the segment size follows the smaller MTU"
syn 1
expect_equal "Ethernet: 1460" 1460 "$(mss_of 1)"
narrow 1400
syn 2
expect_equal "an uplink with 1400: 1360" 1360 "$(mss_of 2)"
narrow 1500

step "a narrow path behind the gateway: its errors reach the guest"
in_node gw ip link set wan0 mtu 1300
in_node inet ip link set eth0 mtu 1300
in_node g1 sh -c 'ping -c1 -W1 -M do -s 1400 198.51.100.10 >/dev/null 2>&1; ip route get 198.51.100.10' >"$LAB/route"
expect_match "the guest learns of 1300" 'mtu 1300' "$(cat "$LAB/route")"
expect_equal "8 MiB arrive through it" "arrived 8388608" "$(in_node g1 timeout 60 python3 "$LAB/load.py" send 198.51.100.10 9000 8)"
for filter in 1 2; do
    sysctl -qw net.ipv4.conf.all.rp_filter=$filter net.ipv4.conf.eth0.rp_filter=$filter
    in_node g1 ip route flush cache
    in_node g1 sh -c 'ping -c1 -W1 -M do -s 1400 198.51.100.10 >/dev/null 2>&1; ip route get 198.51.100.10' >"$LAB/route"
    expect_match "also with rp_filter $filter" 'mtu 1300' "$(cat "$LAB/route")"
done
