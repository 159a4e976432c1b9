#!/bin/bash
# What the commands show on a terminal and what they do not elsewhere: progress of what takes long, colours, NO_COLOR.
#
#     inet --- gw --- host --- virbr10 --- web
. "$(dirname "$0")/lib.sh"

topology_bridge
start_vmrouter --bridge virbr10
guest_add web
guest_dhcp web udhcpc
expect_blocked web tcp lan 192.168.1.50 22
in_node web dig +short www.example.net >/dev/null
nft 'table inet hardening { chain early { type filter hook forward priority -150; policy drop; }; }' # something for doctor to say

# COMMAND on a terminal: what it wrote there is in $LAB/typed. One that goes on is ended as soon as that has UNTIL.
on_terminal() { # [NAME=VALUE] UNTIL COMMAND...
    local set=()
    if [[ $1 == *=* ]]; then set=("$1") && shift; fi
    local until=$1
    shift
    : >"$LAB/typed"
    rm -f "$LAB/pid"
    env TERM=xterm-256color "${set[@]}" script -qfc "echo \$\$ >$LAB/pid; exec $VMROUTER $*" "$LAB/typed" </dev/null >/dev/null 2>&1 &
    local script=$!
    wait_until 30 grep -qE -- "$until" "$LAB/typed" || fail "$* says '$until'"
    case $1 in capture | monitor | ip) kill "$(cat "$LAB/pid")" 2>/dev/null || true ;; esac
    wait "$script" || true
}
long() { # TEXT COMMAND...
    local text=$1
    shift
    on_terminal "$text" "$@"
    expect_match "$1 shows on a terminal what it does" "$text" "$(cat "$LAB/typed")"
    expect_match "... on a line that is wiped away" $'\r\e\\[K' "$(cat "$LAB/typed")"
    timeout "$limit" "$VMROUTER" "$@" >"$LAB/piped" 2>"$LAB/complaints" || true
    expect_equal "... and not into a file" "" "$(grep -aE "$text"'|'$'\r' "$LAB/piped" "$LAB/complaints" || true)"
}
step "progress"
limit=60
long 'sending [0-9]+ probes' verify --target 198.51.100.10 --rebind rebind.example.net --wait 0.5
long 'looking at this machine' doctor
long 'looking for the guest' doctor --guest web
limit=2 # these go on
long 'capturing; Ctrl-C ends' capture -o "$LAB/web.pcapng"
long 'waiting for nobody' ip nobody --wait 60

step "colours"
colours() { grep -cE $'\e\\[[0-9;]*m' "$LAB/typed" || true; }
for command in "leases" "status" "doctor" "doctor --guest web" "verify --target 198.51.100.10 --rebind rebind.example.net --wait 0.5" \
    "monitor --only dns"; do
    text=.
    case $command in
        monitor*) # something to see, until it is seen
            text=www.example.net
            (while ! [ -e "$LAB/seen" ]; do in_node web dig +short +tries=1 www.example.net >/dev/null; sleep 0.2; done) &
            ;;
    esac
    # shellcheck disable=SC2086
    on_terminal "$text" $command
    if [ "$(colours)" -gt 0 ]; then ok "$command: colours on a terminal"; else fail "$command: colours on a terminal"; fi
    # shellcheck disable=SC2086
    on_terminal NO_COLOR=1 "$text" $command
    if [ -s "$LAB/typed" ]; then ok "$command: says something with NO_COLOR"; else fail "$command: says something with NO_COLOR"; fi
    expect_equal "$command: never with NO_COLOR" 0 "$(colours)"
    case $command in monitor*) limit=2 ;; *) limit=60 ;; esac
    # shellcheck disable=SC2086
    timeout "$limit" "$VMROUTER" $command >"$LAB/typed" 2>&1 || true
    expect_equal "$command: never in a file" 0 "$(colours)"
done
touch "$LAB/seen"
wait "$!" || true
stop_vmrouter TERM
