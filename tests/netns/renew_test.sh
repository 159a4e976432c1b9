#!/bin/bash
# Clients renew by themselves when their time has come, by unicast (RENEWING), and go on across a restart of vmrouter and a kill.
#
#     inet --- gw --- host --- virbr10 --- g1 (udhcpc) g2 (dhclient) g3 (dhcpcd)
. "$(dirname "$0")/lib.sh"

topology_bridge
cat >"$LAB/vm.toml" <<'TOML'
[network]
bridge = "virbr10"
[dhcp]
lease_time = "2m"
renew_time = "4s"
TOML
leases=/var/lib/vmrouter/virbr10/leases
expiry_of() { awk -v mac="$(guest_mac "$1")" '$2 == mac { print $1 }' "$leases"; }
is_newer() { [ "$(expiry_of "$1")" -gt "$2" ]; }
renews() { # WHEN: each client's lease moves on, and its address stays
    local name before address
    for name in g1 g2 g3; do
        before=$(expiry_of "$name")
        address=$(guest_address "$name")
        # udhcpc takes half of the lease whatever T1 says: it is told. Seconds are what the file counts.
        [ "$name" != g1 ] || { sleep 1.1 && guest_renew g1; }
        if wait_until 25 is_newer "$name" "$before"; then ok "$name renews $1"; else fail "$name renews $1"; fi
        expect_equal "$name keeps its address $1" "$address" "$(guest_address "$name")"
    done
}

start_vmrouter --config "$LAB/vm.toml"
number=0
for client in udhcpc dhclient dhcpcd; do
    number=$((number + 1))
    guest_add "g$number"
    guest_dhcp "g$number" "$client"
done
wait_until 3 test -s "$leases"
renews "while all is well"

step "a restart: the bridge goes and comes, the guests' ports are attached again"
stop_vmrouter TERM
start_vmrouter --config "$LAB/vm.toml"
for number in 1 2 3; do
    expect_match "the port of g$number is on the bridge" 'master virbr10' "$(ip link show "$(guest_port "g$number")")"
done
renews "after a restart"

step "a kill: leases come back from file and journal"
stop_vmrouter KILL
start_vmrouter --config "$LAB/vm.toml"
renews "after a kill"
expect_reach g2 tcp inet 198.51.100.10 80
stop_vmrouter TERM
