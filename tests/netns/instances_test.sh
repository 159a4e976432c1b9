#!/bin/bash
# Two instances on one machine, and instances that are killed: they share what is shared, the first to stop does not break
# the second, and the machine ends as it was found.
#
#   the network of lib.sh; virbr10 and virbr11, both made by vmrouter
# shellcheck disable=SC2034
. "$(dirname "$0")/lib.sh"

topology_bridge
snapshot_machine "$LAB/before"
ls -R /run >"$LAB/run.before"

forwarding() { cat /proc/sys/net/ipv4/conf/eth0/forwarding; }
as_found() { # WHEN
    step "$1"
    snapshot_machine "$LAB/after"
    expect_same_machine "$LAB/before" "$LAB/after"
    ls -R /run >"$LAB/run.after"
    expect_equal "/run is as it was found" "" "$(diff "$LAB/run.before" "$LAB/run.after")"
}
# start_vmrouter and stop_vmrouter know one process; this moves another one into their view.
start_other() {
    FIRST=$VMROUTER_PID VMROUTER_PID=""
    start_vmrouter "$@"
    SECOND=$VMROUTER_PID
}
# Somebody who is not root takes every lock that he can get below /run/vmrouter, and keeps them.
start_stranger() {
    background host "$1" python3 -I -c '
import fcntl, os, sys, time
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
for path in sys.argv[1:]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        continue
    for lock in (lambda: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB), lambda: fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)):
        try:
            lock()
            print("locked", path, flush=True)
        except OSError:
            pass
print("done", flush=True)
time.sleep(400)' /run/vmrouter /run/vmrouter/*
    wait_until 10 grep -q "done" "$LAB/host-$1.log"
    check "he has locked the folder" grep -qx 'locked /run/vmrouter' "$LAB/host-$1.log"
}
stop_this() { VMROUTER_PID=$1 && stop_vmrouter "${2:-TERM}"; }

step "two instances serve two segments"
start_vmrouter --bridge virbr10
run_vmrouter 1 --bridge virbr10
expect_match "the second on one segment is told of the first" "pid $VMROUTER_PID" "$(cat "$LAB/out")"
start_other --bridge virbr11
expect_match "they have different networks" '192\.168\.101\.1/24' "$(ip -o addr show virbr11)"
guest_add g1
guest_static g1 192.168.100.11/24 192.168.100.1
expect_reach g1 tcp inet 198.51.100.10 80

step "the second one stops"
stop_this "$SECOND"
expect_equal "the uplink still forwards" 1 "$(forwarding)"
expect_reach g1 tcp inet 198.51.100.10 80
VMROUTER_PID=$FIRST

step "the first one stops before the second"
start_other --bridge virbr11
stop_this "$FIRST"
expect_equal "the uplink still forwards" 1 "$(forwarding)"
guest_delete g1
stop_this "$SECOND"
as_found "both have stopped"

step "who is not root can hold nobody up"
start_vmrouter --bridge virbr10
start_stranger beside
STRANGER=$LAB_BACKGROUND
start_other --bridge virbr11
stop_this "$SECOND"
stop_this "$FIRST" KILL
start_stranger after # the lock of the killed one
start_vmrouter --bridge virbr10
stop_vmrouter KILL
run_vmrouter 0 down
kill "$STRANGER" "$LAB_BACKGROUND"
as_found "in spite of him everything is undone"

step "one is killed, the other stops"
start_vmrouter --bridge virbr10
start_other --bridge virbr11
stop_this "$FIRST" KILL
stop_this "$SECOND"
expect_equal "the uplink forwards no longer: a killed instance does not count" 0 "$(forwarding)"
run_vmrouter 0 down --instance virbr10
as_found "what the killed one left is undone"

step "one is killed, starts again and stops"
start_vmrouter --bridge virbr10
stop_vmrouter KILL
start_vmrouter --bridge virbr10
stop_vmrouter
as_found "the second start restores what was there before the first"

step "our rules in chains of others go with the last instance that has their mark"
iptables -P FORWARD DROP
write_config() { printf '[network]\nbridge = "%s"\n[firewall]\nmark = %s\n' "$2" "$3" >"/etc/$1.toml"; }
write_config one virbr10 0x100000
write_config two virbr11 0x200000
passed() { nft list chain ip filter FORWARD | sed -n 's/.*meta mark & \(0x[0-9a-f]*\) .*/\1/p' | sort | xargs; }
has_passed() { [ "$(passed)" = "$1" ]; }
start_both() {
    start_vmrouter --config /etc/one.toml
    start_other --config /etc/two.toml
}
start_both
expect_equal "both marks pass" "0x00100000 0x00200000" "$(passed)"
stop_this "$FIRST"
expect_equal "of two marks, the first stops" 0x00200000 "$(passed)"
stop_this "$SECOND"
expect_equal "and the other" "" "$(passed)"
start_both
stop_this "$SECOND"
expect_equal "of two marks, the second stops" 0x00100000 "$(passed)"
stop_this "$FIRST"
expect_equal "and the other" "" "$(passed)"
write_config two virbr11 0x100000
start_both
expect_equal "they share a mark" 0x00100000 "$(passed)"
write_config one virbr10 0x200000
kill -HUP "$FIRST"
check "a reload changes the mark of one" wait_until 5 has_passed "0x00100000 0x00200000"
stop_this "$SECOND"
expect_equal "the other one was the last with its mark" 0x00200000 "$(passed)"
stop_this "$FIRST"
write_config one virbr10 0x100000
start_both
kill "$FIRST"
stop_this "$SECOND"
wait_until 15 lab_dead "$FIRST"
expect_equal "they stop together" "" "$(passed)"
printf '[[usermode]]\nuser = "4242"\n' >/etc/user.toml
start_vmrouter --config /etc/user.toml
start_other --config /etc/one.toml
stop_this "$SECOND"
expect_equal "one that has no segment keeps nothing" "" "$(passed)"
stop_this "$FIRST"
iptables -P FORWARD ACCEPT
nft delete table ip filter

step "what stays up with on_exit = keep stays whole when another instance stops"
nft 'table inet admin { chain forward { type filter hook forward priority 10; policy drop; }; }'
start_vmrouter --bridge virbr10 --mtu 1400
start_other --bridge virbr11 --on-exit keep
guest_add g1
guest_static g1 192.168.100.11/24 192.168.100.1
has_mtu() { [ "$(cat /sys/class/net/virbr10/mtu)" = 1400 ]; }
check "a port of 1500 does not make the bridge's 1400 more" wait_until 5 has_mtu
stop_this "$SECOND"
SECOND=""
LAB_SEGMENT=virbr11
guest_add g2
guest_static g2 192.168.101.11/24 192.168.101.1
expect_reach g2 tcp inet 198.51.100.10 80
expect_reach g1 tcp inet 198.51.100.10 80
stop_this "$FIRST"
expect_reach g2 tcp inet 198.51.100.10 80
expect_refused g2 tcp lan 192.168.1.50 22
in_kept() { nft list set inet vmrouter_virbr11 vm_segments | grep -c virbr12 || true; }
expect_equal "it knows nothing of one that comes later" 0 "$(in_kept)"
guest_delete g1
LAB_SEGMENT=virbr12
start_vmrouter --bridge virbr12
FIRST=$VMROUTER_PID
guest_add g1
guest_static g1 192.168.100.11/24 192.168.100.1
expect_reach g1 tcp inet 198.51.100.10 80
expect_refused g1 tcp lan 192.168.1.50 22
expect_reach g2 tcp inet 198.51.100.10 80
guest_delete g1
guest_delete g2
LAB_SEGMENT=virbr10
stop_this "$FIRST"
expect_equal "and nothing of one that is gone" 0 "$(in_kept)"
expect_equal "our rule in the chain of others is there" 0x00100000 \
    "$(nft list chain inet admin forward | sed -n 's/.*meta mark & \(0x[0-9a-f]*\) .*/\1/p')"
run_vmrouter 0 down
expect_equal "and goes with the last" "" "$(nft list chain inet admin forward | grep 'meta mark' || true)"
nft delete table inet admin

step "names that differ in a sign only"
start_vmrouter --bridge br-a
start_other --bridge br_a
expect_equal "each has its table" "vmrouter_br-a vmrouter_br_a" "$(nft list tables inet | awk '{ print $3 }' | sort | xargs)"
stop_this "$SECOND"
expect_equal "and leaves the other's alone" vmrouter_br-a "$(nft list tables inet | awk '{ print $3 }')"
stop_this "$FIRST"
if log_has 'our rules were changed'; then fail "nobody touched another one's rules"; else ok "nobody touched another one's rules"; fi

step "the uplink may have every name that the kernel allows"
rename_uplink() { # FROM TO
    ip link set "$1" down
    ip link set "$1" name "$2"
    ip link set "$2" up
    ip route replace default via 192.168.1.1 dev "$2"
}
ip -4 route >"$LAB/routes"
rename_uplink eth0 'vpn+1'
start_vmrouter --bridge virbr10
guest_add g1
guest_static g1 192.168.100.11/24 192.168.100.1
expect_reach g1 tcp inet 198.51.100.10 80
expect_refused g1 tcp lan 192.168.1.50 22
rename_uplink 'vpn+1' 'vpn*"'
check "one that nft cannot name is said" wait_until 5 log_has 'NAME the interface vpn\*" is left out'
expect_refused g1 tcp inet 198.51.100.10 80
rename_uplink 'vpn*"' 'vpn#2'
check "and back" wait_until 5 log_has 'UPLINK vpn#2'
expect_reach g1 tcp inet 198.51.100.10 80
guest_delete g1
stop_vmrouter
expect_equal "nothing failed" "" "$(grep ' error: ' "$LAB/vmrouter.log" | grep -v 'NAME the interface')"
rename_uplink 'vpn#2' eth0
