#!/bin/bash
# kill -9 at any step of a life: start-up, a reload, a repair, a bridge or an address that somebody took away, the way back, and `vmrouter
# down` itself. First a life is traced, and kill_points.py picks the system calls that change the machine or the record of changes (netlink
# messages, settings, files). Then one life after the other is killed just before one of them. After each kill `vmrouter down` restores
# exactly what was there; and in a second round the next start takes over what the killed one left, is killed itself at the next point, and
# so on: the last one's stop restores what was there before the first.
#
# By default one call of each kind, in one round or the other. KILL_EVERY_CALL=1 LAB_LIMIT=3000 takes every one in every round (some 1500,
# half an hour); KILL_PART=0/4 a quarter of those, for several labs at once.
#
#     inet --- gw --- host --- virbr10 (made by vmrouter) with port0, enp6s0 (a spare port that is down, with settings and routes of its own)
export LAB_LIMIT=${LAB_LIMIT:-500}
. "$(dirname "$0")/lib.sh"

PART=${KILL_PART:-0/1}
topology_bridge
join host enp6s0 office spare0 10.55.0.1/24
join host port0 office port1
ip -6 addr add 2001:db8:55::1/64 dev enp6s0 nodad
ip -6 route add 2001:db8:56::/48 via 2001:db8:55::2 dev enp6s0 metric 77
ip -6 route add 2001:db8:57::/48 dev enp6s0 table 99
sysctl -qw net.ipv4.conf.enp6s0.arp_ignore=2 net.ipv4.conf.enp6s0.rp_filter=2
nft 'table inet admin { chain forward { type filter hook forward priority 10; policy drop; }; }' # wants our pass rule
ping -c1 -W1 10.55.0.2 >/dev/null 2>&1 || true
export ASAN_OPTIONS=detect_leaks=0 # LeakSanitizer is a debugger, and a process has one debugger only
CALLS=sendmsg,sendto,write,openat,bind,ftruncate,rename,unlink,unlinkat,rmdir,mkdir,chmod
mkdir /etc/vmrouter
for kind in bridge interface; do
    name=virbr10 && [ $kind = bridge ] || name=enp6s0
    printf '[network]\n%s = "%s"\n' $kind $name >/etc/vmrouter/$kind.first
    printf '[network]\n%s = "%s"\naddress = "192.168.130.1/24"\nmtu = 1400\nisolate_guests = true\n[firewall]\nmark = 0x4000000
source_guard = "off"\nuplink = ["eth1"]\n[[firewall.forward]]\nlisten = "tcp/2222"\nguest = "192.168.130.9"\nport = 22\n[dhcp]
checksum_fill = false\n[control]\nsocket = "/run/vmrouter/other.sock"\n' $kind $name >/etc/vmrouter/$kind.second
done
snapshot_machine "$LAB/before"
snapshot_quick "$LAB/quick"

ended() { lab_dead "$TRACER"; }
said() { grep -qE "$1" "$LAB/try.log" || ended; }
there() { "$@" || ended; }
started() { # STRACE_OPTION... -- ARGUMENT...
    local options=()
    while [ "$1" != -- ]; do options+=("$1") && shift; done
    shift
    : >"$LAB/try.log"
    strace -f -qq "${options[@]}" "$VMROUTER" "$@" >"$LAB/try.log" 2>&1 &
    TRACER=$!
}
alone() { [ -z "$(ip -4 -o addr show "$1" 2>/dev/null)" ]; }
whole() { ip -4 -o addr show "$1" | grep -q inet && nft list table inet "vmrouter_$1" && ip rule | grep -q "iif $1 "; }
life() { # KIND: what happens to the instance $TRACER from its start to its end, unless that comes earlier
    local name=virbr10 pid
    [ "$1" = bridge ] || name=enp6s0
    wait_until 20 said READY
    ended && return
    pid=$(pgrep -P "$TRACER" -o) || return 0
    ip link set port0 master virbr10 2>/dev/null || true
    cp "/etc/vmrouter/$1.second" "/etc/vmrouter/$1.toml"
    kill -HUP "$pid" 2>/dev/null || return 0
    wait_until 20 said 'RELOAD (done|.*stays in force)'
    ended && return
    nft delete table inet "vmrouter_$name" 2>/dev/null || true
    if [ "$1" = bridge ]; then ip link delete $name 2>/dev/null || true; else ip addr del 192.168.130.1/24 dev $name 2>/dev/null || true; fi
    wait_until 20 there whole "$name"
    kill -TERM "$pid" 2>/dev/null || true
}
finish() { # the exit status of $TRACER
    local status=0
    wait_until 30 ended || kill -KILL "$TRACER"
    { wait "$TRACER" || status=$?; } 2>/dev/null # the shell would report that it was killed
    lab_sanitizers "$LAB/try.log"
    ip link set port0 nomaster
    echo "$status" >"$LAB/status"
}
begin() { # KIND STRACE_OPTION...: a whole life
    local kind=$1
    shift
    cp "/etc/vmrouter/$kind.first" "/etc/vmrouter/$kind.toml"
    started "$@" -- --config "/etc/vmrouter/$kind.toml"
    life "$kind"
    finish
}
points() { # OFFSET STEP LOG OTHER_LOG...: the calls at which to kill, into POINTS; all of them, or a sample
    local offset=$1 step=$2
    shift 2
    [ -z "${KILL_EVERY_CALL:-}" ] || { set -- "$1" && offset=${PART%/*} step=${PART#*/}; }
    mapfile -t POINTS < <(python3 -I "$LAB/repo/tests/netns/kill_points.py" "$@" | awk -v s="$step" -v o="$offset" 'NR % s == o')
    [ "${#POINTS[@]}" -gt 0 ] || fail "no call to be killed at"
}
inject() { echo "-o/dev/null -etrace=$1 -einject=$1:signal=KILL:when=$2"; }
was_killed() { [ "$(cat "$LAB/status")" = 137 ]; }
compare() { # WHAT
    snapshot_quick "$LAB/quick.after"
    cmp -s "$LAB/quick" "$LAB/quick.after" && return 0
    fail "$1: something stays behind"
    diff -U0 "$LAB/quick" "$LAB/quick.after" | head -20
    return 1
}
down() { # WHAT
    if "$VMROUTER" down >"$LAB/out" 2>&1; then return 0; fi
    fail "$1: down fails"
    cat "$LAB/out"
    return 1
}
sweep_down() { # KIND: a life for each point, then `down`
    local kind=$1 point call number what kills=0 bad=0
    for point in "${POINTS[@]}"; do
        read -r call number what <<<"$point"
        # shellcheck disable=SC2046
        begin "$kind" $(inject "$call" "$number")
        if was_killed; then
            kills=$((kills + 1))
            down "$kind killed before $point" || bad=$((bad + 1))
        fi
        compare "$kind killed before $point" || { bad=$((bad + 1)) && restore; }
    done
    [ "$bad" != 0 ] || ok "$kind: $kills of ${#POINTS[@]} lives were killed, each at another call, and \`down\` restored all"
    [ "$kills" -gt $((${#POINTS[@]} / 2)) ] || fail "$kind: only $kills of ${#POINTS[@]} were killed"
}
restore() { # by hand, so that the next round begins where this one did
    "$VMROUTER" down >/dev/null 2>&1 || true
    snapshot_quick "$LAB/quick"
}
chain_of_kills() { # KIND: each start takes over from the one that was killed before it
    local kind=$1 point call number what kills=0
    for point in "${POINTS[@]}"; do
        read -r call number what <<<"$point"
        # shellcheck disable=SC2046
        begin "$kind" $(inject "$call" "$number")
        if was_killed; then kills=$((kills + 1)); fi
        grep -E 'error:|UNDO' "$LAB/try.log" | grep -v 'RELOAD\|stays in force' >"$LAB/errors" || true
        [ ! -s "$LAB/errors" ] || { fail "$kind: after kills, before $point" && head -5 "$LAB/errors"; }
    done
    begin "$kind" -o/dev/null -etrace=bind
    expect_equal "$kind: the last stop ends well" 0 "$(cat "$LAB/status")"
    if compare "$kind: after $kills kills in a row" && [ "$kills" -gt 0 ]; then
        ok "$kind: $kills of ${#POINTS[@]} starts were killed in a row, the stop of the last one restored all"
    fi
}
killed_while_serving() { # KIND
    cp "/etc/vmrouter/$1.first" "/etc/vmrouter/$1.toml"
    started -o/dev/null -etrace=bind -- --config "/etc/vmrouter/$1.toml"
    wait_until 20 said READY
    kill -KILL "$(pgrep -P "$TRACER" -o)"
    finish
}
sweep_of_down() { # KIND: `down` itself is killed, and called again
    local kind=$1 point call number what kills=0 bad=0
    for point in "${POINTS[@]}"; do
        read -r call number what <<<"$point"
        killed_while_serving "$kind"
        # shellcheck disable=SC2046
        started $(inject "$call" "$number") -- down
        finish
        if was_killed; then kills=$((kills + 1)); fi
        down "$kind: down killed before $point" || bad=$((bad + 1))
        compare "$kind: down killed before $point" || { bad=$((bad + 1)) && restore; }
    done
    [ "$bad" != 0 ] || ok "$kind: $kills of ${#POINTS[@]} \`down\` were killed, each at another call, and the next one restored all"
    [ "$kills" -gt $((${#POINTS[@]} / 2)) ] || fail "$kind: only $kills of ${#POINTS[@]} were killed"
}
for kind in bridge interface; do
    step "$kind: a whole life"
    begin $kind -y -s 60 -o "$LAB/$kind.trace.log" "-etrace=$CALLS"
    expect_equal "$kind: it ends well" 0 "$(cat "$LAB/status")"
    compare "$kind: a life without a kill" || restore
    step "$kind: kill, then down"
    every=2
    [ $kind = bridge ] || every=6 # the same kinds
    points 0 $every "$LAB/$kind.trace.log" /dev/null
    sweep_down $kind
    step "$kind: kill, start, kill, start ..."
    points 1 $every "$LAB/$kind.trace.log" /dev/null
    chain_of_kills $kind
    step "$kind: down is killed"
    killed_while_serving $kind
    started -y -s 60 -o "$LAB/$kind.down.log" "-etrace=$CALLS" -- down
    finish
    points 0 5 "$LAB/$kind.down.log" /dev/null
    sweep_of_down $kind
done
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"
