#!/bin/bash
# What a guest may ask and what an upstream may say, packet by packet: dns_script.py is both, a resolver that does what a
# name tells it (slow, dead, lying, truncating, broken) and the guest that checks what becomes of it.
#
#   the whole network of lib.sh with the scripted resolver on 198.51.100.54 in inet, vmrouter on virbr10, two guests
. "$(dirname "$0")/lib.sh"

topology_bridge
script=$LAB/repo/tests/netns/dns_script.py
in_node inet ip addr add 198.51.100.54/24 dev eth0
background inet script python3 "$script" serve 198.51.100.54
upstream=$LAB_BACKGROUND
wait_until 10 grep -q serving "$LAB/inet-script.log"
cat >"$LAB/vm.toml" <<END
[network]
bridge = "virbr10"
address = "192.168.100.1/24"
[dns]
upstreams = ["198.51.100.54"]
END
start_vmrouter --config "$LAB/vm.toml"
guest_add g1
guest_add g2
guest_static g1 192.168.100.11/24 192.168.100.1 192.168.100.1
guest_static g2 192.168.100.12/24 192.168.100.1 192.168.100.1

probe() { # GROUP...
    local line
    while IFS= read -r line; do
        case $line in
            "ok - "*) ok "${line#ok - }" ;;
            *) fail "${line#not ok - }" ;;
        esac
    done < <(in_node g1 timeout 60 python3 "$script" probe 192.168.100.1 "$@" 2>&1 || echo "the probe ended early")
}
step "headers, opcodes, EDNS" && probe headers
step "flags, types, classes, bytes" && probe flags
step "what is kept, and for how long" && probe caching
step "lies, broken responses, truncation, rebinding" && probe lies
step "names that are answered here" && probe ours
never='^(UDP|TCP) ([^.]*|.*\.(invalid|test|local|onion|localhost|internal|home\.arpa|resolver\.arpa|in-addr\.arpa|ip6\.arpa)) (1|12|16|64) '
expect_equal "and none of them was asked upstream" "" "$(grep -iE "$never" "$LAB/inet-script.log" | grep -v 'vmrouter-loop.test' || true)"

step "hostile guests"
background g1 hostile timeout 60 python3 "$script" probe 192.168.100.1 hostile
wait_until 20 grep -q "a thousand out" "$LAB/g1-hostile.log"
began=$(date +%s%N)
expect_match "a thousand names that nobody answers cost another guest nothing" '198\.51\.100\.10' \
    "$(in_node g2 dig +short +time=2 +tries=1 @192.168.100.1 fresh.script.example)"
took=$((($(date +%s%N) - began) / 1000000))
if [ "$took" -lt 1000 ]; then ok "... not even time"; else fail "it took $took ms"; fi
expect_equal "nothing was wrong" "" "$(grep '^not ok' "$LAB/g1-hostile.log" || true)"
expect_equal "all was tried" 2 "$(grep -c '^ok' "$LAB/g1-hostile.log" || true)"

step "stale answers while the upstream is away"
in_node g1 dig +short @192.168.100.1 ttl1.script.example >/dev/null
sleep 1.2
kill -STOP "$upstream"
stale() { in_node g1 dig +time=5 +tries=1 @192.168.100.1 "$@" ttl1.script.example 2>&1; }
first=$(stale)
expect_match "the old answer" 'ttl1\.script\.example\.[[:space:]]+30[[:space:]]+IN[[:space:]]+A[[:space:]]+198\.51\.100\.10' "$first"
expect_match "... says so" 'EDE: 3' "$first"
began=$(date +%s%N)
expect_match "and the next at once, without EDNS without a mark" 'ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 0' "$(stale +noedns)"
took=$((($(date +%s%N) - began) / 1000000))
if [ "$took" -lt 1000 ]; then ok "... at once"; else fail "it took $took ms"; fi
kill -CONT "$upstream"
fresh() { [[ $(stale) =~ ttl1\.script\.example\.[[:space:]]+[01][[:space:]] ]]; }
check "fresh again when it is back" wait_until 10 fresh
stop_vmrouter
