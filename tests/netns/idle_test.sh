#!/bin/bash
# Nothing polls: with a guest that holds a lease and says nothing, no thread of vmrouter wakes up; and what does not concern it
# wakes it for a moment only.
#
#     inet --- gw --- host --- virbr10 --- g1 (udhcpc)
. "$(dirname "$0")/lib.sh"

topology_bridge
start_vmrouter --bridge virbr10
guest_add g1
guest_dhcp g1 udhcpc
expect_reach g1 tcp inet 198.51.100.10 80

tree() { # PID: itself and its descendants
    local child
    echo "$1"
    for child in $(pgrep -P "$1" || true); do tree "$child"; done
}
switches() { # context switches of every thread, voluntary and not
    local pid
    for pid in $(tree "$VMROUTER_PID"); do
        cat /proc/"$pid"/task/*/status
    done | awk '/ctxt_switches/ { sum += $2 } END { print sum }'
}
step "settling: timers of what has just happened run out"
sleep 12
quiet=no
for _ in 1 2 3; do # neighbours on the LAN are re-checked by the kernel now and then, which is news and not polling
    before=$(switches)
    sleep 5
    after=$(switches)
    echo "context switches in 5 s: $((after - before)) of $(tree "$VMROUTER_PID" | wc -l) processes"
    [ "$before" != "$after" ] || { quiet=yes && break; }
done
expect_equal "five seconds without a wake-up" yes "$quiet"

step "what router advertisements change on other links starts no repair"
background host calls strace -f -qq -e trace=recvfrom,sendto,sendmsg,sendmmsg -o "$LAB/calls" -p "$VMROUTER_PID"
wait_until 10 grep -q 'TracerPid:.*[1-9]' "/proc/$VMROUTER_PID/status"
heard() { [ "$(grep -c "recvfrom(.*RTM_NEWADDR" "$LAB/calls")" -ge "$1" ]; }
for lifetime in 901 902 903; do # the kernel says the same whoever changes it
    ip -6 addr change 2001:db8:1::2/64 dev eth0 valid_lft $lifetime preferred_lft 300
    check "it hears of that" wait_until 5 heard $((lifetime - 900))
done
said() { grep -cE ' send(to|msg|mmsg)\(' "$LAB/calls" || true; }
has_asked() { [ "$(said)" -gt 0 ]; }
expect_equal "and asks the kernel nothing" 0 "$(said)"
sysctl -qw net.ipv6.conf.virbr10.disable_ipv6=0
check "when IPv6 comes to the segment it does" wait_until 5 has_asked
kill "$LAB_BACKGROUND"
stop_vmrouter TERM
