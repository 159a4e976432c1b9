#!/bin/bash
# The real NetworkManager beside vmrouter: told, it leaves the bridge, its ports and the interface alone, over restarts, until
# it is told back. Untold, it wants an address on each and takes ports off bridges.
#
#   inet --- gw --- host --+-- virbr10 --- g1
#                          +-- enp6s0 --- switch --- g2
. "$(dirname "$0")/lib.sh"
. "$LAB_DIR/doctor.sh"
with_network_manager
topology_iface
LAB_MODE=bridge LAB_SEGMENT=virbr10

state() { nmcli -g GENERAL.STATE device show "$1" 2>/dev/null; }
is_unmanaged() { [ "$(state "$1")" = "10 (unmanaged)" ]; }
is_managed() { nmcli -g GENERAL.STATE device show "$1" >/dev/null && ! is_unmanaged "$1"; }
on_bridge() { [[ $(ip -o link show "$1") == *"master virbr10"* ]]; }
has_address() { [[ $(ip -o -4 addr show "$1") == *" $2/24 "* ]]; }
told() { cat /run/vmrouter/*.changes 2>/dev/null | grep -c '"NetworkManager"'; }

start_network_manager
step "untold, NetworkManager wants an address on what looks like Ethernet"
check "enp6s0 is managed" wait_until 10 is_managed enp6s0

step "an interface: told before the address, untold after it"
start_vmrouter --iface enp6s0
check "enp6s0 is unmanaged" wait_until 5 is_unmanaged enp6s0
expect_match "nmcli device" '^enp6s0 +ethernet +unmanaged' "$(nmcli device)"
line_of() { grep -n "$1" /run/vmrouter/enp6s0.changes | head -1 | cut -d: -f1; }
check "it was told before our address was set, and will be told back after that is gone" \
    test "$(line_of NetworkManager)" -lt "$(line_of 192.168.100.1/24)"
LAB_MODE=iface LAB_SEGMENT=enp6s0
guest_add g2
guest_dhcp g2 udhcpc
expect_service g2 "on the interface"
stop_network_manager
start_network_manager
check "enp6s0 is unmanaged after a restart" wait_until 5 is_unmanaged enp6s0
check "our address is still there" has_address enp6s0 192.168.100.1
guest_delete g2
stop_vmrouter
check "enp6s0 is managed again" wait_until 5 is_managed enp6s0
expect_equal "nobody is told anything any more" 0 "$(told)"

step "after a kill, vmrouter down tells it back"
start_vmrouter --iface enp6s0
check "enp6s0 is unmanaged" wait_until 5 is_unmanaged enp6s0
stop_vmrouter KILL
run_vmrouter 0 down
check "enp6s0 is managed again" wait_until 5 is_managed enp6s0
check "our address is gone" sh -c '! ip -o -4 addr show enp6s0 | grep -q 192.168.100.1'

step "a bridge and its ports"
LAB_MODE=bridge LAB_SEGMENT=virbr10
start_vmrouter --bridge virbr10
guest_add g1
port=$(guest_port g1)
check "the bridge is unmanaged" wait_until 5 is_unmanaged virbr10
check "the port is unmanaged" wait_until 5 is_unmanaged "$port"
guest_dhcp g1 udhcpc
step "many ports at once: NetworkManager is asked once, and what leaves is its again"
before=$(told)
each() { for number in 1 2 3 4 5 6; do "$1" "many$number" || return 1; done; }
join_bridge() { ip link add "$1" type veth peer name "$1" netns g1 && ip link set "$1" master virbr10 up; }
cat >/usr/sbin/nmcli <<END
#!/bin/sh
case "\$*" in *show*) [ "\$(cat /proc/\$PPID/comm)" != vmrouter ] || echo "\$*" >>"$LAB/asked" ;; esac
exec /usr/bin/nmcli "\$@"
END
chmod +x /usr/sbin/nmcli
kill -STOP "$VMROUTER_PID"
each join_bridge
kill -CONT "$VMROUTER_PID"
check "all are unmanaged" wait_until 10 each is_unmanaged
check "all are on the bridge" wait_until 10 each on_bridge
asked=$(wc -l <"$LAB/asked")
check "it was asked $asked times: for all of them, not for each" [ "$asked" -le 6 ]
status_of() {
    python3 -I "$LAB/repo/tests/netns/status.py" "$VMROUTER" virbr10 \
        '[(one["ok"], one["detail"]) for one in status["health"] if one["what"] == "NetworkManager leaves '"$1"' alone"]'
}
expect_equal "that is read back" "[(True, None)]" "$(status_of virbr10)"
cat >/usr/sbin/nmcli <<END
#!/bin/sh
/usr/bin/nmcli "\$@" | awk -v RS= '!/DEVICE:virbr10\n/ { print \$0 "\n" }'
END
expect_equal "one that it does not know is not said to be out of its reach because it does not run" \
    "[(True, 'it does not know it')]" "$(status_of virbr10)"
rm /usr/sbin/nmcli
ip link set many1 nomaster
check "one that is taken off is managed again" wait_until 10 is_managed many1
check "and no file names it" wait_until 5 sh -c '! grep -r many1 /run/NetworkManager/conf.d /run/systemd/network'
ip link set many1 master virbr10
check "unmanaged when it is on again" wait_until 10 is_unmanaged many1
check "on the bridge" wait_until 5 on_bridge many1
for number in 1 2 3 4 5 6; do ip link delete "many$number"; done
forgotten() { [ "$(told)" = "$before" ]; }
check "the record does not grow" wait_until 10 forgotten
step "a cure that is said"
silent
nmcli device set virbr10 managed yes
wait_until 5 is_managed virbr10
look 1
named "NetworkManager manages the bridge after all" network_manager "virbr10.*nmcli device set virbr10 managed no"
nmcli device set virbr10 managed no # the cure
check "the cure helps" wait_until 5 is_unmanaged virbr10
silent
stop_network_manager
start_network_manager
check "the bridge is unmanaged after a restart" wait_until 5 is_unmanaged virbr10
check "the port is unmanaged after a restart" wait_until 5 is_unmanaged "$port"
expect_service g1 "after a restart of NetworkManager"
check "the port is still on the bridge" on_bridge "$port"
stop_network_manager
rm -rf /run/NetworkManager/devices
start_network_manager
check "the bridge is unmanaged although NetworkManager has lost its memory" wait_until 5 is_unmanaged virbr10
check "the port is unmanaged as well" wait_until 5 is_unmanaged "$port"
expect_service g1 "after that"
check "the port is still on the bridge" on_bridge "$port"
stop_vmrouter
check "the port is managed again" wait_until 5 is_managed "$port"
expect_equal "nothing of ours is left for it" "" "$(ls /run/NetworkManager/conf.d 2>/dev/null)"
stop_network_manager
