#!/bin/bash
# The real systemd-networkd with a catch-all file beside vmrouter: told, it leaves the bridge, its ports and the interface
# alone, over restarts and reloads, until it is told back.
#
#   inet --- gw --- host --+-- virbr10 --- g1          catch-all: "Name=v* en*" with DHCP
#                          +-- enp6s0 --- switch --- g2
. "$(dirname "$0")/lib.sh"
. "$LAB_DIR/doctor.sh"
with_networkd
topology_iface
printf '[Match]\nName=v* en*\n[Network]\nDHCP=ipv4\n' >/run/systemd/network/50-all.network

setup() { networkctl --no-legend list "$1" | awk '{ print $5 }'; }
has_setup() { [ "$(setup "$1")" = "$2" ]; }
is_managed() { [ -n "$(setup "$1")" ] && ! has_setup "$1" unmanaged; }
on_bridge() { [[ $(ip -o link show "$1") == *"master virbr10"* ]]; }
off_bridge() { ! on_bridge "$1"; }
has_address() { [[ $(ip -o -4 addr show "$1") == *" $2/24 "* ]]; }

step "control: untold, it takes a port off its bridge"
ip link add virbr10 type bridge
ip link add vnet9 type veth peer name peer9
ip link set vnet9 master virbr10
ip link set vnet9 up && ip link set peer9 up && ip link set virbr10 up
start_networkd
check "the port is off the bridge" wait_until 10 off_bridge vnet9
check "enp6s0 is managed" wait_until 5 is_managed enp6s0
ip link del vnet9
ip link del virbr10

step "an interface"
start_vmrouter --iface enp6s0
check "enp6s0 is unmanaged" wait_until 5 has_setup enp6s0 unmanaged
LAB_MODE=iface LAB_SEGMENT=enp6s0
guest_add g2
guest_dhcp g2 udhcpc
stop_networkd
start_networkd
networkctl reload
networkctl reconfigure enp6s0 || true
check "enp6s0 is unmanaged after restart, reload and reconfigure" wait_until 5 has_setup enp6s0 unmanaged
check "our address is still there" has_address enp6s0 192.168.100.1
expect_service g2 "on the interface"
guest_delete g2
stop_vmrouter
check "enp6s0 is managed again" wait_until 5 is_managed enp6s0
expect_equal "only the administrator's file is left" 50-all.network "$(ls /run/systemd/network)"

step "after a kill, vmrouter down tells it back"
start_vmrouter --iface enp6s0
check "enp6s0 is unmanaged" wait_until 5 has_setup enp6s0 unmanaged
stop_vmrouter KILL
run_vmrouter 0 down
check "enp6s0 is managed again" wait_until 5 is_managed enp6s0
expect_equal "only the administrator's file is left" 50-all.network "$(ls /run/systemd/network)"

step "a bridge and its ports"
LAB_MODE=bridge LAB_SEGMENT=virbr10
start_vmrouter --bridge virbr10
guest_add g1
port=$(guest_port g1)
check "the bridge is unmanaged" wait_until 5 has_setup virbr10 unmanaged
check "the port is unmanaged" wait_until 5 has_setup "$port" unmanaged
guest_dhcp g1 udhcpc
stop_networkd
start_networkd
check "the bridge is unmanaged after a restart" wait_until 5 has_setup virbr10 unmanaged
expect_service g1 "after a restart"
check "the port is still on the bridge" on_bridge "$port"
check "the routing rules of the dead man's switch are still there" sh -c 'ip rule | grep -q prohibit'
step "doctor"
silent
mkdir "$LAB/told" && mv /run/systemd/network/*virbr10* "$LAB/told/" # somebody takes away what it was told
networkctl reload
wait_until 5 is_managed virbr10
look 1
named "systemd-networkd manages the bridge after all" networkd "virbr10.*Unmanaged=yes"
mv "$LAB"/told/* /run/systemd/network/
networkctl reload
check "what was told helps" wait_until 5 has_setup virbr10 unmanaged
said=$(wc -l <"$LAB/networkd.log")
stop_vmrouter
# It takes the kernel's word that a port left a bridge for the end of the link, so that its list says nothing.
takes_back() { tail -n +"$((said + 1))" "$LAB/networkd.log" | grep -q "^$port: Reconfiguring with .*/50-all.network"; }
check "the port is managed again" wait_until 5 takes_back
expect_equal "only the administrator's file is left" 50-all.network "$(ls /run/systemd/network)"
stop_networkd
