#!/bin/bash
# The real firewalld with its other backend, FirewallBackend=iptables: its rules are in the tables of iptables, and go as ufw's do.
#
#   inet --- gw --- host (firewalld: zone public rejects) --- virbr10 --- g1
. "$(dirname "$0")/lib.sh"
with_firewalld
topology_bridge
sed -i 's/^FirewallBackend=.*/FirewallBackend=iptables/' /etc/firewalld/firewalld.conf
both=("ip filter FORWARD" "ip filter INPUT")
# While it reloads, firewalld drops everything in every table, and its ebtables-restore gives up when a transaction of ours comes in the
# middle of it. Our rule goes in when all that is over; on a busy machine that looks so in the middle of it too, and where we got in then
# (security), our rule stays until the end.
passes_both() { passes_are "${both[@]}" || passes_are "${both[@]}" "ip security FORWARD" "ip security INPUT"; }
start_firewalld
expect_match "its rules are iptables'" 'FORWARD_POLICIES_pre|FORWARD_IN_ZONES' "$(iptables -S)"
expect_firewall_stops_guests firewalld

step "firewalld first, vmrouter second"
iptables -S | sort -s -k 1,2 >"$LAB/before.iptables"
start_vmrouter --bridge virbr10
expect_passes "at start" "${both[@]}"
guest_add g1
guest_dhcp g1 udhcpc
expect_service g1 "beside firewalld"
expect_isolation g1
expect_iptables "beside firewalld"
check "firewall-cmd --reload" firewall-cmd --reload
check "after a reload our rules are there" wait_until 5 passes_both
expect_service g1 "after a reload"
check "firewall-cmd --complete-reload" firewall-cmd --complete-reload
check "after a complete reload our rules are there" wait_until 5 passes_both
expect_service g1 "after a complete reload"
guest_delete g1
stop_vmrouter
expect_equal "our rules are gone" "" "$(passes)"
iptables -S | sort -s -k 1,2 >"$LAB/after.iptables"
check "the rules are as they were" diff "$LAB/before.iptables" "$LAB/after.iptables"
stop_firewalld
