#!/bin/bash
# The real firewalld with its bus beside vmrouter: the segment is in its zone trusted while vmrouter runs, over reloads and
# restarts, and leaves it exactly.
#
#   inet --- gw --- host (firewalld: zone public rejects) --- virbr10 --- g1
. "$(dirname "$0")/lib.sh"
with_firewalld
topology_bridge
both=("inet firewalld filter_FORWARD" "inet firewalld filter_INPUT")
zone() { firewall-cmd --get-zone-of-interface=virbr10 2>&1 || true; }
in_zone() { [ "$(zone)" = "$1" ]; }
expect_zone() { # WHEN ZONE
    if wait_until 10 in_zone "$2"; then ok "$1: virbr10 is in '$2'"; else fail "$1: virbr10 should be in '$2', is in '$(zone)'"; fi
}
# firewalld makes the chains of a zone when it is first used, and keeps them until its next reload.
use_zones() {
    local name
    for name in trusted internal; do
        firewall-cmd -q --zone=$name --change-interface=none0
        firewall-cmd -q --zone=$name --remove-interface=none0
    done
}

start_firewalld
expect_firewall_stops_guests firewalld

use_zones

step "firewalld first, vmrouter second"
snapshot_machine "$LAB/before"
start_vmrouter --bridge virbr10
expect_zone "at start" trusted
expect_passes "at start" "${both[@]}"
guest_add g1
guest_dhcp g1 udhcpc
expect_service g1 "beside firewalld"
expect_isolation g1

step "reloads and a restart"
check "firewall-cmd --reload" firewall-cmd --reload
expect_passes "after a reload" "${both[@]}"
expect_zone "after a reload" trusted
check "firewall-cmd --complete-reload" firewall-cmd --complete-reload
expect_zone "after a complete reload" trusted
expect_service g1 "after reloads"
expect_bridged g1 "beside firewalld"
stop_firewalld
expect_service g1 "without firewalld"
start_firewalld
expect_zone "after a restart" trusted
expect_passes "after a restart" "${both[@]}"
expect_service g1 "after a restart"
check "firewall-cmd still answers" firewall-cmd --zone=public --list-all

step "the zone alone is enough, where firewalld lets nobody else into its table"
kill -STOP "$VMROUTER_PID"
for chain in filter_FORWARD filter_INPUT; do
    handle=$(nft -a list chain inet firewalld $chain | sed -n 's/.*meta mark & 0x00100000.*handle //p')
    nft delete rule inet firewalld $chain handle "$handle"
done
expect_reach g1 tcp inet 198.51.100.10 80
kill -CONT "$VMROUTER_PID"
expect_passes "once it goes on" "${both[@]}"

step "exactly what is ours goes"
guest_delete g1
stop_vmrouter
expect_zone "after the stop" "no zone"
use_zones
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"

step "an administrator's own zone comes back; the bridge may be gone by then"
firewall-cmd -q --zone=internal --change-interface=virbr10
start_vmrouter --bridge virbr10
expect_zone "at the second start" trusted
stop_vmrouter KILL
ip link delete virbr10
expect_zone "after a kill" trusted
run_vmrouter 0 down
expect_zone "after vmrouter down" internal
firewall-cmd -q --zone=internal --remove-interface=virbr10
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"

step "vmrouter first, firewalld second"
stop_firewalld
start_vmrouter --bridge virbr10
expect_passes "without firewalld"
start_firewalld
expect_zone "after firewalld came" trusted
guest_add g1
guest_dhcp g1 udhcpc
expect_service g1 "after firewalld came"
expect_isolation g1
stop_vmrouter
expect_zone "after the stop" "no zone"
expect_passes "after the stop"
stop_firewalld
