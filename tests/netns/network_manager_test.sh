#!/bin/bash
# The real NetworkManager, on a machine with a bridge of ours: told at run time it leaves bridge, port and address alone, over
# restarts, until it is told back. (Untold, it takes a port with a profile of its own off a bridge when it starts.)
#
#   virbr10 192.168.100.1/24 --- vnet0 (port)
. "$(dirname "$0")/lib.sh"

MANAGERS=$(dirname "$VMROUTER")/../tests/unit_managers
for program in NetworkManager nmcli dbus-daemon; do
    command -v "$program" >/dev/null || skip "$program is not there"
done
check "the managers are built" test -x "$MANAGERS"

mkdir -p /run/dbus /run/NetworkManager
mount -o remount,ro,bind /sys 2>/dev/null || mount -t sysfs -o ro sysfs /sys # without udev it wants /sys like this
ip link add virbr10 type bridge
ip link add vnet0 type veth peer name guest0
ip link set guest0 up
ip link set vnet0 master virbr10
ip link set vnet0 up
ip link set virbr10 up
ip addr add 192.168.100.1/24 dev virbr10

state() { nmcli -g GENERAL.STATE device show "$1"; }
is_unmanaged() { [ "$(state "$1")" = "10 (unmanaged)" ]; }
is_managed() { nmcli -g GENERAL.STATE device show "$1" >/dev/null && ! is_unmanaged "$1"; }
on_bridge() { [[ $(ip -o link show vnet0) == *"master virbr10"* ]]; }
has_address() { [[ $(ip -o addr show virbr10) == *192.168.100.1/24* ]]; }
start_manager() {
    NetworkManager --no-daemon >>"$LAB/nm.log" 2>&1 &
    MANAGER_PID=$!
    wait_until 20 is_known virbr10
}
is_known() { nmcli -g GENERAL.STATE device show "$1" >/dev/null 2>&1; }

dbus-daemon --system --fork --nopidfile
start_manager

step "told, it leaves bridge and port and address alone"
check "the bridge is managed at first" wait_until 10 is_managed virbr10
LAB_TELL="virbr10 virbr10 vnet0" "$MANAGERS" 'real managers*' >"$LAB/told.log" || fail "telling failed: $(cat "$LAB/told.log")"
check "the bridge is unmanaged" wait_until 5 is_unmanaged virbr10
check "the port is unmanaged" wait_until 5 is_unmanaged vnet0
check "the address is still there" has_address
kill "$MANAGER_PID"
wait "$MANAGER_PID" || true
start_manager
check "the bridge is unmanaged after a restart" wait_until 10 is_unmanaged virbr10
sleep 2
check "the port is still on the bridge" on_bridge
check "the address is still there after a restart" has_address

step "told back, it manages them as before"
ip addr del 192.168.100.1/24 dev virbr10
LAB_UNTELL=1 "$MANAGERS" 'real managers*' >"$LAB/untold.log" || fail "telling back failed: $(cat "$LAB/untold.log")"
check "the bridge is managed" wait_until 5 is_managed virbr10
check "the record of changes is gone" test ! -e /run/lab.changes
