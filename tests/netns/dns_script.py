#!/usr/bin/env python3
"""A resolver that does what a name tells it, and a guest that checks what our forwarder makes of it.

    dns_script.py serve ADDRESS            the resolver, UDP and TCP; one line on stdout for each question
    dns_script.py probe SERVER [GROUP...]  the guest; "ok - ..." or "not ok - ..." for each expectation

The first label of a name under script.example says what happens: see `Script`. N.seen.script.example is a TXT record
with the number of times that N.script.example was asked.
"""
import collections, socket, struct, sys, threading, time

DOMAIN = "script.example"
A, NS, SOA, PTR, HINFO, TXT, AAAA, OPT, DS, HTTPS, ANY = 1, 2, 6, 12, 13, 16, 28, 41, 43, 65, 255
IN, CH, HS = 1, 3, 4
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
QR, AA, TC, RD, RA, Z, AD, CD = 0x8000, 0x400, 0x200, 0x100, 0x80, 0x40, 0x20, 0x10


def name(text):
    return b"".join(bytes([len(l)]) + l.encode() for l in text.split(".") if l) + b"\0"


def read_name(packet, at):
    labels, end, hops = [], None, 0
    while packet[at]:
        if packet[at] >= 0xC0:
            end = end or at + 2
            at = (packet[at] & 63) << 8 | packet[at + 1]
            hops += 1
            if hops > 100:
                raise ValueError("loop")
            continue
        labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin1"))
        at += 1 + packet[at]
    return ".".join(labels), end or at + 1


def record(owner, kind, ttl, data, klass=IN):
    return (owner if isinstance(owner, bytes) else name(owner)) + struct.pack(">HHIH", kind, klass, ttl, len(data)) + data


def soa(owner, ttl, minimum):
    return record(owner, SOA, ttl, name("ns." + owner) + name("admin." + owner) + struct.pack(">5I", 1, 2, 3, 4, minimum))


def opt(size=1232, version=0, flags=0, options=b""):
    return record(b"\0", OPT, version << 16 | flags, options, size)


def strings(*texts):
    return b"".join(bytes([len(t)]) + t.encode() for t in texts)


class Message:
    def __init__(self, packet):
        self.packet = packet
        self.id, self.flags, *self.counts = struct.unpack(">6H", packet[:12])
        self.rcode = self.flags & 15
        self.questions, self.records, self.opt, at = [], [], None, 12
        for _ in range(self.counts[0]):
            text, at = read_name(packet, at)
            self.questions.append((text, *struct.unpack(">HH", packet[at:at + 4])))
            at += 4
        self.question_end = at
        for section in (1, 2, 3):
            for _ in range(self.counts[section]):
                owner, at = read_name(packet, at)
                kind, klass, ttl, size = struct.unpack(">HHIH", packet[at:at + 10])
                data, at = packet[at + 10:at + 10 + size], at + 10 + size
                if kind == OPT:
                    self.opt, self.opt_options = (klass, ttl >> 24, ttl >> 16 & 255, ttl & 0xFFFF), data
                    self.rcode |= ttl >> 24 << 4
                else:
                    self.records.append((section, owner, kind, klass, ttl, data))
        self.whole = at == len(packet)

    def answers(self, kind=None):
        return [r for r in self.records if r[0] == 1 and kind in (None, r[2])]


# --- the resolver --------------------------------------------------------------------------------------------------

class Script:
    """What a first label does. Each returns a list of (delay, packet)."""

    def __init__(self):
        self.seen = collections.Counter()

    def reply(self, query, answers=(), authority=(), additional=(), rcode=NOERROR, flags=0, question=None):
        head = struct.pack(">6H", query.id, QR | RA | (query.flags & RD) | flags | rcode, 1, len(answers), len(authority), len(additional))
        return head + (question or query.packet[12:query.question_end]) + b"".join([*answers, *authority, *additional])

    def __call__(self, packet, tcp):
        try:
            return self.answer(Message(packet), tcp)
        except (ValueError, LookupError, TypeError, struct.error) as error:  # a guest's odd names come through
            print("cannot answer:", ascii(packet), error, flush=True)
            return []

    def answer(self, query, tcp):
        text, kind, klass = query.questions[0]
        print("TCP" if tcp else "UDP", ascii(text).strip("'"), kind, klass, flush=True)
        label, lower = text.split(".")[0].lower(), text.lower()
        self.seen[lower] += 1
        if text == "":
            return [(0, self.reply(query, [record(b"\0", NS, 100, name("a.root-servers.net"))]))]
        if lower.endswith(".seen." + DOMAIN):
            count = self.seen[lower.replace(".seen.", ".")]
            return [(0, self.reply(query, [record(b"\xc0\x0c", TXT, 0, strings(str(count)))]))]
        verb = getattr(self, label.rstrip("0123456789-").replace("-", "_"), None)
        number = int("".join(c for c in label if c.isdigit()) or 0)
        if verb is None or not lower.endswith(DOMAIN):
            verb = self.plain
        return verb(query, number, tcp)

    def plain(self, query, number, tcp, ttl=300, flags=0):
        data = {A: bytes([198, 51, 100, 10]), AAAA: bytes(15) + b"\x09", TXT: strings("plain")}.get(query.questions[0][1], b"\1\2\3")
        return [(0, self.reply(query, [record(b"\xc0\x0c", query.questions[0][1], ttl, data, query.questions[0][2])], flags=flags))]

    def ttl(self, query, number, tcp):
        return self.plain(query, number, tcp, number)

    def signed(self, query, number, tcp):
        return self.plain(query, number, tcp, flags=AD)

    def echo(self, query, number, tcp):  # what we were asked, in hexadecimal
        return [(0, self.reply(query, [record(b"\xc0\x0c", TXT, 0, strings(*[query.packet.hex()[i:i + 200] for i in range(0, len(query.packet) * 2, 200)]))]))]

    def nx(self, query, number, tcp):
        return [(0, self.reply(query, authority=[soa(DOMAIN, 100, number)], rcode=NXDOMAIN))]

    def nodata(self, query, number, tcp):
        return [(0, self.reply(query, authority=[soa(DOMAIN, 100, number)]))]

    def nosoa(self, query, number, tcp):
        return [(0, self.reply(query, rcode=NXDOMAIN))]

    def servfail(self, query, number, tcp):
        return [(0, self.reply(query, rcode=SERVFAIL))]

    def refused(self, query, number, tcp):
        return [(0, self.reply(query, rcode=REFUSED))]

    def slow(self, query, number, tcp):
        return [(number / 1000, self.plain(query, 0, tcp)[0][1])]

    def dead(self, query, number, tcp):
        return []

    def trunc(self, query, number, tcp):  # cut in the middle of a record
        return self.plain(query, 0, tcp) if tcp else [(0, self.plain(query, 0, tcp, flags=TC)[0][1][:-3])]

    def giant(self, query, number, tcp):
        if not tcp:
            return [(0, self.reply(query, flags=TC))]
        return [(0, self.reply(query, [record(b"\xc0\x0c", A, 60, bytes([198, 51, n >> 8, n & 255])) for n in range(number)]))]

    def lieid(self, query, number, tcp):
        right = self.plain(query, 0, tcp)[0][1]
        wrong = right[:-1] + b"\x66"
        return [(0, bytes([wrong[0] ^ 1]) + wrong[1:]), (0.05, right)]

    def lieques(self, query, number, tcp):
        right = self.plain(query, 0, tcp)[0][1]
        wrong = self.reply(query, [record(b"\xc0\x0c", A, 60, b"\6\6\6\6")], question=name("victim." + DOMAIN) + b"\0\1\0\1")
        return [(0, wrong), (0.05, right)]

    def liemore(self, query, number, tcp):  # the answer, and records of others in every section
        other = [record("victim." + DOMAIN, A, 600, b"\6\6\6\6")]
        return [(0, self.reply(query, [record(b"\xc0\x0c", A, 60, bytes([198, 51, 100, 10])), *other], [record("example", NS, 600, name("ns.evil.example")), *other], other))]

    def broken(self, query, number, tcp):  # 0: a pointer to itself, 1: counts, 2: a length, 3: half a header
        right = self.plain(query, 0, tcp)[0][1]
        at = query.question_end
        loop = right[:at] + struct.pack(">H", 0xC000 | at) + right[at + 2:]
        counts = right[:6] + b"\xff\xff" + right[8:]
        length = right[:at + 10] + b"\xff\xff" + right[at + 12:]
        return [(0, (loop, counts, length, right[:7])[number])]

    def rebind(self, query, number, tcp):
        inner = bytes([192, 168, 1, 50])
        aaaa = [bytes(10) + b"\xff\xff" + inner, b"\x20\x02" + inner + bytes(10), b"\0\x64\xff\x9b" + bytes(8) + inner, bytes(12) + inner,
                b"\xfd" + bytes(15), b"\xfe\x80" + bytes(14), bytes(15) + b"\1"]
        public = bytes([198, 51, 100, 10])
        hint = lambda address: b"\0\1\0" + struct.pack(">HH", 4, 4) + address
        records = {A: [inner, public, b"\x7f\0\0\1", bytes(4), b"\xa9\xfe\xa9\xfe"], AAAA: [*aaaa, b"\x20\1\x0d\xb8" + bytes(11) + b"\7"],
                   HTTPS: [hint(inner), hint(public)]}
        kind = query.questions[0][1]
        return [(0, self.reply(query, [record(b"\xc0\x0c", kind, 60, data) for data in records.get(kind, [])]))]

    def odd(self, query, number, tcp):
        return [(0, self.reply(query, *odd_records(), flags=AA))]


def odd_records():
    """Records that a forwarder has no business to change: unknown types, odd compression, other sections."""
    return ([record(b"\xc0\x0c", 65281, 77, bytes(range(40))), record(b"\4OdDx\xc0\x10", 1234, 5, b"\xc0\x0c\xff")],
            [record(b"\xc0\x10", NS, 9, b"\2nS\xc0\x10")], [record("other." + DOMAIN, A, 11, bytes([198, 51, 100, 1]))])


def serve(address):
    script = Script()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    udp.bind((address, 53))
    tcp = socket.create_server((address, 53), backlog=64)

    def later(delay, send):
        threading.Timer(delay, send).start() if delay else send()

    def stream(connection):
        with connection:
            while True:
                head = connection.recv(2, socket.MSG_WAITALL)
                if len(head) < 2:
                    return
                query = connection.recv(struct.unpack(">H", head)[0], socket.MSG_WAITALL)
                for delay, packet in script(query, True):
                    time.sleep(delay)
                    connection.sendall(struct.pack(">H", len(packet)) + packet)

    def accept():
        while True:
            threading.Thread(target=stream, args=(tcp.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print("serving", flush=True)
    while True:
        query, client = udp.recvfrom(4096)
        for delay, packet in script(query, False):
            later(delay, lambda packet=packet, client=client: udp.sendto(packet, client))


# --- the guest -----------------------------------------------------------------------------------------------------

SERVER = None


def expect(text, condition, found=""):
    print(("ok - " if condition else "not ok - ") + text + ("" if condition else ": " + repr(found)), flush=True)


def make(text, kind=A, klass=IN, flags=RD, number=0x1234, extra=b"", counts=(1, 0, 0, 0)):
    counts = list(counts)
    counts[3] += 1 if extra else 0
    return struct.pack(">6H", number, flags, *counts) + name(text) + struct.pack(">HH", kind, klass) + extra


def send(packet, wait=4.0):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(wait)
        s.connect((SERVER, 53))
        s.send(packet)
        try:
            return Message(s.recv(65535))
        except socket.timeout:
            return None


def ask(label, kind=A, klass=IN, flags=RD, extra=b"", wait=4.0):
    return send(make(label + "." + DOMAIN, kind, klass, flags, extra=extra), wait)


def tcp_ask(label, kind=A):
    with socket.create_connection((SERVER, 53), 4) as s:
        packet = make(label + "." + DOMAIN, kind)
        s.sendall(struct.pack(">H", len(packet)) + packet)
        size = struct.unpack(">H", s.recv(2, socket.MSG_WAITALL))[0]
        return Message(s.recv(size, socket.MSG_WAITALL))


def seen(label):
    return int(ask(label + ".seen", TXT).answers()[0][5][1:])


def addresses(reply):
    return sorted(socket.inet_ntop(socket.AF_INET if r[2] == A else socket.AF_INET6, r[5]) for r in reply.answers() if r[2] in (A, AAAA))


def headers():
    for opcode in range(1, 16):
        reply = send(make("a." + DOMAIN, flags=RD | opcode << 11, extra=opt()))
        if not (reply and reply.rcode == NOTIMP and reply.flags >> 11 & 15 == opcode and reply.opt and reply.flags & QR):
            expect("opcode %d" % opcode, False, reply and hex(reply.flags))
    expect("opcodes were tried", True)
    for count in (0, 2):
        packet = struct.pack(">6H", 7, RD, count, 0, 0, 1) + (name("a." + DOMAIN) + b"\0\1\0\1") * count + opt()
        reply = send(packet)
        expect("%d questions: FORMERR, with an OPT" % count, reply and reply.rcode == FORMERR and reply.opt and reply.id == 7, reply and reply.rcode)
    expect("a response is ignored", send(make("a." + DOMAIN, flags=QR | RD), 0.3) is None)
    expect("less than a header is ignored", send(b"\0\1\1\0\0", 0.3) is None)
    expect("an answer in a query: FORMERR", send(make("a." + DOMAIN, counts=(1, 1, 0, 0)) + record("a", A, 1, bytes(4))).rcode == FORMERR)
    expect("bytes after the end: FORMERR", send(make("a." + DOMAIN) + b"\0").rcode == FORMERR)
    reply = send(make("a." + DOMAIN, extra=opt(version=1)))
    expect("EDNS version 1: BADVERS, and we have 0", reply.rcode == 16 and reply.opt[2] == 0 and not reply.answers(), (reply.rcode, reply.opt))
    expect("two OPTs: FORMERR", send(make("a." + DOMAIN, extra=opt()[:], counts=(1, 0, 0, 1)) + opt()).rcode == FORMERR)
    reply = ask("a", extra=opt(flags=0x4001, options=struct.pack(">HH", 65001, 3) + b"abc"))
    expect("unknown options and flags of EDNS: answered, not repeated", addresses(reply) and reply.opt[3] == 0 and not reply.opt_options, reply.opt)
    reply = ask("a", flags=RD | Z | TC | AA | RA)
    expect("Z, TC, AA and RA in a query mean nothing", addresses(reply) and not reply.flags & (Z | TC) and reply.flags & RA, hex(reply.flags))
    expect("without EDNS no OPT comes back", ask("a").opt is None)
    expect("our size is 1232", ask("a", extra=opt(4096)).opt[0] == 1232)


def flags():
    sent = Message(bytes.fromhex("".join(s for r in [ask("echo", TXT, flags=RD | CD, extra=opt(flags=0x8000))] for s in texts(r))))
    expect("CD and DO go upstream, with an OPT of ours", sent.flags & CD and sent.opt == (1232, 0, 0, 0x8000) and sent.flags & RD, (hex(sent.flags), sent.opt))
    sent = Message(bytes.fromhex("".join(texts(ask("echo1", TXT, flags=0)))))
    expect("RD is not set for who did not", not sent.flags & (RD | CD) and sent.opt[3] == 0, hex(sent.flags))
    for flags_sent, extra, shown in ((RD, b"", 0), (RD | AD, b"", AD), (RD, opt(flags=0x8000), AD)):
        expect("AD is shown to who understands it", ask("signed", flags=flags_sent, extra=extra).flags & AD == shown, shown)
    expect("AD is never made up", not ask("a", flags=RD | AD).flags & AD)
    reply = ask("a", flags=RD | CD)
    expect("CD and RD come back", reply.flags & CD and reply.flags & RD)
    for label in ("CaSe", "cAsE"):  # fresh, then cached
        expect("the case of the question is kept", ask(label + "-0X20").questions[0][0] == label + "-0X20." + DOMAIN)
    reply = ask("odd", A)
    wanted = struct.pack(">6H", 0x1234, QR | AA | RD | RA, 1, 2, 1, 1) + make("odd." + DOMAIN)[12:] + b"".join(sum(odd_records(), []))
    # The second record of the answer is not of the question's name: the only thing that goes.
    expect("out of place records alone are dropped, the rest is untouched", reply.answers() == [(1, "odd." + DOMAIN, 65281, IN, 77, bytes(range(40)))] and
           len(reply.records) == 3, reply.records)
    for kind in (99, 257, 65280, 32769):
        reply = ask("plain%d" % kind, kind)
        wanted = Script().plain(Message(make("plain%d.%s" % (kind, DOMAIN), kind)), 0, False)[0][1]
        expect("type %d passes byte by byte" % kind, reply.packet == wanted, reply.packet.hex())
    for klass in (HS, 17, 255):
        reply = ask("plain", A, klass)
        expect("class %d passes" % klass, reply.rcode == NOERROR and reply.answers()[0][3] == klass, reply.packet.hex())
    expect("... and is not taken for IN", addresses(ask("plain")) == ["198.51.100.10"])


def texts(reply):
    for r in reply.answers(TXT):
        at = 0
        while at < len(r[5]):
            yield r[5][at + 1:at + 1 + r[5][at]].decode()
            at += 1 + r[5][at]


def caching():
    first = [ask("ttl60").answers()[0][4], ask("ttl0"), ask("ttl0"), ask("nx2"), ask("nodata2"), ask("nosoa"), ask("nosoa")]
    big = [ask("ttl2000000000").answers()[0][4] for _ in range(2)]
    expect("a TTL comes as it is", first[0] == 60, first[0])
    expect("TTL 0 is asked each time", seen("ttl0") == 2, seen("ttl0"))
    expect("NXDOMAIN without SOA is asked each time", seen("nosoa") == 2)
    expect("a huge TTL is capped at a week, and at a day from the cache", big[0] == 604800 and big[1] <= 86400, big)
    long = [ask("ttl172800").answers()[0][4] for _ in range(2)]
    expect("a long one comes as it is, and is kept for a day", long[0] == 172800 and 86390 <= long[1] <= 86400, long)
    reply = ask("nx2", TXT)
    expect("NXDOMAIN is kept for every type, its SOA shows the time left", reply.rcode == NXDOMAIN and seen("nx2") == 1 and reply.records[0][4] <= 2, reply.records)
    expect("NODATA is kept", ask("nodata2").rcode == NOERROR and seen("nodata2") == 1)
    expect("... for its type alone", ask("nodata2", AAAA).rcode == NOERROR and seen("nodata2") == 2)
    expect("nothing is below what does not exist (RFC 8020)", ask("x.y.nx2").rcode == NXDOMAIN and seen("x.y.nx2") == 0)
    for extra, query_flags in ((b"", RD), (opt(flags=0x8000), RD), (b"", RD | CD), (opt(), RD), (b"", RD | AD)):
        ask("apart", flags=query_flags, extra=extra)
    expect("DO and CD are kept apart, AD and EDNS are not", seen("apart") == 3, seen("apart"))
    time.sleep(2.1)
    expect("a TTL ages", 56 <= ask("ttl60").answers()[0][4] <= 58 and seen("ttl60") == 1, ask("ttl60").answers())
    expect("a negative answer ends with its SOA's minimum", ask("nx2").rcode == NXDOMAIN and seen("nx2") == 2, seen("nx2"))
    for label in ("servfail", "refused"):
        codes = [ask(label).rcode for _ in range(2)]
        expect("%s reaches the guest and is not kept" % label, codes == [{"servfail": SERVFAIL, "refused": REFUSED}[label]] * 2 and seen(label) >= 2, codes)


def lies():
    expect("a wrong id is not believed", addresses(ask("lieid")) == ["198.51.100.10"])
    expect("another question is not believed", addresses(ask("lieques")) == ["198.51.100.10"])
    expect("records of others are not believed", addresses(ask("liemore")) == ["198.51.100.10"])
    expect("... nor kept", addresses(ask("victim")) == ["198.51.100.10"] and seen("victim") == 1)
    for number in range(4):
        began = time.monotonic()
        reply = ask("broken%d" % number, wait=6)
        expect("a broken response is SERVFAIL", reply and reply.rcode == SERVFAIL and time.monotonic() - began < 5.5, reply and reply.rcode)
    expect("a truncated answer is fetched over TCP", addresses(ask("trunc")) == ["198.51.100.10"])
    reply = ask("giant2000")
    expect("a giant RRset: TC", reply.flags & TC and not reply.answers() and len(reply.packet) <= 512)
    expect("... whole over TCP", len(tcp_ask("giant2000").answers()) == 2000)
    expect("rebinding: of the A records the public one", addresses(ask("rebind")) == ["198.51.100.10"])
    expect("rebinding: of the AAAA records the public one", addresses(ask("rebind", AAAA)) == ["2001:db8::7"], addresses(ask("rebind", AAAA)))
    expect("rebinding: of the HTTPS records the public one", [r[5][-4:] for r in ask("rebind", HTTPS).answers()] == [bytes([198, 51, 100, 10])])


def ours():
    def zone(text, kind, wanted, owner):
        reply = send(make(text, kind))
        soas = [r for r in reply.records if r[0] == 2 and r[2] == SOA]
        expect("%s %d is ours: %s, SOA of %s" % (text, kind, wanted, owner), reply.rcode == wanted and len(soas) == 1 and soas[0][1].lower() == owner and
               reply.flags & AA and not reply.answers(), reply.packet.hex())
    for text, owner in (("x.invalid", "invalid"), ("y.test", "test"), ("printer.local", "local"), ("z.onion", "onion"), ("nas.home.arpa", "home.arpa"),
                        ("1.0.0.10.in-addr.arpa", "10.in-addr.arpa"), ("9.9.20.172.in-addr.arpa", "20.172.in-addr.arpa"), ("4.3.168.192.in-addr.arpa", "168.192.in-addr.arpa"),
                        ("1.1.254.169.in-addr.arpa", "254.169.in-addr.arpa"), ("1.2.64.100.in-addr.arpa", "64.100.in-addr.arpa"), ("1.0.0.0.d.f.ip6.arpa", "d.f.ip6.arpa"),
                        ("7.2.0.192.in-addr.arpa", "2.0.192.in-addr.arpa"), ("nobody.vm.internal", "vm.internal"), ("250.100.168.192.in-addr.arpa", "100.168.192.in-addr.arpa")):
        zone(text, PTR if "arpa" in text else A, NXDOMAIN, owner)
    zone("_dns.resolver.arpa", 64, NOERROR, "resolver.arpa")
    zone("resolver.arpa", A, NOERROR, "resolver.arpa")
    zone("home.arpa", A, NOERROR, "home.arpa")
    zone("10.in-addr.arpa", PTR, NOERROR, "10.in-addr.arpa")
    zone("vmrouter.vm.internal", AAAA, NOERROR, "vm.internal")
    zone("vm.internal", TXT, NOERROR, "vm.internal")
    expect("localhost", addresses(send(make("localhost"))) == ["127.0.0.1"] and addresses(send(make("x.localhost", AAAA))) == ["::1"])
    for text in ("intranet", "Router7", "wpad"):
        expect("%s alone does not leave" % text, send(make(text)).rcode == NXDOMAIN and send(make(text, TXT)).rcode == NXDOMAIN)
    expect("a top-level domain's DS does", send(make("zz", DS)).rcode == NOERROR)
    reply = ask("any", ANY)
    expect("ANY is minimal", [r[2] for r in reply.answers()] == [HINFO] and seen("any") == 0)
    for text in ("version.bind", "hostname.bind", "authors.bind", "id.server", "version.server"):
        expect("%s is refused" % text, send(make(text, TXT, CH)).rcode == REFUSED)
    # As the exporters for dnsmasq do: seven questions in one message.
    kinds = ["cachesize", "insertions", "evictions", "misses", "hits", "auth", "servers"]
    packet = struct.pack(">6H", 9, RD, 7, 0, 0, 0) + b"".join(name(k + ".bind") + struct.pack(">HH", TXT, CH) for k in kinds)
    reply = send(packet)
    expect("dnsmasq's statistics", len(reply.questions) == 7 and [r[1] for r in reply.answers(TXT)] == [k + ".bind" for k in kinds], reply.packet.hex())
    values = list(texts(reply))
    expect("... are numbers", all(v.isdigit() for v in values[:6]) and values[0] == "10000" and int(values[4]) > 0, values)
    expect("... and the servers, with what was sent and failed", all(len(v.split()) == 3 and "#53" in v for v in values[6:]) and values[6:], values)


def hostile():
    import random
    random.seed(7)
    sample = make("www." + DOMAIN, extra=opt(options=struct.pack(">HH", 10, 8) + bytes(8)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((SERVER, 53))
        for n in range(3000):  # names that the script has no verb for
            packet = bytearray(sample if n % 3 else bytes(random.randrange(256) for _ in range(random.randrange(120))))
            for _ in range(random.randrange(6)):
                if packet:
                    packet[random.randrange(len(packet))] = random.randrange(256)
            s.send(packet[:random.randrange(len(packet) + 1)] if n % 5 == 0 else packet)
    time.sleep(0.2)
    expect("after three thousand broken queries all is well", addresses(ask("after")) == ["198.51.100.10"])
    with socket.create_connection((SERVER, 53), 4) as s:
        slow, quick = make("slow700." + DOMAIN, number=1), make("quick." + DOMAIN, number=2)
        s.sendall(b"".join(struct.pack(">H", len(p)) + p for p in (slow, quick)))
        order = []
        for _ in range(2):
            size = struct.unpack(">H", s.recv(2, socket.MSG_WAITALL))[0]
            order.append(Message(s.recv(size, socket.MSG_WAITALL)).id)
        expect("over TCP the answer that is ready comes first", order == [2, 1], order)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((SERVER, 53))
        for n in range(1000):
            s.send(make("dead%d.%s" % (n, DOMAIN), number=n))
    print("a thousand out", flush=True)
    time.sleep(1.5)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    SERVER = sys.argv[2]
    groups = {g.__name__: g for g in (headers, flags, caching, lies, ours, hostile)}
    for group in sys.argv[3:] or groups:
        groups[group]()
