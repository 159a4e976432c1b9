#!/bin/bash
# A guest that makes things up does not exhaust the machine: MAC addresses (the bridge's table), IP addresses (the table of
# neighbours), flows (the table of connections), blocked attempts (our own memory and the log). First each against a plain router.
#
#   evil 172.20.0.11 --- vnet1 \
#   good 172.20.0.12 --- vnet2 - virbr10 - host 172.20.0.1/16       a segment with more addresses than the kernel keeps neighbours for
. "$(dirname "$0")/lib.sh"

topology_bridge
cat >"$LAB/flood.py" <<'PYTHON'
# flood.py KIND COUNT ROUTER_MAC: frames of one kind, each with another address
import socket, struct, sys
kind, count, router = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3].replace(":", ""))
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))
own = wire.getsockname()[4]
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
def udp(source, destination, sport, dport):
    head = struct.pack("!BBHHHBBH", 0x45, 0, 36, 1, 0, 64, 17, 0) + source + destination
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return b"\x08\x00" + head + struct.pack("!HHHH", sport, dport, 16, 0) + bytes(8)
def arp(mac, source):
    return b"\x08\x06" + struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + mac + source + bytes(6) + bytes([172, 20, 0, 1])
for i in range(count):
    made_up = bytes([172, 20, 100 + i // 250, 1 + i % 250])
    mac = bytes([2, 0, 0, 1, i >> 8, i & 255])
    if kind == "macs":
        frame = b"\xff" * 6 + mac + arp(mac, bytes([172, 20, 0, 11]))
    elif kind == "arp":
        frame = b"\xff" * 6 + own + arp(own, made_up)
    elif kind == "sources":
        frame = router + own + udp(made_up, bytes([172, 20, 0, 1]), 40000, 53)
    elif kind == "targets":
        frame = router + own + udp(bytes([172, 20, 0, 11]), made_up, 40000, 9)
    elif kind == "dhcp":
        frame = router + own + udp(made_up, bytes([172, 20, 0, 1]), 68, 67)
    elif kind == "blocked":
        frame = router + mac + udp(bytes([172, 20, 0, 11]), bytes([192, 168, i >> 8, i & 255]), 40000, 9)
    wire.send(frame.ljust(60, b"\0"))
PYTHON
cat >"$LAB/clients.py" <<'PYTHON'
# clients.py FIRST COUNT: so many DHCP clients behind one port, each with a MAC address of its own; prints how many got a lease
import socket, struct, sys, time
first, count = int(sys.argv[1]), int(sys.argv[2])
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
wire.bind(("eth0", 0x0800))
def message(mac, xid, options):
    dhcp = struct.pack("!BBBBIHH", 1, 1, 6, 0, xid, 0, 0x8000) + bytes(16) + mac + bytes(10 + 64 + 128) + b"\x63\x82\x53\x63" + options
    dhcp = dhcp.ljust(300, b"\0")
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(dhcp), 1, 0, 64, 17, 0) + bytes(4) + b"\xff" * 4
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
    return b"\xff" * 6 + mac + b"\x08\x00" + head + struct.pack("!HHHH", 68, 67, 8 + len(dhcp), 0) + dhcp
def replies(wanted, seconds):
    end, found = time.monotonic() + seconds, {}
    while (left := end - time.monotonic()) > 0:
        wire.settimeout(left)
        try:
            frame = wire.recv(2048)
        except TimeoutError:
            break
        if len(frame) < 290 or frame[23] != 17 or frame[34:38] != b"\x00\x43\x00\x44" or frame[284] != wanted:
            continue
        found[struct.unpack("!I", frame[46:50])[0]] = frame[58:62]
    return found
macs = {0xABC00000 + i: bytes([2, 0, 0, 2, i >> 8, i & 255]) for i in range(first, first + count)}
for xid, mac in macs.items():
    wire.send(message(mac, xid, b"\x35\x01\x01\xff"))
offers = replies(2, 1.5)
for xid, address in offers.items():
    wire.send(message(macs[xid], xid, b"\x35\x01\x03\x32\x04" + address + b"\x36\x04" + bytes([172, 20, 0, 1]) + b"\xff"))
print(len(replies(5, 1.5)))
PYTHON
router_mac() { cat /sys/class/net/virbr10/address; }
flood() { in_node evil python3 "$LAB/flood.py" "$1" "$2" "$(router_mac)" && sleep 0.3; }
learned() { bridge fdb show br virbr10 | grep -c 'dev vnet1 '; }
neighbours() { ip -4 neigh show dev virbr10 nud all | wc -l; }
tracked() { conntrack -C; }
guests() {
    LAB_GUESTS=0
    guest_add evil
    guest_static evil 172.20.0.11/16 172.20.0.1
    guest_add good
    guest_static good 172.20.0.12/16 172.20.0.1
}
between() { # TEXT LEAST MOST FOUND
    if [ "$4" -ge "$2" ] && [ "$4" -le "$3" ]; then ok "$1: $4"; else fail "$1: $4 is not between $2 and $3"; fi
}

step "a plain router believes and keeps everything (600 of each: the table of neighbours is the whole machine's)"
ip link add virbr10 type bridge forward_delay 0
ip addr add 172.20.0.1/16 dev virbr10
ip link set virbr10 up
sysctl -qw net.ipv4.ip_forward=1
nft 'table ip tracker { chain i { type filter hook input priority 0; ct state established counter; }; chain f { type filter hook forward priority 0; ct state established counter; }; }'
guests
for kind in macs arp; do flood $kind 600; done
between "MAC addresses of one port" 600 700 "$(learned)"
between "neighbours by ARP" 500 700 "$(neighbours)"
ip neigh flush dev virbr10
flood targets 300
between "neighbours that were asked for" 250 400 "$(neighbours)"
ip neigh flush dev virbr10
conntrack -F >/dev/null 2>&1
flood dhcp 600
between "flows of DHCP" 550 700 "$(tracked)"
guest_delete evil
guest_delete good
nft delete table ip tracker
ip link delete virbr10
sysctl -qw net.ipv4.ip_forward=0
conntrack -F >/dev/null 2>&1

start_vmrouter --bridge virbr10 --address 172.20.0.1/16
guests
expect_reach good tcp inet 198.51.100.10 80
step "flows"
conntrack -F >/dev/null 2>&1
flood dhcp 600
between "flows of DHCP" 0 60 "$(tracked)"
step "neighbours: what nobody leased is known up to a limit"
flood targets 600
between "asked for" 0 260 "$(neighbours)"
ip neigh flush dev virbr10
for kind in arp sources; do flood $kind 600; done
between "by ARP, and as the source of packets" 0 540 "$(neighbours)"
guest_add new
guest_dhcp new udhcpc
expect_reach new tcp inet 198.51.100.10 80
step "leases: one port gets a guest's share"
between "of 5 clients" 5 5 "$(in_node evil python3 "$LAB/clients.py" 0 5)"
between "of 100 more" 1 32 "$(in_node evil python3 "$LAB/clients.py" 5 100)"
guest_add late
guest_dhcp late udhcpc
step "MAC addresses: one port has so many"
flood macs 600
between "of the port" 10 300 "$(learned)"
between "refused frames" 200 600 "$(nft list counter bridge vmrouter_virbr10 vm_crowd | awk '/packets/ { print $2 }')"
in_node new ip neigh flush dev eth0
serve new tcp/22
expect_reach good tcp new "$(guest_address new)" 22
step "blocked attempts: logged up to a limit, whoever they claim to come from"
before=$(wc -l <"$LAB/vmrouter.log")
flood blocked 2000
sleep 0.5
between "lines in the log for 2000 attempts" 0 60 "$(($(wc -l <"$LAB/vmrouter.log") - before))"
expect_reach good tcp inet 198.51.100.10 80
