#!/bin/bash
# A failure at any point of start-up undoes what was done. strace makes the N-th system call of a kind fail, for N = 1, 2, 3 ...
# until a start succeeds; each failed start must end by itself with status 1, say why, and leave the machine as it was.
#
#     inet --- gw --- host --- virbr10
export LAB_LIMIT=400
. "$(dirname "$0")/lib.sh"

topology_bridge
snapshot_machine "$LAB/before"
export ASAN_OPTIONS=detect_leaks=0 # LeakSanitizer is a debugger, and a process has one debugger only
mkdir "$LAB/tries"

as_found() { # is the machine as it was? What one try left behind is not held against the next
    snapshot_machine "$LAB/after"
    cmp -s "$LAB/before" "$LAB/after" && return 0
    diff -U0 "$LAB/before" "$LAB/after" | head -20
    ip link delete virbr10 2>/dev/null || true
    nft delete table inet vmrouter_virbr10 2>/dev/null || true
    nft delete table ip mangle 2>/dev/null || true
    while ip rule del priority 100 2>/dev/null; do :; done
    rm -rf /run/vmrouter
    snapshot_machine "$LAB/before"
    return 1
}
try() { # CALL ERROR NUMBER: 0 when the start failed, 1 when it succeeded in spite of it
    local log=$LAB/tries/$1-$3.log pid status=0
    rm -rf /var/lib/vmrouter
    strace -f -qq -o /dev/null -e trace="$1" -e inject="$1:error=$2:when=$3" "$VMROUTER" --bridge virbr10 >"$log" 2>&1 &
    pid=$!
    wait_until 15 try_settled "$pid" "$log" || fail "$1 number $3 fails: still starting after 15 s"
    if ! lab_dead "$pid"; then # it serves: the failure came later than start-up, or was nothing that it needs
        kill -TERM "$(pgrep -P "$pid" -o)"
        wait_until 15 lab_dead "$pid" || { fail "$1 number $3: does not stop" && kill -KILL "$pid"; }
        wait "$pid" || status=$?
        lab_sanitizers "$log"
        if as_found; then ok "$1 number $3 fails with $2: it serves nevertheless; afterwards all is as it was"; elif
            [ "$status" = 1 ] && grep -q 'UNDO' "$log"; then
            ok "$1 number $3 fails with $2 while it stops, and it says what it could not undo (above)"
        else
            fail "$1 number $3 fails with $2: it serves nevertheless, but something stays behind"
        fi
        return 1
    fi
    wait "$pid" || status=$?
    lab_sanitizers "$log"
    if [ "$status" = 1 ] && grep -qi vmrouter "$log" && as_found; then
        ok "$1 number $3 fails with $2: status 1, all undone: $(grep -m1 'vmrouter: ' "$log" | cut -c1-90)"
    else
        fail "$1 number $3 fails with $2: status $status"
        tail -15 "$log"
    fi
}
try_settled() { lab_dead "$1" || grep -qE "$LAB_READY" "$2"; }

sweep() { # CALL ERROR MOST
    local number served=0
    step "$1 fails with $2"
    for ((number = 1; number <= $3 && served < 3; number++)); do
        if try "$1" "$2" "$number"; then served=0; else served=$((served + 1)); fi
    done
}
sweep sendmsg ENOBUFS 60
sweep bind EADDRINUSE 20
sweep setsockopt EPERM 30
sweep renameat,rename EIO 6
