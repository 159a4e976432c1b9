#!/bin/bash
# Nothing polls: with a guest that holds a lease and says nothing, no thread of vmrouter wakes up.
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
stop_vmrouter TERM
