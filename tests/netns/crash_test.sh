#!/bin/bash
# kill -9 at any step of start-up and of the way back: before a system call that changes the machine or the record of changes (netlink
# messages, settings, files), the first, the second, the third ... of its kind until a run comes through. After each kill `vmrouter down`
# restores exactly what was there; and in a second round the next start takes over what the killed one left, is killed some steps further
# itself, and so on: the last one's stop restores what was there before the first.
#
# KILL_EVERY_CALL=1 LAB_LIMIT=3000 kills before every single call (about half an hour); otherwise before every few.
#
#     inet --- gw --- host --- virbr10 (made by vmrouter), enp6s0 (a spare port that is down, with settings and routes of its own)
export LAB_LIMIT=${LAB_LIMIT:-280}
. "$(dirname "$0")/lib.sh"

topology_bridge
join host enp6s0 office spare0 10.55.0.1/24
ip -6 addr add 2001:db8:55::1/64 dev enp6s0 nodad
ip -6 route add 2001:db8:56::/48 via 2001:db8:55::2 dev enp6s0 metric 77
ip -6 route add 2001:db8:57::/48 dev enp6s0 table 99
sysctl -qw net.ipv4.conf.enp6s0.arp_ignore=2 net.ipv4.conf.enp6s0.rp_filter=2
nft 'table inet admin { chain forward { type filter hook forward priority 10; policy drop; }; }' # wants our pass rule
ping -c1 -W1 10.55.0.2 >/dev/null 2>&1 || true
export ASAN_OPTIONS=detect_leaks=0 # LeakSanitizer is a debugger, and a process has one debugger only
snapshot_machine "$LAB/before"
snapshot_quick "$LAB/quick"
killed_at() { # CALL NUMBER ARGUMENT...: 0 when the start was killed; otherwise it serves, is stopped, and that was killed; 1: neither
    local call=$1 number=$2 tracer status=0
    shift 2
    : >"$LAB/try.log"
    strace -f -qq -o /dev/null -e trace="$call" -e inject="$call:signal=KILL:when=$number" \
        "$VMROUTER" "$@" >"$LAB/try.log" 2>&1 &
    tracer=$!
    until lab_dead "$tracer"; do
        if grep -q READY "$LAB/try.log"; then
            kill -TERM "$(pgrep -P "$tracer" -o)" 2>/dev/null || true
            wait_until 20 lab_dead "$tracer" || kill -KILL "$tracer"
        fi
        sleep 0.02
    done
    { wait "$tracer" || status=$?; } 2>/dev/null # the shell would report that it was killed
    lab_sanitizers "$LAB/try.log"
    [ "$status" = 137 ] # strace ends as its child did
}
compare() { # CALL NUMBER
    snapshot_quick "$LAB/quick.after"
    cmp -s "$LAB/quick" "$LAB/quick.after" && return 0
    fail "killed at $1 number $2: something stays behind"
    diff -U0 "$LAB/quick" "$LAB/quick.after" | head -20
    return 1
}
sweep_down() { # CALL STEP ARGUMENT...: a start for each, then `down`
    local call=$1 step=${KILL_EVERY_CALL:-$2} number=1 rounds=0 bad=0
    shift 2
    while killed_at "$call" "$number" "$@"; do
        rounds=$((rounds + 1))
        if ! "$VMROUTER" down >"$LAB/out" 2>&1; then
            fail "down after a kill at $call number $number" && cat "$LAB/out"
            bad=1
        fi
        compare "$call" "$number" || { bad=1 && break; }
        number=$((number + step))
    done
    [ "$bad" = 1 ] || compare "$call" "none" || bad=1
    if [ "$bad" = 0 ] && [ "$rounds" -gt 0 ]; then ok "$*: $rounds kills before $call (every $step.), each restored by down"; fi
    [ "$rounds" -gt 0 ] || fail "$*: no kill before $call"
}
chain_of_kills() { # CALL STEP ARGUMENT...: each start takes over from the one that was killed before it
    local call=$1 step=${KILL_EVERY_CALL:-$2} number=1 rounds=0
    shift 2
    while killed_at "$call" "$number" "$@"; do
        rounds=$((rounds + 1))
        number=$((number + step))
    done
    if compare "$call" "after $rounds kills in a row" && [ "$rounds" -gt 0 ]; then
        ok "$*: $rounds starts killed in a row before $call (every $step.), the stop of the last restores all"
    fi
}
step "kill, then down: the bridge"
sweep_down rename 3 --bridge virbr10
sweep_down write 19 --bridge virbr10
sweep_down sendmsg 13 --bridge virbr10
sweep_down sendto 67 --bridge virbr10
sweep_down unlink 7 --bridge virbr10
step "kill, start, kill, start ...: an interface with addresses, routes and settings"
chain_of_kills sendmsg 11 --iface enp6s0
chain_of_kills write 29 --iface enp6s0
sweep_down write 41 --iface enp6s0
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"
