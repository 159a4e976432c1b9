#!/bin/bash
# A machine that sleeps: what ended meanwhile has ended, the uplink is read anew and the upstreams are probed, all at once when it wakes up.
# The process is stopped for a while, and then hears what the kernel tells it after a sleep (its timer of the wall clock).
#
#     the network of lib.sh; virbr10 with g1; g9 had a lease that ends while the machine sleeps
. "$(dirname "$0")/lib.sh"

topology_bridge
mkdir -p /etc/vmrouter /var/lib/vmrouter/virbr10
printf '[network]\nbridge = "virbr10"\naddress = "192.168.100.1/24"\n[dns]\nupstreams = ["192.168.1.1", "198.51.100.53"]\n' \
    >/etc/vmrouter/vm.toml
ENDS=$(($(date +%s) + 12))
echo "$ENDS 52:54:00:99:99:99 192.168.100.99 g9 *" >/var/lib/vmrouter/virbr10/leases
start_vmrouter --config /etc/vmrouter/vm.toml
expect_match "a lease that is about to end" 192.168.100.99 "$("$VMROUTER" leases)"
guest_add g1
guest_dhcp g1 udhcpc
G1=$(guest_address g1)
dns_works() { in_node g1 dig +short +time=1 +tries=1 @192.168.100.1 www.example.net | grep -q 198.51.100.10; }
check "DNS" wait_until 10 dns_works
upstream() { # NUMBER: its health
    "$VMROUTER" status --json | python3 -I -c 'import json, sys; print(json.load(sys.stdin)["dns"]["upstreams"][int(sys.argv[1])]["health"])' "$1"
}
expect_equal "the upstreams are up" "up up" "$(upstream 0) $(upstream 1)"
background g1 flow python3 -I "$LAB/repo/tests/netns/session.py" 198.51.100.10 80 60
wait_until 5 grep -q heard "$LAB/g1-flow.log"

step "asleep until the lease has ended; meanwhile the first upstream has died"
kill -STOP "$VMROUTER_PID"
in_node gw nft 'table ip dead { chain in { type filter hook input priority 0; udp dport 53 drop; }; }'
wait_until 20 sh -c "[ \$(date +%s) -gt $ENDS ]"
strace -f -qq -o "$LAB/wake.trace" -e trace=sendmsg,sendto -p "$VMROUTER_PID" &
TRACER=$!
wait_until 10 grep -q 'TracerPid:.*[1-9]' "/proc/$VMROUTER_PID/status"
kill -CONT "$VMROUTER_PID"
check "it hears of it" python3 -I "$LAB/repo/tests/netns/wake.py" "$VMROUTER_PID"
check "it says so" wait_until 10 log_has 'CLOCK|WAKE'
ended() { ! "$VMROUTER" leases | grep -q 192.168.100.99; }
check "the lease has ended" wait_until 10 ended
is_down() { [ "$(upstream 0)" = down ]; }
check "nobody asks, and the dead upstream is found" wait_until 10 is_down
kill "$TRACER"
{ wait "$TRACER" || true; } 2>/dev/null
expect_match "the way to the internet was read anew" 'RTM_GETROUTE' "$(cat "$LAB/wake.trace")"
expect_match "the rules were read anew" 'RTM_GETRULE' "$(cat "$LAB/wake.trace")"
check "DNS, by the other one" wait_until 10 dns_works

step "asleep again: the first upstream lives again"
in_node gw nft delete table ip dead
python3 -I "$LAB/repo/tests/netns/wake.py" "$VMROUTER_PID"
is_up() { [ "$(upstream 0)" = up ]; }
check "nobody asks, and it is found" wait_until 10 is_up
expect_match "the other lease is as it was" "$G1" "$("$VMROUTER" leases)"
heard=$(wc -l <"$LAB/g1-flow.log")
check "the open connection goes on" wait_until 10 sh -c "[ \$(wc -l <'$LAB/g1-flow.log') -gt $heard ]"
expect_reach g1 tcp inet 198.51.100.10 80
expect_refused g1 tcp lan 192.168.1.50 22
guest_delete g1
stop_vmrouter
