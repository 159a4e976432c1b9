#!/bin/bash
# Conversations with the server by a client that judges every byte: states, encodings, names, relays, many at once, and guests that
# make up others.
#
#     inet --- gw --- host --- virbr10 --- g1 (udhcpc) strict, relay, crowd, attacker (packet sockets)
. "$(dirname "$0")/lib.sh"

topology_bridge
cat >"$LAB/vm.toml" <<TOML
[network]
bridge = "virbr10"
address = "192.168.100.1/24"
[dhcp]
lease_time = "10m"
options = [{ code = 224, hex = "$(printf '%0800d' 0)" }, { code = 108, u32 = 1800 }]
[[dhcp.host]]
mac = "52:54:00:ff:00:01"
name = "taken"
[[dhcp.host]]
mac = "52:54:00:ff:00:02"
address = "192.168.100.60"
TOML
leases=/var/lib/vmrouter/virbr10/leases
scene() { # NODE SCENE ARGUMENT...: each line that the client prints is a result
    local line node=$1
    shift
    step "$*"
    in_node "$node" python3 -I "$LAB/repo/tests/netns/dhcp_client.py" eth0 "$@" >"$LAB/scene-$1.log" 2>&1 || fail "$1 ends well"
    while read -r line; do
        case $line in
            "ok "*) ok "$1: ${line#ok }" ;;
            "not ok "*) fail "$1: ${line#not ok }" ;;
            *) echo "    $line" ;;
        esac
    done <"$LAB/scene-$1.log"
}

start_vmrouter --config "$LAB/vm.toml"
cat /sys/class/net/virbr10/address >/run/server_mac
guest_add g1
guest_dhcp g1 udhcpc
guest_add strict
scene strict states
check "the decline is logged, with who" log_has "DECLINE 192.168.100.[0-9]+ from $(guest_mac strict)"
check "and what follows" log_has "declined by $(guest_mac strict).*: somebody else uses it; it stays out of the pool"
check "the release is logged" log_has "RELEASE 192.168.100.[0-9]+ from $(guest_mac strict)"
scene strict names
check "a name that is refused is told, with the reason" log_has 'calls itself "wpad", which is a name that no guest may take'
scene strict encodings
guest_add twins
scene twins clones
check "the warning names both clones" log_has '52:54:00:ee:01:2d and 52:54:00:ee:01:2c have the same client-id ff:00:00:00:01:.*: cloned machines\?'

step "a relay on the segment"
guest_add relay
guest_static relay 192.168.100.250/24 192.168.100.1
in_node relay cp "$LAB/server_mac" /run/ 2>/dev/null || in_node relay sh -c "cat >/run/server_mac" </run/server_mac
scene relay relay 192.168.100.250
address=$(guest_address g1)
scene relay fake_relay 192.168.100.250 "$(guest_mac g1)" "$address"
check "g1 still has its lease" grep -q "$(guest_mac g1) $address g1 " "$leases"
step "also after a kill, when only the files remember whose it is"
stop_vmrouter KILL
start_vmrouter --config "$LAB/vm.toml"
scene relay fake_relay 192.168.100.250 "$(guest_mac g1)" "$address"
sleep 1.1
check "g1 still has its lease" grep -q "$(guest_mac g1) $address g1 " "$leases"

guest_add crowd
scene crowd burst 10
step "an attacker that begins before its port is known"
kill -STOP "$VMROUTER_PID" # so that hundreds of its frames wait when we hear of the port
guest_add attacker
has_sent() { ip -n attacker -s link show eth0 | awk -v least="$1" '/TX:/ { getline; exit $2 < least }'; }
in_node attacker python3 -I "$LAB/repo/tests/netns/dhcp_client.py" eth0 starve 1500 >"$LAB/scene-starve.log" 2>&1 &
attack=$!
check "it floods" wait_until 10 has_sent 300
kill -CONT "$VMROUTER_PID"
wait "$attack"
expect_match "an attacker gets no more than a port's share" '^offered ([0-9]|[12][0-9]|3[0-2])$' "$(grep offered "$LAB/scene-starve.log")"
check "it is told, with the port" log_has 'gets no address: its bridge port .* holds 32 already'
guest_renew g1
guest_add late
guest_dhcp late udhcpc
expect_equal "a known guest keeps its address meanwhile" "$address" "$(guest_address g1)"
offer_gone() {
    in_node attacker python3 -I "$LAB/repo/tests/netns/dhcp_client.py" eth0 burst 1 900 >"$LAB/offer.log"
    grep -q '^ok every one' "$LAB/offer.log"
}
if offer_gone; then fail "nobody else is served through its port at first"; else ok "nobody else is served through its port at first"; fi
check "when its offers have expired, even its port is served again" wait_until 30 offer_gone

step "other policies, by a reload"
sed -i 's/lease_time = "10m"/lease_time = "20m"\nauthoritative = false\nrapid_commit = true\nidentity = "client-id"\nmax_leases_per_port = 100/' "$LAB/vm.toml"
kill -HUP "$VMROUTER_PID"
wait_until 5 log_has 'RELOAD' || true
guest_add other
scene other lenient
step "more guests behind one port than it had room for"
scene crowd burst 36 500
stop_vmrouter TERM
