#!/bin/bash
# The real ufw beside vmrouter: enabled before it and after it, reloaded, disabled and flushed meanwhile.
#
#   inet --- gw --- host (ufw: input and forward dropped) --- virbr10 --- g1
. "$(dirname "$0")/lib.sh"
with_ufw
topology_bridge
both=("ip filter FORWARD" "ip filter INPUT")
# ufw and iptables-restore make tables and chains anew, in an order of their own; the order of the rules in a chain counts.
state() { # FILE
    snapshot_machine "$LAB/snapshot"
    {
        sed '/^== nft/,/^== links/d; /accept_redirects\|log_martians/d' "$LAB/snapshot" # ufw sets these at each enable
        nft list tables | sort
        iptables -S | sort -s -k 1,2
    } >"$1"
}

start_control
guest_add g1
guest_static g1 192.168.100.21/24 192.168.100.1
expect_reach g1 tcp inet 198.51.100.10 80
check "ufw enable" ufw --force enable
step "control: ufw stops a guest"
expect_blocked g1 tcp inet 198.51.100.10 80
expect_blocked g1 udp host 192.168.100.1 5353
stop_control
guest_delete g1

step "ufw first, vmrouter second"
state "$LAB/before"
start_vmrouter --bridge virbr10
expect_passes "at start" "${both[@]}"
guest_add g1
guest_dhcp g1 udhcpc
expect_service g1 "beside ufw"
expect_isolation g1

step "ufw goes on working, and so do we"
check "ufw reload" ufw reload
expect_passes "after a reload" "${both[@]}"
expect_bridged g1 "beside ufw"
check "ufw allow" ufw allow 8080/tcp
check "ufw delete allow" ufw delete allow 8080/tcp
expect_passes "after rules were added" "${both[@]}"
expect_match "ufw status" '^Status: active' "$(ufw status)"
expect_iptables "beside ufw"
expect_passes "after iptables-restore" "${both[@]}"
check "ufw disable" ufw disable
check "ufw enable" ufw --force enable
expect_passes "after disable and enable" "${both[@]}"
expect_service g1 "after all of that"

step "our rule in ufw's chains opens nothing once our own table is gone"
kill -STOP "$VMROUTER_PID"
nft delete table inet vmrouter_virbr10
expect_blocked g1 tcp inet 198.51.100.10 80
expect_blocked g1 tcp host 192.168.100.1 22
kill -CONT "$VMROUTER_PID"
wait_until 5 nft list table inet vmrouter_virbr10 || fail "our table is back"
expect_service g1 "once the table is back"

step "exactly our rules go, on exit and after a kill"
guest_delete g1
stop_vmrouter
expect_passes "after the stop"
state "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"
start_vmrouter --bridge virbr10
expect_passes "at the second start" "${both[@]}"
stop_vmrouter KILL
expect_passes "after a kill" "${both[@]}"
run_vmrouter 0 down
expect_passes "after vmrouter down"
state "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"

step "vmrouter first, ufw second"
check "ufw disable" ufw disable
start_vmrouter --bridge virbr10
expect_passes "without ufw"
guest_add g1
guest_dhcp g1 udhcpc
check "ufw enable" ufw --force enable
expect_passes "after ufw came" "${both[@]}"
expect_service g1 "after ufw came"
expect_isolation g1
check "ufw-init flush-all" /lib/ufw/ufw-init flush-all
check "ufw disable" ufw disable
check "ufw enable" ufw --force enable
expect_passes "after everything was flushed" "${both[@]}"
expect_service g1 "after everything was flushed"
check "ufw disable" ufw disable
stop_vmrouter
expect_passes "after the stop"
