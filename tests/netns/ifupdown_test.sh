#!/bin/bash
# The real ifupdown with dhclient on the interface that vmrouter is to serve: both are named, with what to do, and it helps.
#
#   inet --- gw --- host (ifup enp6s0: dhclient) --- enp6s0 --- switch --- g1
. "$(dirname "$0")/lib.sh"
. "$LAB_DIR/doctor.sh"
lab_packages ifupdown
topology_iface
mkdir -p /etc/network/interfaces.d /run/network
printf 'source /etc/network/interfaces.d/*\n' >/etc/network/interfaces
printf 'auto enp6s0\niface enp6s0 inet dhcp\n' >/etc/network/interfaces.d/spare
# Somebody on the segment who answers dhclient, so that ifup comes to its end.
in_node switch ip addr add 10.99.0.1/24 dev br0
background switch dhcp dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --port=0 --bind-interfaces --interface=br0 \
    --dhcp-range=10.99.0.10,10.99.0.19,1h --dhcp-leasefile=/run/leases --pid-file
dhcp=$LAB_BACKGROUND
check "ifup enp6s0" ifup enp6s0
client=$(pgrep -f 'dhclient.*enp6s0')
check "dhclient runs" test -n "$client"
expect_match "it has an address" ' 10\.99\.0\.1[0-9]/24' "$(ip -o -4 addr show enp6s0)"
kill "$dhcp"

start_vmrouter --iface enp6s0
check "dhclient is named with its pid" log_has "dhclient \(pid $client\) asks for an address on enp6s0"
check "what to do is said" log_has "stop it: kill $client"
check "ifupdown's file is named with its line" log_has "/etc/network/interfaces.d/spare:2: ifupdown configures enp6s0"
look 1
named "dhclient, with its pid" rival "dhclient \(pid $client\).*enp6s0.*kill $client"
named "ifupdown, with file and line" rival "ifupdown configures enp6s0.*/etc/network/interfaces.d/spare:2"
step "served all the same, and after what was said was done"
guest_add g1
guest_dhcp g1 udhcpc
expect_service g1 "beside dhclient"
kill "$client"
wait_until 5 lab_dead "$client" || fail "dhclient ends"
expect_service g1 "without dhclient"
check "our address is still there" sh -c 'ip -o -4 addr show enp6s0 | grep -q " 192.168.100.1/24 "'
guest_delete g1
stop_vmrouter
check "the address of ifupdown is still there" sh -c 'ip -o -4 addr show enp6s0 | grep -q " 10.99.0.1[0-9]/24 "'
expect_equal "our address is gone" 0 "$(ip -o -4 addr show enp6s0 | grep -c 192.168.100)"
check "ifdown enp6s0" ifdown enp6s0
