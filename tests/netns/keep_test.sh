#!/bin/bash
# on_exit = "keep": bridge and firewall stay up after a stop, guests stay shut in, and `vmrouter down` restores what was there before.
# After that the same by kill -9.
#
#     the whole network of lib.sh, virbr10 with g1 192.168.100.11
. "$(dirname "$0")/lib.sh"

topology_bridge
snapshot_machine "$LAB/before"
left_up() { # HOW IT ENDED
    expect_reach g1 tcp inet 198.51.100.10 80
    expect_refused g1 tcp lan 192.168.1.50 22
    expect_refused g1 tcp host 192.168.100.1 22
    check "$1: the record is there" test -s /run/vmrouter/virbr10.changes
}
all_undone() {
    guest_delete g1
    run_vmrouter 0 down
    snapshot_machine "$LAB/after"
    expect_same_machine "$LAB/before" "$LAB/after"
    run_vmrouter 0 down
    expect_match "nothing is undone twice" "nothing to undo" "$(cat "$LAB/out")"
}
begin() {
    start_vmrouter --bridge virbr10 --address 192.168.100.1/24 "$@"
    guest_add g1
    guest_static g1 192.168.100.11/24 192.168.100.1
    expect_reach g1 tcp inet 198.51.100.10 80
}

step "stopped, with on_exit = keep"
begin --on-exit keep
stop_vmrouter
left_up "kept"
step "the next start takes over, and its stop restores"
start_vmrouter --bridge virbr10 --address 192.168.100.1/24
check "it says that it takes over" log_has "TAKE OVER"
expect_reach g1 tcp inet 198.51.100.10 80
guest_delete g1
stop_vmrouter
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"

step "kept, then down"
begin --on-exit keep
run_vmrouter 1 down
expect_match "a running instance is not undone" "already serves" "$(cat "$LAB/out")"
stop_vmrouter
left_up "kept"
all_undone

step "killed, then down"
begin
stop_vmrouter KILL
left_up "killed"
all_undone
