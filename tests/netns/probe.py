#!/usr/bin/env python3
"""Probes for the lab: send a packet that carries a token, and see at the target whether the token arrived.

  probe.py watch LOG                      note every token that this network namespace sees, until killed
  probe.py serve PROTO/PORT ...           echo services ("tcp/22 udp/123"), on every address, IPv4 and IPv6, until killed
  probe.py send TOKEN PROTO ADDRESS [PORT] [--from ADDRESS[:PORT]] [--device D] [--wait SECONDS]
                                          udp, tcp, icmp through the kernel's own stack, or ip:NUMBER for another protocol
  probe.py frame TOKEN DEVICE KEY=VALUE...  one Ethernet frame made by hand (keys: see frame())

TOKEN is "tok" and twelve hexadecimal digits (15 bytes, so that it fits into the padding of an ARP frame). A TCP SYN has
no room for it in a real handshake; `send tcp` therefore prints the initial sequence numbers that it saw leave, as
`isn=XXXXXXXX`, and `watch` notes those of every SYN. NAT keeps them.

`watch` writes a line for each sighting: HOW DEVICE PROTOCOL SOURCE DESTINATION TOKEN, where HOW is
  in, out     seen on the wire (AF_PACKET, before any filter)
  delivered   handed to this host's own sockets: it passed the input hook (raw sockets)
`send` prints `isn=` lines and one last line: `answer TEXT`, `refused WHY` or `silence`; its status is 0 whatever happened.
"""
import os
import re
import select
import socket
import struct
import sys
import time

TOKEN = re.compile(rb"tok[0-9a-f]{12}")
ETH_P_ALL, ETH_P_IP, ETH_P_IPV6, ETH_P_ARP = 0x0003, 0x0800, 0x86DD, 0x0806
VLAN_TYPES = (0x8100, 0x88A8, 0x9100)
PROTOCOLS = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "icmp6": 58}
NAMES = {number: name for name, number in PROTOCOLS.items()}


# --- reading packets ---------------------------------------------------------------------------------------------------

def endpoints(protocol, source, destination, segment):
    """(protocol's name, source, destination, isn or None) of one transport segment."""
    isn = None
    if protocol in (6, 17) and len(segment) >= 8:
        sport, dport = struct.unpack("!HH", segment[:4])
        source, destination = f"{source}:{sport}", f"{destination}:{dport}"
        if protocol == 6 and len(segment) >= 20 and segment[13] & 0x12 == 0x02:
            isn = "isn=" + segment[4:8].hex()
    return NAMES.get(protocol, f"ip:{protocol}"), source, destination, isn


def dissect(kind, packet):
    """(protocol, source, destination, isn) of an Ethernet payload."""
    while kind in VLAN_TYPES and len(packet) >= 4:
        kind, packet = struct.unpack("!H", packet[2:4])[0], packet[4:]
    if kind == ETH_P_IP and len(packet) >= 20:
        length = (packet[0] & 15) * 4
        return endpoints(packet[9], socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), packet[length:])
    if kind == ETH_P_IPV6 and len(packet) >= 40:
        ends = [socket.inet_ntop(socket.AF_INET6, packet[at:at + 16]) for at in (8, 24)]
        return endpoints(packet[6], ends[0], ends[1], packet[40:])
    if kind == ETH_P_ARP and len(packet) >= 28:
        return "arp", socket.inet_ntoa(packet[14:18]), socket.inet_ntoa(packet[24:28]), None
    return f"eth:{kind:04x}", "-", "-", None


def sightings(how, device, seen, packet):
    protocol, source, destination, isn = seen
    for token in [match.decode() for match in dict.fromkeys(TOKEN.findall(packet))] + ([isn] if isn else []):
        yield f"{how} {device} {protocol} {source} {destination} {token}\n"


def open_wire():
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE, which Python has no name for
    return wire


def watch(path):
    log = open(path, "a", buffering=1)
    wire = open_wire()
    raw4 = [(n, socket.socket(socket.AF_INET, socket.SOCK_RAW, n)) for n in (1, 2, 6, 17, 41, 47)]
    raw6 = []
    for number in (6, 17, 58):
        try:
            raw6.append((number, socket.socket(socket.AF_INET6, socket.SOCK_RAW, number)))
            raw6[-1][1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        except OSError:  # a machine without IPv6
            pass
    poll = select.epoll()
    by_descriptor = {s.fileno(): (None, 0, s) for s in (wire,)}
    by_descriptor |= {s.fileno(): (4, n, s) for n, s in raw4} | {s.fileno(): (6, n, s) for n, s in raw6}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    log.write("watching\n")
    while True:
        for descriptor, _ in poll.poll():
            family, number, source = by_descriptor[descriptor]
            try:
                if family is None:
                    packet, (device, kind, direction, _, _) = source.recvfrom(65536)
                    if device == "lo" and direction == 4:
                        continue  # loopback shows every packet twice
                    lines = sightings("out" if direction == 4 else "in", device, dissect(kind, packet[14:]), packet)
                elif family == 4:
                    packet, _ = source.recvfrom(65536)
                    lines = sightings("delivered", "-", dissect(ETH_P_IP, packet), packet)
                else:
                    packet, control, _, peer = source.recvmsg(65536, 256)
                    to = next((c[2] for c in control if c[:2] == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)), b"\0" * 16)
                    ends = peer[0].split("%")[0], socket.inet_ntop(socket.AF_INET6, to[:16])
                    lines = sightings("delivered", "-", endpoints(number, *ends, packet), packet)
            except OSError:  # a device went down
                continue
            for line in lines:
                log.write(line)


# --- services ----------------------------------------------------------------------------------------------------------

def reply_to(request, peer):
    """What our services say: who asked, as they see it. Enough HTTP for curl."""
    text = f"you are {peer[0].removeprefix('::ffff:')}, said {request[:64].decode('latin1').strip()}\n".encode()
    if request.startswith(b"GET "):
        head = f"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n"
        return head.encode() + text
    return text


def answer_datagram(which):
    request, control, _, peer = which.recvmsg(65536, 256)
    info = []
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_IP, 8):
            info = [(level, kind, struct.pack("I", 0) + data[8:12] + b"\0\0\0\0")]  # in_pktinfo: any device, source, -
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            info = [(level, kind, data)]
    which.sendmsg([reply_to(request, peer)], info, 0, peer)


def serve(services):
    poll, sockets = select.epoll(), {}

    def add(what, which):
        sockets[which.fileno()] = what, which
        poll.register(which.fileno(), select.EPOLLIN)

    for service in services:
        protocol, port = service.split("/")
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        families = [socket.AF_INET] + ([socket.AF_INET6] if os.path.exists("/proc/net/if_inet6") else [])
        for family in families:
            listener = socket.socket(family, kind)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(("", int(port)))
            if protocol == "tcp":
                listener.listen(256)
            else:  # answers must come from the address that was asked
                listener.setsockopt(*((socket.SOL_IP, 8, 1) if family == socket.AF_INET else  # IP_PKTINFO
                                      (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)))
            add(protocol, listener)
    print("serving", flush=True)
    while True:
        for descriptor, _ in poll.poll():
            what, which = sockets[descriptor]
            try:
                if what == "tcp":
                    add("client", which.accept()[0])
                    continue
                if what == "udp":
                    answer_datagram(which)
                    continue
                request = which.recv(65536)
                if request:
                    which.sendall(reply_to(request, which.getpeername()))
                    if not request.startswith(b"GET "):
                        continue  # more may come
            except OSError:
                if what in ("tcp", "udp"):
                    continue
            poll.unregister(descriptor)
            sockets.pop(descriptor)
            which.close()


# --- sending through the kernel's stack --------------------------------------------------------------------------------

def own_sequence_numbers(wire, port):
    """Initial sequence numbers of the SYNs from our port that left (the wire socket was open before)."""
    found = []
    wire.setblocking(False)
    while True:
        try:
            packet, (_, kind, direction, _, _) = wire.recvfrom(65536)
        except OSError:
            return list(dict.fromkeys(found))
        protocol, source, _, isn = dissect(kind, packet[14:])
        if isn and direction == 4 and source.endswith(f":{port}"):
            found.append(isn)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send(token, protocol, address, port, source, device, wait):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    target = socket.getaddrinfo(address, int(port or 0), family, socket.SOCK_DGRAM)[0][4]
    wire = open_wire() if protocol == "tcp" else None
    payload = token.encode()
    if protocol in ("tcp", "udp"):
        s = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    elif protocol == "icmp":
        number = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
        s = socket.socket(family, socket.SOCK_RAW, number)
        head = struct.pack("!BBHHH", 128 if family == socket.AF_INET6 else 8, 0, 0, os.getpid() & 0xFFFF, 1)
        if family == socket.AF_INET:  # the kernel fills in ICMPv6's, which covers addresses
            head = head[:2] + struct.pack("!H", checksum(head + payload)) + head[4:]
        payload = head + payload
    else:
        s = socket.socket(family, socket.SOCK_RAW, int(protocol.removeprefix("ip:")))
    s.settimeout(wait)
    if protocol == "udp":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    if device:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    if source:
        at, _, of = source.rpartition(":") if family == socket.AF_INET and ":" in source else (source, "", "0")
        s.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT: any source address, for spoofing
        s.bind((at, int(of)))
    result = "silence"
    try:
        if protocol == "tcp":
            if not source:
                s.bind(("::" if family == socket.AF_INET6 else "", 0))
            own_port = s.getsockname()[1]
            s.connect(target)
            s.sendall(payload)
        elif protocol == "udp":
            s.connect(target) if not address.endswith("255") else None
            s.sendto(payload, target) if address.endswith("255") else s.send(payload)
        else:
            s.setsockopt(socket.SOL_IP, 11, 1) if family == socket.AF_INET else None  # IP_RECVERR: hear refusals
            s.sendto(payload, target)
        deadline = time.monotonic() + wait
        while protocol in ("tcp", "udp", "icmp"):
            s.settimeout(max(0.001, deadline - time.monotonic()))
            heard, _ = s.recvfrom(65536)
            if protocol == "icmp":
                offset = (heard[0] & 15) * 4 if family == socket.AF_INET else 0
                if heard[offset] not in (0, 129) or token.encode() not in heard:
                    continue
                heard = b"echo"
            result = "answer " + heard.decode("latin1").strip() if heard else "refused closed"
            break
    except TimeoutError:
        pass
    except OSError as error:
        result = f"refused {os.strerror(error.errno) if error.errno else error}"
    if wire:
        for isn in own_sequence_numbers(wire, own_port):
            print(isn)
    print(result)


# --- frames made by hand -----------------------------------------------------------------------------------------------

def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def transport(protocol, keys, pseudo, payload):
    sport, dport = int(keys.get("sport", 40000)), int(keys.get("dport", 9))
    if protocol == "udp":
        head = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0)
        body = head + payload
        total = checksum(pseudo + struct.pack("!HH", 17, len(body)) + body) or 0xFFFF
        return body[:6] + struct.pack("!H", total) + body[8:]
    if protocol == "tcp":
        flags = {"syn": 2, "ack": 16, "synack": 18, "rst": 4, "fin": 17, "psh": 24}[keys.get("flags", "syn")]
        head = struct.pack("!HHIIBBHHH", sport, dport, int(keys.get("seq", 1)), int(keys.get("ackno", 0)), 80, flags,
                           64240, 0, 0)
        body = head + payload
        return body[:16] + struct.pack("!H", checksum(pseudo + struct.pack("!HH", 6, len(body)) + body)) + body[18:]
    if protocol in ("icmp", "icmp6"):
        kind = int(keys.get("icmp_type", 8 if protocol == "icmp" else 128))
        body = struct.pack("!BBHHH", kind, int(keys.get("icmp_code", 0)), 0, 4242, 1) + payload
        total = checksum((pseudo + struct.pack("!HH", 58, len(body)) if protocol == "icmp6" else b"") + body)
        return body[:2] + struct.pack("!H", total) + body[4:]
    return payload


def frame(token, device, keys):
    """Sends one frame. Keys: dst, src (MAC; default broadcast and the device's), vlan=ad5,6 (tags, outermost first, ad: 802.1ad),
    type=0800 (hex; for an arbitrary payload), llc=1 (802.3 with a length), count=N, hex=BYTES (in place of the token), and
    IPv4: ip.src ip.dst proto ttl options=HEX frag=N;   IPv6: ip6.src ip6.dst proto;
    udp, tcp, icmp: sport dport flags seq ackno icmp_type icmp_code;   ARP: arp=request|reply sha spa tha tpa arplen (hex)."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind((device, 0))
    own = wire.getsockname()[4]
    source = mac(keys["src"]) if "src" in keys else own
    destination = mac(keys.get("dst", "ff:ff:ff:ff:ff:ff"))
    payload = bytes.fromhex(keys["hex"]) if "hex" in keys else token.encode()
    protocol = keys.get("proto", "udp")
    if "ip.dst" in keys:
        kind = ETH_P_IP
        ends = socket.inet_aton(keys["ip.src"]) + socket.inet_aton(keys["ip.dst"])
        number = PROTOCOLS.get(protocol) or int(protocol.removeprefix("ip:"))
        options = bytes.fromhex(keys.get("options", ""))
        body = transport(protocol, keys, ends, payload)
        head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body), 4711,
                           int(keys.get("frag", "0"), 0), int(keys.get("ttl", 64)), number, 0) + ends + options
        packet = head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body
    elif "ip6.dst" in keys:
        kind = ETH_P_IPV6
        ends = b"".join(socket.inet_pton(socket.AF_INET6, keys[key]) for key in ("ip6.src", "ip6.dst"))
        number = PROTOCOLS.get(protocol) or int(protocol.removeprefix("ip:"))
        body = transport(protocol, keys, ends, payload)
        packet = struct.pack("!IHBB", 6 << 28, len(body), number, int(keys.get("ttl", 64))) + ends + body
    elif "arp" in keys:
        kind = ETH_P_ARP
        packet = struct.pack("!HH", 1, ETH_P_IP) + bytes.fromhex(keys.get("arplen", "0604"))
        packet += struct.pack("!H", 2 if keys["arp"] == "reply" else 1)
        packet += mac(keys["sha"]) if "sha" in keys else source
        packet += socket.inet_aton(keys["spa"]) + mac(keys.get("tha", "00:00:00:00:00:00"))
        packet += socket.inet_aton(keys["tpa"]) + payload
    else:
        kind, packet = int(keys.get("type", "0800"), 16), payload
    if "llc" in keys:
        kind = len(packet)
    tags = b"".join(struct.pack("!HH", 0x88A8 if tag.startswith("ad") else 0x8100, int(tag.removeprefix("ad")))
                    for tag in keys.get("vlan", "").split(",") if tag)
    whole = (destination + source + tags + struct.pack("!H", kind) + packet).ljust(60, b"\0")
    for _ in range(int(keys.get("count", 1))):
        wire.send(whole)
    print("sent")


def main(arguments):
    verb, *rest = arguments
    if verb == "watch":
        watch(*rest)
    elif verb == "serve":
        serve(rest)
    elif verb == "send":
        options = {"--from": None, "--device": None, "--wait": "1"}
        plain = []
        while rest:
            word = rest.pop(0)
            if word in options:
                options[word] = rest.pop(0)
            else:
                plain.append(word)
        token, protocol, address, *port = plain
        send(token, protocol, address, port[0] if port else None, options["--from"], options["--device"],
             float(options["--wait"]))
    elif verb == "frame":
        frame(rest[0], rest[1], dict(word.split("=", 1) for word in rest[2:]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        pass
