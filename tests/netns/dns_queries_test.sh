#!/bin/bash
# DNS as guests use it: dig in its modes, the resolvers of glibc, musl and busybox, TCP that is abused, and nobody but
# guests is answered.
#
#   the whole network of lib.sh, vmrouter on virbr10, two guests
. "$(dirname "$0")/lib.sh"

topology_bridge
cat >"$LAB/vm.toml" <<END
[network]
bridge = "virbr10"
address = "192.168.100.1/24"
END
start_vmrouter --config "$LAB/vm.toml"
guest_add g1
guest_add g2
guest_static g1 192.168.100.11/24 192.168.100.1 192.168.100.1
guest_static g2 192.168.100.12/24 192.168.100.1 192.168.100.1

ask() { in_node g1 dig +time=5 +tries=1 @192.168.100.1 "$@" 2>&1 || true; }
expect_answer() { # TEXT REGEX DIG-ARGUMENT...
    local text=$1 wanted=$2
    shift 2
    expect_match "$text" "$wanted" "$(ask "$@")"
}
expect_no_match() { # TEXT REGEX FOUND
    if grep -qE -- "$2" <<<"$3"; then fail "$1: found /$2/ in $3"; else ok "$1"; fi
}

step "dig in all its modes"
expect_answer "A" '^198\.51\.100\.10$' +short www.example.net A
expect_answer "AAAA" '^2001:db8:100::10$' +short www.example.net AAAA
expect_answer "a chain of CNAMEs" 'CNAME.*www\.example\.net' +noall +answer alias.example.net
expect_answer "over TCP" '^198\.51\.100\.10$' +short +tcp www.example.net
expect_answer "without EDNS" '^198\.51\.100\.10$' +short +noedns www.example.net
expect_match "... and no OPT comes back" '^0$' "$(ask +noedns www.example.net | grep -c 'OPT PSEUDOSECTION' || true)"
expect_answer "with DO" 'flags: do; udp: 1232' +dnssec www.example.net
expect_answer "with a cookie, an unknown option and padding" 'status: NOERROR' +cookie +ednsopt=65001:beef +padding=128 www.example.net
expect_answer "an EDNS version we do not know" 'status: BADVERS' +edns=1 +noednsnegotiation www.example.net
expect_answer "a type we do not know" 'status: (NOERROR|NXDOMAIN)' www.example.net TYPE65280
expect_answer "HTTPS" 'status: NOERROR' www.example.net TYPE65
expect_answer "ANY is minimal" 'HINFO' +noall +answer www.example.net ANY
expect_answer "another opcode" 'status: NOTIMP' +opcode=notify www.example.net
expect_answer "a zone transfer" '(REFUSED|failed)' +tcp example.net AXFR
expect_answer "CHAOS" 'status: REFUSED' version.bind TXT CH
expect_answer "... but for dnsmasq's statistics" '^"[0-9]+"$' +short cachesize.bind TXT CH
expect_answer "no such name" 'status: NXDOMAIN' nothere.example.net
expect_answer "the case of the question is kept" 'wWw\.eXAMPLE\.nET\.' +noall +question wWw.eXAMPLE.nET
expect_answer "a large answer is truncated" 'flags:[^;]* tc' +ignore +bufsize=1232 big.example.net TXT
expect_match "... and whole over TCP" 'part.*015' "$(ask +short big.example.net TXT | tr -d '\n')"
expect_answer "TCP that is kept open" '^198\.51\.100\.10' +tcp +keepopen +short www.example.net A www.example.net A
expect_answer "our own name" '^192\.168\.100\.1$' +short -x 192.168.100.1 +noall +answer vmrouter.vm.internal A

step "nothing of the LAN is said"
expect_answer "a name that points into the LAN" 'ANSWER: 0' rebind.example.net
expect_no_match "... nor in another form" '192\.168\.1\.50' "$(ask rebind.example.net ANY; ask +tcp rebind.example.net)"
check "... and the log says so" log_has 'REBIND rebind\.example\.net for 192\.168\.100\.11: 1 record'
expect_answer "a name that only the LAN has" 'ANSWER: 0' nas.lan
expect_answer "a single label" 'status: NXDOMAIN' nas
expect_answer "the reverse of a LAN address" 'status: NXDOMAIN' -x 192.168.1.50

step "the resolvers that guests have"
expect_match "glibc" '^198\.51\.100\.10 ' "$(in_node g1 getent ahostsv4 www.example.net)"
for option in single-request single-request-reopen use-vc edns0 trust-ad no-tld-query; do
    in_node g1 sh -c "printf 'nameserver 192.168.100.1\noptions $option\n' >/etc/resolv.conf"
    expect_match "glibc with $option" '^198\.51\.100\.10 ' "$(in_node g1 getent ahosts www.example.net)"
    expect_match "... and AAAA" '^2001:db8:100::10 ' "$(in_node g1 getent ahosts www.example.net)"
done
expect_match "busybox" '198\.51\.100\.10' "$(in_node g1 busybox nslookup www.example.net 192.168.100.1 2>&1 || true)"
cat >"$LAB/parallel.py" <<'END'
# As musl does: A and AAAA at once from one socket; both must be answered, each once.
import socket, struct, sys
def query(number, name, kind):
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack(">HH", kind, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
seen = []
for n in range(20):
    name = "www.example.net" if n % 2 else "n%d.example.net" % n
    s.sendto(query(2 * n, name, 1), (sys.argv[1], 53))
    s.sendto(query(2 * n + 1, name, 28), (sys.argv[1], 53))
    seen += [struct.unpack(">H", s.recvfrom(4096)[0][:2])[0] for _ in range(2)]
print("all" if sorted(seen) == list(range(40)) else seen)
END
expect_equal "musl's way of asking" all "$(in_node g1 python3 "$LAB/parallel.py" 192.168.100.1)"
cat >"$LAB/pipeline.py" <<'END'
# Forty questions in one piece over TCP, then no more to say: all answers come, whole, and the connection ends.
import socket, struct, sys
def query(number, name):
    q = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack(">HH", 1, 1)
    return struct.pack(">H", len(q)) + q
s = socket.create_connection((sys.argv[1], 53), 3)
s.sendall(b"".join(query(n, "p%d.example.net" % n if n % 2 else "www.example.net") for n in range(40)))
s.shutdown(socket.SHUT_WR)
data = b""
while True:
    piece = s.recv(65536)
    if not piece: break
    data += piece
seen = []
while data:
    size = struct.unpack(">H", data[:2])[0]
    seen.append(struct.unpack(">H", data[2:4])[0])
    data = data[2 + size:]
print("all" if sorted(seen) == list(range(40)) else seen)
END
expect_equal "pipelined queries on one connection" all "$(in_node g1 python3 "$LAB/pipeline.py" 192.168.100.1)"

step "a guest that abuses TCP changes nothing for another"
cat >"$LAB/abuse.py" <<'END'
import socket, sys, time
held = []
for n in range(100):
    s = socket.create_connection((sys.argv[1], 53), 3)
    if n % 3 == 1: s.send(b"\0\x40\x12\x34")   # half a query
    if n % 3 == 2: s.send(b"\0")               # half a length
    held.append(s)
print("holding", flush=True)
time.sleep(60)
END
background g1 abuse python3 "$LAB/abuse.py" 192.168.100.1
wait_until 10 grep -q holding "$LAB/g1-abuse.log"
began=$(date +%s%N)
for name in one two three; do
    expect_match "$name, over UDP" 'status: NXDOMAIN' "$(in_node g2 dig +time=2 +tries=1 @192.168.100.1 "$name.example.net")"
    expect_match "$name, over TCP" '198\.51\.100\.10' "$(in_node g2 dig +time=2 +tries=1 +tcp +short @192.168.100.1 www.example.net)"
done
took=$((($(date +%s%N) - began) / 1000000))
if [ "$took" -lt 3000 ]; then ok "all at once"; else fail "six queries took $took ms"; fi
expect_match "the guest itself has UDP still" '198\.51\.100\.10' "$(ask +short www.example.net)"

step "the host is answered, nobody else"
expect_match "the host" '198\.51\.100\.10' "$(dig +time=2 +tries=1 +short @192.168.100.1 www.example.net)"
for node in lan office inet; do
    for address in 192.168.1.2 203.0.113.2 10.77.0.1 192.168.100.1; do
        in_node "$node" ip route replace 192.168.100.0/24 via "$( # as somebody would who wants to get there
            case $node in lan) echo 192.168.1.2 ;; office) echo 203.0.113.2 ;; inet) echo 198.51.100.1 ;; esac)"
        for mode in +notcp +tcp; do
            expect_no_match "$node asks $address $mode" 'status:|198\.51\.100\.10' \
                "$(in_node "$node" dig +time=1 +tries=1 $mode "@$address" www.example.net 2>&1 || true)"
        done
    done
done
for address in 192.168.1.2 203.0.113.2 10.77.0.1 127.0.0.1; do
    expect_no_match "nothing listens on $address" 'status:' "$(dig +time=1 +tries=1 "@$address" www.example.net 2>&1 || true)"
done
stop_vmrouter
