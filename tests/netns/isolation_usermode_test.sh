#!/bin/bash
# QEMU's user-mode networking is a process of the host: what runs as that user has DNS and the internet, and neither the host
# nor a LAN, over IPv4 and IPv6. Connections that others open towards it go on working.
#
#   host 192.168.1.2 / 2001:db8:1::2: a process of uid 4242; resolv.conf names 192.168.1.1
. "$(dirname "$0")/lib.sh"

topology_bridge
echo "nameserver 127.0.0.53" >>/etc/resolv.conf # as on a machine with systemd-resolved
snapshot_machine "$LAB/before"
uid=4242
caps=+net_raw,+net_admin,+dac_read_search # for what the probe itself observes; its sockets are the user's all the same
as_user() { setpriv --reuid=$uid --regid=$uid --clear-groups --inh-caps=$caps --ambient-caps=$caps -- "$@"; }
# Probes from `host` are the user's while AS_USER is set.
eval "$(declare -f in_node | sed '1s/in_node/in_any_node/')"
in_node() {
    if [ "$1" = host ] && [ -n "${AS_USER:-}" ]; then
        shift
        as_user "$@"
    else
        in_any_node "$@"
    fi
}
user() { AS_USER=1 "$@"; }

step "the user may do everything without vmrouter"
user expect_reach host tcp lan 192.168.1.50 22
user expect_reach host udp lan 192.168.1.50 137
user expect_reach host tcp host 192.168.1.2 22
user expect_reach host tcp host 127.0.0.1 631
user expect_reach host tcp lan 2001:db8:1::50 22
user expect_reach host tcp host ::1 22
user expect_reach host tcp inet 2001:db8:100::10 80
user expect_reach host tcp host 127.0.0.53 22
# A network behind another router than the one that leads to the internet, and one that appears while we run.
in_node lan sh -e -c 'ip -6 addr add 2001:db8:55::9/128 dev lo; sysctl -qw net.ipv6.conf.all.forwarding=1'
ip -6 route add 2001:db8:55::/64 via 2001:db8:1::50
user expect_reach host tcp lan 2001:db8:55::9 22
ip -6 route del 2001:db8:55::/64
background host stub python3 -I "$LAB/repo/tests/netns/probe.py" serve tcp/53
stub=$LAB_BACKGROUND
wait_until 10 grep -q serving "$LAB/host-stub.log"
user expect_reach host tcp host 127.0.0.1 53

walls() {
    step "$1: the internet and DNS"
    user expect_reach host tcp inet 198.51.100.10 80
    user expect_reach host udp inet 198.51.100.10 123
    user expect_reach host tcp inet 2001:db8:100::10 80
    check "DNS over UDP" as_user dig +short +time=2 +tries=1 @192.168.1.1 www.example.net
    check "DNS over TCP" as_user dig +tcp +short +time=2 +tries=1 @192.168.1.1 www.example.net
    step "$1: neither host nor LAN"
    user expect_refused host tcp lan 192.168.1.50 22
    user expect_blocked host udp lan 192.168.1.50 137
    user expect_refused host tcp gw 192.168.1.1 80
    user expect_refused host tcp office 203.0.113.50 22
    user expect_refused host tcp host 192.168.1.2 22
    user expect_refused host tcp host 127.0.0.1 631
    user expect_refused host tcp host 10.77.0.1 22
    user expect_refused host tcp lan 2001:db8:1::50 22
    user expect_refused host tcp host 2001:db8:1::2 22
    user expect_refused host tcp host ::1 22
    user expect_refused host tcp lan ::ffff:192.168.1.50 22
    user expect_blocked host udp lan 192.168.1.255 137
    user expect_blocked host udp lan 224.0.0.251 5353
    user expect_refused host tcp host 127.0.0.53 22
    user expect_refused host udp gw 192.168.1.1 5353
    step "$1: IPv6 networks that come"
    ip -6 route add 2001:db8:55::/64 via 2001:db8:1::50
    user expect_refused host tcp lan 2001:db8:55::9 22
    check "the set has it" wait_until 5 lan6_has 2001:db8:55::/64
    ip -6 route del 2001:db8:55::/64
    step "$1: other users are untouched"
    expect_reach host tcp lan 192.168.1.50 22
    expect_reach host tcp host 127.0.0.1 631
    step "$1: what others open towards it"
    check "a connection from the host's loopback (VNC)" as_root_reads 127.0.0.1
    check "a connection from the LAN (hostfwd)" in_any_node lan curl -s -m3 http://192.168.1.2:9000/
}
lan6_has() { nft list set inet "vmrouter_$table" vm_lan6 | grep -q "$1"; }
as_root_reads() { curl -s -m3 "http://$1:9000/"; }
as_user python3 -I "$LAB/repo/tests/netns/probe.py" serve tcp/9000 >"$LAB/served.log" 2>&1 &
server=$!
wait_until 5 grep -q serving "$LAB/served.log"

printf '[[usermode]]\nuser = "%s"\n' $uid >"$LAB/user.toml"
start_vmrouter --config "$LAB/user.toml"
table=usermode
walls "alone"
user expect_reach host tcp host 127.0.0.53 53 # the stub of resolv.conf, at no other address
user expect_refused host tcp host 127.0.0.1 53
kill "$stub"
stop_vmrouter
user expect_reach host tcp lan 192.168.1.50 22
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"

printf '[network]\nbridge = "virbr10"\naddress = "192.168.100.1/24"\n[[usermode]]\nuser = "%s"\n' $uid >"$LAB/both.toml"
start_vmrouter --config "$LAB/both.toml"
table=virbr10
walls "beside a segment"
guest_add g1
guest_static g1 192.168.100.11/24 192.168.100.1
serve g1 tcp/22
expect_reach host tcp g1 192.168.100.11 22
user expect_refused host tcp g1 192.168.100.11 22
expect_refused g1 tcp host 192.168.1.2 9000
kill $server
