#!/bin/bash
# The host's resolver changes under us: resolv.conf is rewritten, replaced, linked, missing; servers die and come back.
#
#   the whole network of lib.sh with a second DNS server 198.51.100.54 in inet, vmrouter on virbr10, one guest
. "$(dirname "$0")/lib.sh"

topology_bridge
in_node inet ip addr add 198.51.100.54/24 dev eth0
second_server() {
    background inet dns2 dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces \
        --pid-file= --listen-address=198.51.100.54 --user=root --address=/example.net/198.51.100.99
    second=$LAB_BACKGROUND
    wait_until 10 dig +short +time=1 +tries=1 @198.51.100.54 www.example.net
}
second_server
guest_asks() { in_node g1 dig +time=5 +tries=1 @192.168.100.1 "$@" 2>&1 || true; }
says() { [ "$(guest_asks +short "${2:-www.example.net}")" = "$1" ]; }
milliseconds() { "$@" | awk '/^;; Query time:/ { took = $4 } END { print took == "" ? 99999 : took }'; } # as dig takes it, without its own start
expect_below() { if [ "$3" -lt "$2" ]; then ok "$1 ($3 ms)"; else fail "$1 took $3 ms, wanted less than $2"; fi; }
expect_at_least() { if [ "$3" -ge "$2" ]; then ok "$1 ($3 ms)"; else fail "$1 took $3 ms, wanted at least $2"; fi; }

upstreams() { # of the running instance: server, health, whether a latency and an answer are known, for each one line
    python3 - <<'END'
import json, socket
with socket.socket(socket.AF_UNIX) as s:
    s.connect("/run/vmrouter/virbr10.sock")
    s.sendall(b'{"command": "status"}\n')
    line = s.makefile().readline()
status = json.loads(line)
dns = status.get("dns") or status["result"]["dns"]
for one in dns["upstreams"]:
    known = one["rtt_ms"] is not None and one["last_answer"] is not None and one["answers"] > 0
    print(one["server"], one["health"], "answered" if known else "silent", one["queries"] > 0)
print("guests", [(g["address"], g["queries"] > 0) for g in dns["guests"]])
print("cache", dns["cache_misses"] > 0 and dns["cache_hits"] >= 0 and dns["cache_bytes"] >= 0)
END
}
has_down() { [[ $(upstreams) == *"198.51.100.200 down silent"* ]]; }

step "started without any upstream"
rm -f /etc/resolv.conf
cat >"$LAB/vm.toml" <<END
[network]
bridge = "virbr10"
address = "192.168.100.1/24"
END
start_vmrouter --config "$LAB/vm.toml"
guest_add g1
guest_static g1 192.168.100.11/24 192.168.100.1 192.168.100.1
expect_match "SERVFAIL" 'status: SERVFAIL' "$(guest_asks www.example.net)"
expect_below "... at once" 500 "$(milliseconds guest_asks www.example.net)"

step "resolv.conf in all its ways"
echo "nameserver 192.168.1.1" >/etc/resolv.conf
check "created: recovers within a second" wait_until 5 says 198.51.100.10
echo "nameserver 198.51.100.54" >/etc/resolv.conf
check "written in place: the new server's answer, not the cached one" wait_until 5 says 198.51.100.99
echo "nameserver 192.168.1.1" >/etc/resolv.conf.new && mv /etc/resolv.conf.new /etc/resolv.conf
check "replaced by rename" wait_until 5 says 198.51.100.10
mkdir -p /run/resolve && echo "nameserver 198.51.100.54" >/run/resolve/stub.conf
ln -sf ../run/resolve/stub.conf /etc/resolv.conf
check "made a link" wait_until 5 says 198.51.100.99
echo "nameserver 192.168.1.1" >/run/resolve/stub.new && mv /run/resolve/stub.new /run/resolve/stub.conf
check "the file behind the link replaced" wait_until 5 says 198.51.100.10
rm -r /run/resolve
servfail() { guest_asks fresh$RANDOM.example.net | grep -q 'status: SERVFAIL'; }
check "dangling: SERVFAIL" wait_until 5 servfail
mkdir -p /run/resolve && sleep 0.2 && echo "nameserver 198.51.100.54" >/run/resolve/stub.conf
check "there again: recovers" wait_until 5 says 198.51.100.99
rm /etc/resolv.conf

step "a change of which no file event tells is seen with the next event about links"
echo "nameserver 192.168.1.1" >/etc/resolv.conf
check "the file is read" wait_until 5 says 198.51.100.10
echo "nameserver 198.51.100.54" >/run/other.conf
mount --bind /run/other.conf /etc/resolv.conf
sleep 1
check "nobody was told" says 198.51.100.10
ip link add nudge0 type bridge
check "a new link: the file is read again" wait_until 5 says 198.51.100.99
ip link del nudge0
umount /etc/resolv.conf
rm /etc/resolv.conf

step "a first server that is dead costs one query"
# 198.51.100.200 is nobody; packets to it are dropped without a word, as by a firewall.
in_node gw nft 'table ip silence { chain f { type filter hook forward priority 0; ip daddr 198.51.100.200 drop; }; }'
printf 'nameserver 198.51.100.200\nnameserver 198.51.100.54\n' >/etc/resolv.conf
knows() { upstreams | grep -q "^$1 "; }
check "it is read at once" wait_until 5 knows 198.51.100.200
first=$(milliseconds guest_asks a1.example.net)
expect_at_least "the first query" 250 "$first"
expect_below "... but no more than 400 and the answer's own time" 900 "$first"
for n in 2 3 4; do expect_below "query $n" 250 "$(milliseconds guest_asks "a$n.example.net")"; done
check "status says that the first is down" wait_until 5 has_down
said=$(upstreams)
expect_match "... and that the second answers, and how fast" '^198\.51\.100\.54 up answered True$' "$said"
expect_match "... and who asked" "^guests .*'192\.168\.100\.11', True" "$said"
expect_match "... and how the cache does" '^cache True$' "$said"

step "all dead"
kill "$second"
wait_until 5 [ ! -e "/proc/$second" ]
in_node inet nft 'table ip silence { chain i { type filter hook input priority 0; udp dport 53 ip daddr 198.51.100.54 drop; }; }'
expect_match "a name never asked: SERVFAIL" 'status: SERVFAIL' "$(guest_asks b1.example.net)"
expect_below "... within three seconds" 4500 "$(milliseconds guest_asks b2.example.net)"

step "and back"
in_node inet nft delete table ip silence
second_server
back() { guest_asks "c$RANDOM.example.net" | grep -qE 'status: (NXDOMAIN|NOERROR|REFUSED)'; }
check "the server that came back is used" wait_until 10 back
stop_vmrouter

step "held to an uplink: a stub on this machine cannot be asked, its servers can"
# A resolver on 127.0.0.53 that would ask anyone, by whatever way: it must not be asked.
background host stub dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces --pid-file= \
    --listen-address=127.0.0.53 --user=root --address=/example.net/198.51.100.66
wait_until 10 dig +short +time=1 +tries=1 @127.0.0.53 www.example.net
echo "nameserver 127.0.0.53" >/etc/resolv.conf
rm -f /run/resolve/stub.conf
printf '[firewall]\nuplink = ["eth0"]\n' >>"$LAB/vm.toml"
start_vmrouter --config "$LAB/vm.toml"
expect_match "without its servers: SERVFAIL" 'status: SERVFAIL' "$(guest_asks www.example.net)"
expect_below "... at once" 500 "$(milliseconds guest_asks www.example.net)"
stop_vmrouter
mkdir -p /run/systemd/resolve && echo "nameserver 192.168.1.1" >/run/systemd/resolve/resolv.conf
start_vmrouter --config "$LAB/vm.toml"
expect_equal "with them: their answer" 198.51.100.10 "$(guest_asks +short www.example.net)"
echo "nameserver 198.51.100.54" >/run/systemd/resolve/resolv.conf
check "... followed" wait_until 5 says 198.51.100.99
stop_vmrouter

step "held to several uplinks: to the one that leads to the internet"
sed -i 's/^uplink = .*/uplink = ["eth1", "eth0"]/' "$LAB/vm.toml"
start_vmrouter --config "$LAB/vm.toml"
expect_equal "not to the first, which is there and leads nowhere" 198.51.100.99 "$(guest_asks +short www.example.net)"
ip route del default
check "when none leads: SERVFAIL" wait_until 5 servfail
ip route add default via 192.168.1.1
check "and back" wait_until 5 says 198.51.100.99
stop_vmrouter
