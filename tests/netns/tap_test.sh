#!/bin/bash
# Guests on taps of `vmrouter tap`: the process that has one open keeps it through a restart, as QEMU must; with isolate_guests a tap
# joins isolated.
#
#     inet --- gw --- host --- virbr10 --- vnet1 other (a cable)
#                                   |----- vnet81 t1, vnet82 t2 (taps, each open in a process)
#                                   `----- vnet83 (a tap that nobody opens)
. "$(dirname "$0")/lib.sh"

topology_bridge
lab_user operator 4242
snapshot_quick "$LAB/before"
wires=0
wired() { # GUEST TAP: a guest on a tap
    node_add "$1"
    LAB_NUMBER[$1]=$((0x80 + ++wires))
    rm -f "$LAB/host-wire-$1.log" # of a guest of that name that is gone
    background host "wire-$1" python3 -I "$LAB/repo/tests/netns/tap.py" wire "$2" "/run/netns/$1" eth0
    WIRE=$LAB_BACKGROUND
    wait_until 10 grep -q wired "$LAB/host-wire-$1.log"
    in_node "$1" ip link set eth0 address "$(guest_mac "$1")" up
    watch "$1"
    guest_dhcp "$1" udhcpc
}
master_of() { basename "$(readlink "/sys/class/net/$1/master")"; }
on_bridge() { [ "$(master_of "$1")" = virbr10 ]; }
isolated() { cat "/sys/class/net/$1/brport/isolated"; }
is_gone() { ! test -e "/sys/class/net/$1"; }

step "a guest on a tap"
cat >/etc/vm.toml <<<$'[network]\nbridge = "virbr10"'
start_vmrouter --config /etc/vm.toml
ip link property add dev brother altname vnet81
run_vmrouter 1 tap vnet81 --user operator
expect_match "a second name of another interface is taken" "there is an interface of that name already" "$(cat "$LAB/out")"
check "whose it is has lost nothing" ip link show brother
ip link property del dev brother altname vnet81
run_vmrouter 0 tap vnet81 --user operator
wired t1 vnet81
guest_add other
guest_dhcp other udhcpc
serve other tcp/80
lease=$(guest_address t1)
expect_reach t1 tcp inet 198.51.100.10 80
expect_reach t1 tcp other "$(guest_address other)" 80

step "a restart, now with isolate_guests"
stop_vmrouter TERM
check "the tap is still there" test -e /sys/class/net/vnet81
check "it has no master" sh -c '! test -e /sys/class/net/vnet81/master'
if log_has 'KEEP vnet81'; then ok "it is said"; else fail "it is said"; fi
check "who has it open noticed nothing" kill -0 "$WIRE"
echo 'isolate_guests = true' >>/etc/vm.toml
forwarding=/proc/sys/net/ipv4/conf/eth0/forwarding
mount --bind $forwarding $forwarding
mount -o remount,bind,ro $forwarding
run_vmrouter 1 --config /etc/vm.toml
expect_match "a start fails at its last step" "eth0/forwarding" "$(cat "$LAB/out")"
umount $forwarding
check "the tap is still there" test -e /sys/class/net/vnet81
start_vmrouter --config /etc/vm.toml
expect_equal "it is on the bridge again" virbr10 "$(master_of vnet81)"
expect_equal "isolated" 1 "$(isolated vnet81)"
expect_reach t1 tcp inet 198.51.100.10 80
expect_equal "the guest has kept its address" "$lease" "$(guest_address t1)"
expect_blocked t1 tcp other "$(guest_address other)" 80

step "a tap joins isolated"
run_vmrouter 0 tap vnet82 --user operator
expect_equal "isolated" 1 "$(isolated vnet82)"
wired t2 vnet82
serve t1 tcp/80
expect_reach t2 tcp inet 198.51.100.10 80
in_node t2 ip neigh replace "$(guest_address other)" lladdr "$(guest_mac other)" dev eth0 # or nothing would leave it
in_node t2 ip neigh replace "$lease" lladdr "$(guest_mac t1)" dev eth0
expect_blocked t2 tcp other "$(guest_address other)" 80
expect_blocked t2 tcp t1 "$lease" 80

step "a killed instance"
stop_vmrouter KILL
start_vmrouter --config /etc/vm.toml
expect_equal "its taps are ours again" "virbr10 virbr10" "$(master_of vnet81) $(master_of vnet82)"
expect_reach t1 tcp inet 198.51.100.10 80

step "a tap that somebody deletes"
run_vmrouter 0 tap vnet84 --user operator
ip link delete vnet84
check "it is forgotten" wait_until 5 sh -c '! grep -q vnet84 /run/vmrouter/virbr10.changes'
step "the end"
run_vmrouter 0 tap vnet83 --user operator
stop_vmrouter TERM
check "a tap that nobody has open goes at once" is_gone vnet83
check "those that are open stay" sh -c 'test -e /sys/class/net/vnet81 && test -e /sys/class/net/vnet82'
run_vmrouter 0 down
expect_match "down says so" "virbr10: everything is as it was before" "$(cat "$LAB/out")"
check "they are gone" sh -c '! test -e /sys/class/net/vnet81 && ! test -e /sys/class/net/vnet82'
run_vmrouter 0 down
expect_match "nothing is left" "nothing to undo" "$(cat "$LAB/out")"
guest_delete other
snapshot_quick "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"

step "whoever has it open goes first"
start_vmrouter --config /etc/vm.toml
run_vmrouter 0 tap vnet81 --user operator
node_delete t1
wired t1 vnet81
kill "$WIRE"
wait_until 5 lab_gone "$WIRE"
stop_vmrouter TERM
check "then the tap goes with us" is_gone vnet81
