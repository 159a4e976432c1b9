#!/usr/bin/env python3
"""A DHCP client that reads and writes whole frames and takes nothing for granted, for conversations with a server.

  dhcp_client.py DEVICE SCENE [ARGUMENT...]      prints "ok TEXT" or "not ok TEXT: WHY" for everything it looks at

Every reply is judged before anything else: Ethernet source, IP and UDP checksums and lengths, ports, at least 300 bytes, op, xid,
htype, hlen, chaddr, flags and giaddr as they were sent, the magic cookie, options that end where they should, option 82 last.
"""
import os
import select
import socket
import struct
import sys
import time

SERVER, ANY, ALL = "192.168.100.1", "0.0.0.0", "255.255.255.255"
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
BROADCAST = b"\xff" * 6


def ok(text, holds=True, why=""):
    print(("ok " if holds else "not ok ") + text + ("" if holds else f": {why}"), flush=True)


def equal(text, wanted, found):
    ok(text, wanted == found, f"wanted {wanted!r}, found {found!r}")


def folded(data):
    data += b"\0" * (len(data) & 1)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def quad(address):
    return socket.inet_aton(address)


class Reply:
    def __init__(self, frame):
        self.problems = []
        self.to_mac, self.from_mac = frame[:6], frame[6:12]
        ip = frame[14:14 + struct.unpack("!H", frame[16:18])[0]]
        self.need(ip[0] == 0x45 and folded(ip[:20]) == 0xFFFF, "IP header")
        self.source, self.destination = socket.inet_ntoa(ip[12:16]), socket.inet_ntoa(ip[16:20])
        udp = ip[20:]
        self.sport, self.dport, length, checksum = struct.unpack("!HHHH", udp[:8])
        self.need(length == len(udp), "UDP length")
        self.need(checksum != 0 and folded(ip[12:20] + struct.pack("!BBH", 0, 17, length) + udp) == 0xFFFF, "UDP checksum")
        data = self.data = udp[8:]
        self.need(len(data) >= 300, f"only {len(data)} bytes")
        self.op, self.htype, self.hlen, self.hops, self.xid, self.secs, self.flags = struct.unpack("!BBBBIHH", data[:12])
        self.ciaddr, self.yiaddr, self.siaddr, self.giaddr = (socket.inet_ntoa(data[at:at + 4]) for at in (12, 16, 20, 24))
        self.chaddr, self.sname, self.file = data[28:44], data[44:108], data[108:236]
        self.need(self.op == 2, "op")
        self.options, self.order = {}, []
        if data[236:240] == b"\x63\x82\x53\x63":
            self.read_options(data[240:])
        self.type = self.options.get(53, b"\0")[0]

    def need(self, holds, what):
        if not holds:
            self.problems.append(what)

    def read_options(self, area):
        at = 0
        while at < len(area) and area[at] != 255:
            if area[at] == 0:
                at += 1
                continue
            code, size = area[at], area[at + 1]
            self.need(at + 2 + size <= len(area), f"option {code} runs past the end")
            self.options[code] = self.options.get(code, b"") + area[at + 2:at + 2 + size]
            if code not in self.order:
                self.order.append(code)
            at += 2 + size
        self.need(at < len(area), "no end option")
        self.need(not any(area[at + 1:]), "padding that is not zero")
        self.need(82 not in self.order or self.order[-1] == 82, "option 82 is not last")

    def text(self, code):
        return self.options.get(code, b"").decode()

    def number(self, code):
        return int.from_bytes(self.options[code], "big") if code in self.options else None


class Client:
    def __init__(self, device, mac=None):
        self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self.wire.bind((device, 0x0800))
        with open(f"/sys/class/net/{device}/address") as own:
            self.mac = mac or bytes.fromhex(own.read().strip().replace(":", ""))
        self.server_mac = None

    def message(self, kind, options=(), **fields):
        """fields: any of op htype hlen hops xid secs flags ciaddr giaddr chaddr sname file cookie."""
        f = {"op": 1, "htype": 1, "hlen": 6, "hops": 0, "xid": int.from_bytes(os.urandom(4), "big"), "secs": 0, "flags": 0,
             "ciaddr": ANY, "giaddr": ANY, "chaddr": self.mac, "sname": b"", "file": b"", "cookie": b"\x63\x82\x53\x63", **fields}
        body = bytes([53, 1, kind]) if kind else b""
        for code, value in options:
            value = quad(value) if isinstance(value, str) and value.count(".") == 3 and code in (50, 54, 118) else value
            value = value.encode() if isinstance(value, str) else value
            body += bytes([code, len(value)]) + value
        fixed = struct.pack("!BBBBIHH", f["op"], f["htype"], f["hlen"], f["hops"], f["xid"], f["secs"], f["flags"])
        fixed += quad(f["ciaddr"]) + bytes(8) + quad(f["giaddr"]) + f["chaddr"].ljust(16, b"\0")
        fixed += f["sname"].ljust(64, b"\0") + f["file"].ljust(128, b"\0")
        return (fixed + f["cookie"] + (body + b"\xff" if f["cookie"] else b"")).ljust(300, b"\0")

    def send(self, data, source=ANY, destination=ALL, ethernet=BROADCAST, ethernet_source=None, sport=68):
        udp = struct.pack("!HHHH", sport, 67, 8 + len(data), 0) + data
        pseudo = quad(source) + quad(destination) + struct.pack("!BBH", 0, 17, len(udp))
        udp = udp[:6] + struct.pack("!H", (0xFFFF - folded(pseudo + udp)) or 0xFFFF) + udp[8:]
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + quad(source) + quad(destination)
        ip = ip[:10] + struct.pack("!H", 0xFFFF - folded(ip)) + ip[12:]
        self.wire.send(ethernet + (ethernet_source or self.mac) + b"\x08\x00" + ip + udp)

    def replies(self, xid, seconds, count=1):
        found, end = [], time.monotonic() + seconds
        while len(found) < count and (left := end - time.monotonic()) > 0:
            if not select.select([self.wire], [], [], left)[0]:
                break
            frame, (_, _, kind, *_rest) = self.wire.recvfrom(4096)
            if kind == socket.PACKET_OUTGOING or len(frame) < 42 or frame[23] != 17 or frame[34:36] != b"\0\x43":
                continue
            reply = Reply(frame)
            if xid is None or reply.xid == xid:
                found.append(reply)
        return found

    def judge(self, text, data, reply):
        """Is the reply fit for the message at all?"""
        sent = struct.unpack("!BBBBIHH", data[:12])
        problems = list(reply.problems)
        if (reply.htype, reply.hlen) != (sent[1], sent[2]) or reply.chaddr != data[28:44]:
            problems.append("chaddr")
        if reply.type != NAK and reply.flags != sent[6]:
            problems.append("flags")
        if reply.giaddr != socket.inet_ntoa(data[24:28]):
            problems.append("giaddr")
        if (reply.source, reply.sport) != (SERVER, 67):
            problems.append(f"comes from {reply.source}:{reply.sport}")
        self.server_mac = self.server_mac or reply.from_mac
        if reply.from_mac != self.server_mac:
            problems.append("Ethernet source")
        if problems:
            ok(f"{text}: a reply that a strict client takes", False, ", ".join(problems))

    def ask(self, text, data, wanted, seconds=5, **how):
        """The reply of that type; None is silence that was wanted (for 0.4 s). Anything else ends the scene."""
        self.send(data, **how)
        xid = struct.unpack("!I", data[4:8])[0]
        found = self.replies(xid, seconds if wanted is not None else 0.4)
        if wanted is None:
            ok(text, not found, f"answered with type {found[0].type}: {found[0].text(56)}" if found else "")
            return None
        if not found or found[0].type != wanted:
            ok(text, False, f"wanted type {wanted}, found {[(r.type, r.text(56)) for r in found]}")
            sys.exit(0)
        self.judge(text, data, found[0])
        ok(text)
        return found[0]

    def lease(self, text="a lease", options=(), **fields):
        offer = self.ask(f"{text}: OFFER", self.message(DISCOVER, options, **fields), OFFER)
        return self.ask(f"{text}: ACK", self.message(REQUEST, [(50, offer.yiaddr), (54, SERVER), *options], **fields), ACK)

    def unicast(self, address):
        return {"source": address, "destination": SERVER, "ethernet": self.server_mac}


def other(number):
    return bytes([0x52, 0x54, 0, 0xEE, number >> 8, number & 255])


# --- scenes ------------------------------------------------------------------------------------------------------------

def states(device):
    """RFC 2131 section 4.3, authoritative."""
    c = Client(device)
    everything = c.ask("DISCOVER without a list: OFFER", c.message(DISCOVER), OFFER)
    equal("everything is sent, in this order", [53, 54, 51, 58, 59, 1, 28, 3, 6, 15], everything.order[:10])
    equal("T1 is half and T2 seven eighths", [300, 525], [everything.number(58), everything.number(59)])
    equal("unicast to the address that is offered", (c.mac, everything.yiaddr, 68),
          (everything.to_mac, everything.destination, everything.dport))
    listed = c.ask("DISCOVER with a list: OFFER", c.message(DISCOVER, [(55, bytes([3]))]), OFFER)
    equal("only what it names, and what is always sent", [53, 54, 51, 58, 59, 1, 28, 3], listed.order)
    offer = c.ask("DISCOVER with the broadcast flag: OFFER", c.message(DISCOVER, flags=0x8000), OFFER)
    equal("broadcast", (BROADCAST, ALL), (offer.to_mac, offer.destination))
    equal("the same offer as before", everything.yiaddr, offer.yiaddr)
    address = offer.yiaddr

    c.ask("SELECTING another server: silence", c.message(REQUEST, [(50, address), (54, "192.168.100.9")]), None)
    nak = c.ask("SELECTING an address outside: NAK", c.message(REQUEST, [(50, "10.9.9.9"), (54, SERVER)]), NAK)
    equal("a NAK is broadcast and holds nothing but its reason", ([53, 54, 56], BROADCAST, ANY),
          (nak.order, nak.to_mac, nak.yiaddr))
    ack = c.ask("SELECTING: ACK", c.message(REQUEST, [(50, address), (54, SERVER), (61, b"\xff\x01\x02")]), ACK)
    equal("the client-id is told back", b"\xff\x01\x02", ack.options.get(61))
    c.ask("INIT-REBOOT: ACK", c.message(REQUEST, [(50, address)]), ACK)
    c.ask("INIT-REBOOT with another address: NAK", c.message(REQUEST, [(50, "192.168.100.222")]), NAK)
    c.ask("INIT-REBOOT on another network: NAK", c.message(REQUEST, [(50, "10.9.9.9")]), NAK)
    ack = c.ask("RENEWING: ACK", c.message(REQUEST, ciaddr=address), ACK, **c.unicast(address))
    equal("by unicast, with ciaddr", (address, address, address), (ack.destination, ack.ciaddr, ack.yiaddr))
    c.ask("RENEWING another address: NAK", c.message(REQUEST, ciaddr="192.168.100.222"), NAK, **c.unicast(address))
    c.ask("REBINDING: ACK", c.message(REQUEST, ciaddr=address), ACK, source=address)
    c.ask("a REQUEST without any address: silence", c.message(REQUEST), None)

    inform = c.ask("INFORM: ACK", c.message(INFORM, [(55, bytes([3, 6, 51]))], ciaddr=address), ACK, source=address)
    equal("no address, T1 and T2", (ANY, False, False), (inform.yiaddr, 58 in inform.options, 59 in inform.options))
    c.ask("INFORM without an address: silence", c.message(INFORM), None)
    for name, data in (("an OFFER", c.message(OFFER)), ("an unknown type", c.message(99)), ("a reply", c.message(DISCOVER, op=2)),
                       ("17 hops", c.message(DISCOVER, hops=17)), ("hlen 17", c.message(DISCOVER, hlen=17)),
                       ("BOOTP without a reservation", c.message(0)), ("half a message", c.message(DISCOVER)[:200])):
        c.ask(f"{name}: silence", data, None)
    stranger = other(1)
    c.ask("a chaddr that is not the sender: silence", c.message(DISCOVER, chaddr=stranger), None)
    c.ask("RELEASE by another sender: silence", c.message(RELEASE, [(54, SERVER)], ciaddr=address), None, source=address,
          ethernet_source=stranger)
    c.ask("which ended nothing: INIT-REBOOT: ACK", c.message(REQUEST, [(50, address)]), ACK)
    c.ask("RELEASE without option 54: silence", c.message(RELEASE, ciaddr=address), None, **c.unicast(address))
    print("released", address)
    offer = c.ask("it gets its address again: OFFER", c.message(DISCOVER), OFFER)
    equal("the same", address, offer.yiaddr)
    c.ask("ACK", c.message(REQUEST, [(50, address), (54, SERVER)]), ACK)
    c.ask("DECLINE: silence", c.message(DECLINE, [(50, address), (54, SERVER)]), None)
    print("declined", address)
    again = c.lease("after it")
    ok("another address", again.yiaddr != address, address)


def encodings(device):
    """Overload, long options, sizes, hardware types."""
    c = Client(device)
    hidden = bytes([12, 6]) + b"hidden" + b"\xff"
    data = c.message(DISCOVER, [(52, b"\1"), (81, b"\0\0\0")], file=hidden)
    offer = c.ask("options in file are read: OFFER", data, OFFER)
    ack = c.ask("and in sname: ACK", c.message(REQUEST, [(50, offer.yiaddr), (54, SERVER), (52, b"\2")],
                                              sname=bytes([12, 4]) + b"snam" + b"\xff"), ACK)
    equal("the name from sname", "snam", ack.text(12))
    split = c.ask("an option in two pieces is one: ACK", c.message(REQUEST, [(50, offer.yiaddr), (54, SERVER), (12, "lo"), (12, "ng")]), ACK)
    equal("the name from both", "long", split.text(12))
    small = c.ask("without option 57", c.message(DISCOVER), OFFER)
    ok("at most 548 bytes", len(small.data) <= 548, len(small.data))
    large = c.ask("option 57 of 1500", c.message(DISCOVER, [(57, b"\x05\xdc")]), OFFER)
    equal("the long option is whole", 400, len(large.options.get(224, b"")))
    equal("in pieces of 255 bytes", True, b"\xe0\xff" in large.data and b"\xe0\x91" in large.data)
    listed = c.ask("option 108 only for who names it", c.message(DISCOVER), OFFER)
    ok("not without a list", 108 not in listed.options)
    listed = c.ask("who names it", c.message(DISCOVER, [(55, bytes([108]))]), OFFER)
    equal("gets it", 1800, listed.number(108))
    pxe = c.ask("a PXE client", c.message(DISCOVER, [(60, "PXEClient:Arch:00000:UNDI:002001"), (93, b"\0\0"), (94, b"\1\2\1"),
                                                     (97, b"\0" + bytes(range(16))), (55, bytes([66, 67]))]), OFFER)
    equal("gets its machine identifier back", b"\0" + bytes(range(16)), pxe.options.get(97))
    for htype, hlen in ((1, 0), (6, 6), (32, 0), (7, 8), (27, 16), (255, 1)):
        chaddr = bytes(range(1, hlen + 1))
        fields = {"htype": htype, "hlen": hlen, "chaddr": chaddr}
        one = c.ask(f"htype {htype}, hlen {hlen}: OFFER", c.message(DISCOVER, [(61, bytes([0, htype, hlen]))], **fields), OFFER)
        equal("by broadcast", BROADCAST, one.to_mac)
        c.ask("and ACK", c.message(REQUEST, [(50, one.yiaddr), (54, SERVER), (61, bytes([0, htype, hlen]))], **fields), ACK)
    c.ask("htype 0 with an address: silence", c.message(DISCOVER, htype=0), None)
    c.ask("no hardware address and no client-id: silence", c.message(DISCOVER, hlen=0, chaddr=b""), None)


def names(device):
    """Which names a guest may take."""
    for number, (claimed, wanted) in enumerate((("wpad", ""), ("LOCALHOST", ""), ("taken", ""), ("labhost", ""), ("g1", ""), ("_x", ""),
                                                ("has space", ""), ("Fine.example.net", "Fine"), ("nul\0", "nul"))):
        c = Client(device, other(100 + number))
        ack = c.lease(f"who calls itself {claimed!r}", [(12, claimed)], flags=0x8000)
        equal(f"the name {claimed!r} becomes", wanted, ack.text(12).rstrip("\0"))


def clones(device):
    """Two machines with one client-id; and BOOTP."""
    same = [(61, b"\xff\0\0\0\1\0\2\0\0\xab\x11machine-id")]
    first, second = (Client(device, other(number)).lease(f"clone {number}", same, flags=0x8000) for number in (300, 301))
    ok("clones get different addresses", first.yiaddr != second.yiaddr, first.yiaddr)
    c = Client(device, bytes.fromhex("525400ff0002"))
    boot = c.ask("BOOTP of a reserved host: a reply", c.message(0), 0)
    equal("its address and no DHCP options", ("192.168.100.60", False, False), (boot.yiaddr, 51 in boot.options, 54 in boot.options))
    old = c.ask("BOOTP without a vendor area: a reply", c.message(0, cookie=b""), 0)
    equal("the address all the same", "192.168.100.60", old.yiaddr)


def lenient(device):
    """authoritative = false, rapid_commit = true, identity = "client-id"."""
    c = Client(device, other(400))
    c.ask("INIT-REBOOT of an unknown client: silence", c.message(REQUEST, [(50, "192.168.100.77")], flags=0x8000), None)
    c.ask("on another network: silence, too", c.message(REQUEST, [(50, "10.9.9.9")], flags=0x8000), None)
    c.ask("REBINDING without a lease: silence", c.message(REQUEST, ciaddr="192.168.100.77"), None, source="192.168.100.77")
    offer = c.ask("without option 80: OFFER", c.message(DISCOVER, flags=0x8000), OFFER)
    c.ask("RENEWING without a lease: NAK", c.message(REQUEST, ciaddr="192.168.100.77"), NAK, **c.unicast("192.168.100.77"))
    rapid = c.ask("with option 80: ACK", c.message(DISCOVER, [(80, b"")], flags=0x8000), ACK)
    equal("which says so", (True, True), (80 in rapid.options, 51 in rapid.options))
    c.ask("it is bound: INIT-REBOOT: ACK", c.message(REQUEST, [(50, rapid.yiaddr)], flags=0x8000), ACK)
    equal("the address that was offered", offer.yiaddr, rapid.yiaddr)
    c.ask("INIT-REBOOT with another address: NAK", c.message(REQUEST, [(50, "192.168.100.78")], flags=0x8000), NAK)
    same = [(61, b"\xff\1\2\3one-machine")]
    first, second = (Client(device, other(number)).lease(f"MAC {number}", same, flags=0x8000) for number in (401, 402))
    equal("one client-id, one address", first.yiaddr, second.yiaddr)


def relay(device, own):
    """A relay on the segment, for a client that is not."""
    c = Client(device)
    agent = b"\1\4port" + b"\2\2id"
    how = {"source": own, "destination": SERVER, "sport": 67, "ethernet": bytes.fromhex(
        open("/run/server_mac").read().strip().replace(":", ""))}
    fields = {"giaddr": own, "hops": 1, "chaddr": other(7), "flags": 0}
    data = c.message(DISCOVER, [(82, agent)], **fields)
    offer = c.ask("through a relay: OFFER", data, OFFER, **how)
    equal("to the relay's port 67", (own, 67, c.mac), (offer.destination, offer.dport, offer.to_mac))
    equal("option 82 as it came, last", (agent, 82), (offer.options.get(82), offer.order[-1]))
    equal("the relay is the router", quad(own), offer.options.get(3))
    long = b"\x97\xfd" + bytes(253)
    large = c.ask("a long option 82: OFFER", c.message(DISCOVER, [(61, b"\0" * 32), (82, long)], **fields), OFFER, **how)
    equal("which comes back as it came", (True, 82), (large.options.get(82) == long, large.order[-1]))
    equal("and costs its client nothing", set(), set(offer.order) - set(large.order))
    ack = c.ask("ACK", c.message(REQUEST, [(50, offer.yiaddr), (54, SERVER), (82, agent)], **fields), ACK, **how)
    nak = c.ask("NAK", c.message(REQUEST, [(50, "10.1.1.1"), (54, SERVER), (82, agent)], **fields), NAK, **how)
    equal("which the relay must broadcast", 0x8000, nak.flags)
    away = dict(fields, giaddr="10.5.5.1")
    c.ask("a relay of another network: silence", c.message(DISCOVER, **away), None, **how)
    equal("the lease", ack.yiaddr, offer.yiaddr)


def fake_relay(device, own, victim, address):
    """A guest that plays relay cannot end or take what another holds."""
    c = Client(device)
    mac = bytes.fromhex(victim.replace(":", ""))
    how = {"source": own, "destination": SERVER, "sport": 67, "ethernet": bytes.fromhex(
        open("/run/server_mac").read().strip().replace(":", ""))}
    fields = {"giaddr": own, "hops": 1, "chaddr": mac}
    c.ask("RELEASE: silence", c.message(RELEASE, [(54, SERVER)], ciaddr=address, **fields), None, **how)
    c.ask("DECLINE: silence", c.message(DECLINE, [(54, SERVER), (50, address)], **fields), None, **how)
    c.ask("REQUEST: silence", c.message(REQUEST, [(50, address), (54, SERVER)], **fields), None, **how)
    c.ask("DISCOVER: silence", c.message(DISCOVER, **fields), None, **how)


def burst(device, count, first=200):
    """That many guests at the same instant."""
    c = Client(device)
    began, offered = time.monotonic(), {}
    for number in range(int(count)):
        mac = other(int(first) + number)
        c.send(c.message(DISCOVER, chaddr=mac, flags=0x8000), ethernet_source=mac)
    while len(offered) < int(count) and time.monotonic() - began < 3:
        for reply in c.replies(None, 0.5):
            offered.setdefault(reply.chaddr[:6], (reply.yiaddr, time.monotonic() - began, reply.problems))
    equal("every one has an offer", int(count), len(offered))
    equal("no address twice", len(offered), len({address for address, _, _ in offered.values()}))
    equal("none that a strict client refuses", [], [problem for _, _, problems in offered.values() for problem in problems])
    slowest = max((at for _, at, _ in offered.values()), default=9)
    ok("the last one within 300 ms (five times that on a busy machine)", slowest < 1.5, f"{slowest:.3f} s")
    print(f"slowest {slowest * 1000:.0f} ms")


def starve(device, count):
    """Made-up guests, as fast as they can be sent."""
    c = Client(device)
    offers = set()
    for number in range(int(count)):
        mac = bytes([0x02, 0xBA, 0xD0]) + os.urandom(3)
        c.send(c.message(DISCOVER, chaddr=mac, flags=0x8000), ethernet_source=mac)
        if number % 50 == 49:
            for reply in c.replies(None, 0.05, 50):
                offers.add(reply.yiaddr)
    for reply in c.replies(None, 0.5, 300):
        offers.add(reply.yiaddr)
    print(f"offered {len(offers)}")


globals()[sys.argv[2]](sys.argv[1], *sys.argv[3:])
