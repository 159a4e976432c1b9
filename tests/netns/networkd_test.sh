#!/bin/bash
# The real systemd-networkd with a catch-all file, on a machine with a bridge of ours: what it does untold, and that it
# leaves bridge, port and address alone when told at run time, over restarts, until it is told back.
#
#   virbr10 192.168.100.1/24 --- vnet0 (port)          all match "Name=v*" with DHCP
. "$(dirname "$0")/lib.sh"

NETWORKD=/lib/systemd/systemd-networkd
MANAGERS=$(dirname "$VMROUTER")/../tests/unit_managers
for program in $NETWORKD "$(command -v networkctl || echo networkctl)" "$(command -v dbus-daemon || echo dbus-daemon)"; do
    [ -x "$program" ] || skip "$program is not there"
done
check "the managers are built" test -x "$MANAGERS"

mount -t tmpfs -o mode=755 lab /run/systemd 2>/dev/null || { mkdir /run/systemd && mount -t tmpfs -o mode=755 lab /run/systemd; }
mkdir -p /run/dbus /run/systemd/{system,network} /run/systemd/netif/{links,leases,lldp}
chown -R systemd-network: /run/systemd/netif
mount -o remount,ro,bind /sys 2>/dev/null || mount -t sysfs -o ro sysfs /sys # otherwise it waits for udev, which is not here
printf '[Match]\nName=v*\n[Network]\nDHCP=ipv4\n' >/run/systemd/network/50-all.network

ip link add virbr10 type bridge
ip link add vnet0 type veth peer name guest0
ip link set guest0 up
build() {
    ip link set vnet0 master virbr10
    ip link set vnet0 up
    ip link set virbr10 up
    ip addr replace 192.168.100.1/24 dev virbr10
}
setup() { networkctl --no-legend list "$1" | awk '{ print $5 }'; }
has_setup() { [ "$(setup "$1")" = "$2" ]; }
on_bridge() { [[ $(ip -o link show vnet0) == *"master virbr10"* ]]; }
off_bridge() { ! on_bridge; }
has_address() { [[ $(ip -o addr show virbr10) == *192.168.100.1/24* ]]; }
start_networkd() {
    $NETWORKD >>"$LAB/networkd.log" 2>&1 &
    NETWORKD_PID=$!
    wait_until 10 networkctl --no-legend list virbr10 >/dev/null
}
restart_networkd() {
    kill "$NETWORKD_PID"
    wait "$NETWORKD_PID" || true
    start_networkd
}

dbus-daemon --system --fork --nopidfile
build

step "untold, it takes the port off the bridge"
start_networkd
check "the port is off the bridge" wait_until 10 off_bridge

step "told, it leaves bridge and port and address alone"
LAB_TELL="virbr10 virbr10 vnet0" "$MANAGERS" 'real managers*' >"$LAB/told.log" || fail "telling failed: $(cat "$LAB/told.log")"
check "the bridge is unmanaged" wait_until 5 has_setup virbr10 unmanaged
check "the port is unmanaged" wait_until 5 has_setup vnet0 unmanaged
build
restart_networkd
check "the bridge is unmanaged after a restart" wait_until 5 has_setup virbr10 unmanaged
networkctl reconfigure virbr10 || true
sleep 1
check "the port is still on the bridge" on_bridge
check "the address is still there" has_address

step "told back, it manages them as before"
ip addr del 192.168.100.1/24 dev virbr10
LAB_UNTELL=1 "$MANAGERS" 'real managers*' >"$LAB/untold.log" || fail "telling back failed: $(cat "$LAB/untold.log")"
managed() { case $(setup "$1") in configuring | configured | pending) ;; *) false ;; esac }
check "the bridge is managed" wait_until 5 managed virbr10
expect_equal "only the administrator's file is left" 50-all.network "$(ls /run/systemd/network)"
check "the record of changes is gone" test ! -e /run/lab.changes
