#!/bin/bash
# A bridge that somebody deletes, renames, sets down or replaces under us, ports that come and go, an uplink that changes and disappears,
# and a restart: guests keep their leases and their connections.
#
#     inet --- gw --- host --- virbr10 --- g1, g2
. "$(dirname "$0")/lib.sh"

topology_bridge
snapshot_machine "$LAB/before"
since() { tail -n "+$MARK" "$LAB/vmrouter.log" | grep -qE -- "$1"; }
mark() { MARK=$(($(wc -l <"$LAB/vmrouter.log") + 1)); }
dns_works() { in_node g1 dig +short +time=1 +tries=1 "$@" @192.168.100.1 www.example.net | grep -q 198.51.100.10; }
dhcp_works() {
    in_node g2 udhcpc -n -q -f -i eth0 -t 3 -T 1 -s /bin/true >"$LAB/g2-dhcp.log" 2>&1 &&
        grep -q "lease of $G2" "$LAB/g2-dhcp.log"
}
on_bridge() { ip -o link show "$1" | grep -q 'master virbr10'; }
off_bridge() { ! on_bridge "$1"; }
flow_goes_on() { # the connection of the beginning has neither been cut, nor does it hang
    local heard
    expect_equal "$1: the open connection is not cut" "" "$(grep cut "$LAB/g1-flow.log" || true)"
    heard=$(wc -l <"$LAB/g1-flow.log")
    check "$1: the open connection goes on" wait_until 20 sh -c "[ \$(wc -l <'$LAB/g1-flow.log') -gt $heard ]"
}
works() {
    check "$1: DHCP serves, and the lease is the same" wait_until 5 dhcp_works
    check "$1: DNS over UDP" wait_until 5 dns_works
    check "$1: DNS over TCP" wait_until 5 dns_works +tcp
    flow_goes_on "$1"
    expect_refused g1 tcp lan 192.168.1.50 22
    expect_refused g1 tcp host 192.168.100.1 22
    check "$1: the ports are isolated" sh -c '[ "$(bridge -d link | grep -c "isolated on")" = 2 ]'
    expect_equal "$1: settings" "1 2 1 1" \
        "$(cd /proc/sys/net && cat ipv4/conf/virbr10/{arp_ignore,arp_announce,forwarding} ipv6/conf/virbr10/disable_ipv6 | xargs)"
}

start_vmrouter --bridge virbr10 --isolate-guests true
guest_add g1
guest_add g2
guest_dhcp g1 udhcpc
guest_dhcp g2 udhcpc
G2=$(guest_address g2)
in_node g2 sh -c 'kill $(cat /run/udhcpc.pid)'
background g1 flow python3 -I "$LAB/repo/tests/netns/session.py" 198.51.100.10 80 20
wait_until 5 grep -q heard "$LAB/g1-flow.log"
works "at first"

step "the bridge is deleted"
mark
ip link delete virbr10
check "it is made again" wait_until 5 since 'SEGMENT virbr10 is back'
check "with its ports" on_bridge vnet1
works "after it was deleted"

step "it is deleted in the middle of a repair"
mark
strace -f -qq -o "$LAB/slow" -e trace=sendmsg -e inject=sendmsg:delay_enter=100000 -p "$VMROUTER_PID" &
slow=$!
wait_until 5 grep -q 'TracerPid:.[1-9]' "/proc/$VMROUTER_PID/status"
ip link set virbr10 address 02:00:00:00:00:99
wait_until 5 sh -c '[ "$(grep -c sendmsg "$1")" -ge 2 ]' sh "$LAB/slow" # it has seen the bridge, and reads the rest
ip link delete virbr10
wait_until 5 since 'SEGMENT virbr10 is gone' || true
kill "$slow"
wait "$slow" || true
check "it is made again" wait_until 10 since 'SEGMENT virbr10 is back'
expect_equal "that is no error" "" "$(tail -n "+$MARK" "$LAB/vmrouter.log" | grep error: || true)"
works "after it was deleted in the middle of a repair"

step "it is renamed"
mark
printf 'link set virbr10 down\nlink set virbr10 name other0\n' | ip -batch - # Linux 6.1 renames nothing that is up, and we put it up
check "it is made again" wait_until 5 since 'SEGMENT virbr10 is back'
check "nothing is left under the other name" sh -c '! ip link show other0'
works "after it was renamed"

step "it is set down, and loses its address"
ip link set virbr10 down
check "it is up again" wait_until 5 sh -c 'ip -o link show virbr10 | grep -q "[<,]UP[,>]"'
ip addr flush dev virbr10
check "the address is back" wait_until 5 sh -c 'ip -4 addr show virbr10 | grep -q 192.168.100.1'
works "after it was set down"

step "ports come and go quickly"
mark
for number in 1 2 3 4 5 6 7 8 9 10 11 12; do
    ip link add quick0 type veth peer name quick1
    ip link set quick0 master virbr10 up
    [ $((number % 3)) != 0 ] || ip link set quick0 nomaster
    ip link delete quick0
done
ip link set vnet2 nomaster && ip link set vnet2 master virbr10
check "a port has no IPv6 address of the host" wait_until 5 sh -c '[ -z "$(ip -6 addr show dev vnet2)" ]'
ip link set vnet2 nomaster
check "one that has left is as it was" wait_until 5 sh -c '[ "$(cat /proc/sys/net/ipv6/conf/vnet2/disable_ipv6)" = 0 ] && bridge -d link show dev vnet1 | grep -q "isolated on"'
ip link set vnet2 master virbr10
check "a port that was off and on is isolated again" wait_until 5 sh -c 'bridge -d link show dev vnet2 | grep -q "isolated on"'
check "and silent" wait_until 5 sh -c '[ "$(cat /proc/sys/net/ipv6/conf/vnet2/disable_ipv6)" = 1 ]'
sysctl -qw net.ipv6.conf.vnet2.disable_ipv6=0
check "a port that somebody lets speak is silent again" wait_until 5 sh -c '[ "$(cat /proc/sys/net/ipv6/conf/vnet2/disable_ipv6)" = 1 ]'
bridge link set dev vnet1 isolated off
check "a port whose isolation somebody ends is isolated again" wait_until 5 sh -c 'bridge -d link show dev vnet1 | grep -q "isolated on"'
works "after ports came and went"
check "no error was said" sh -c "! tail -n +$MARK '$LAB/vmrouter.log' | grep -E 'error|warning: (PORT|ISOLATE)'"

step "a restart: the ports come back, the connection goes on"
for port in used spare; do
    mark
    ip link add ${port}0 type veth peer name ${port}1
    ip link set ${port}0 master virbr10 up
    wait_until 5 since "PORT ${port}0 joined" || fail "${port}0 has joined"
done
stop_vmrouter
check "the bridge is gone" sh -c '! ip link show virbr10'
ip addr add 192.0.2.9/24 dev used0
start_vmrouter --bridge virbr10 --isolate-guests true
check "the port is back" on_bridge vnet1
check "and another one" on_bridge spare0
check "one that somebody has given an address is not" off_bridge used0
check "it is said" log_has 'ATTACH used0: is not put onto virbr10 again, where it was: it has the address 192.0.2.9'
ip link delete used0
ip link set spare0 nomaster
works "after a restart"
stop_vmrouter KILL
start_vmrouter --bridge virbr10 --isolate-guests true
works "after kill -9 and a start"
check "what was taken off before the kill stays off" off_bridge spare0
ip link delete spare0

step "the uplink loses its route, goes down, is another one"
mark
ip route delete default
check "it is said" wait_until 5 since 'UPLINK none'
expect_blocked g1 udp inet 198.51.100.10 123
ip route add default via 192.168.1.1
check "it is said" wait_until 5 since 'UPLINK eth0'
expect_reach g1 udp inet 198.51.100.10 123
flow_goes_on "after the route came back"
mark
ip route delete default
check "it is said" wait_until 5 since 'UPLINK none'
lost() { nft list counter inet vmrouter_virbr10 vm_stale | awk '/packets/ { print $2 }'; }
LOST=$(lost)
more_lost() { [ "$(lost)" -gt "$LOST" ]; }
kill -STOP "$VMROUTER_PID" # its packets go out by an uplink of which the rules do not know yet
ip route add default via 192.168.1.1
check "a packet of the open connection is lost" wait_until 5 more_lost
kill -CONT "$VMROUTER_PID"
check "it is said" wait_until 5 since 'UPLINK eth0'
flow_goes_on "after a route that was not known at once"
mark
ip link set eth0 down
check "it is said" wait_until 5 since 'UPLINK none'
ip route add default via 203.0.113.50 dev eth1
check "it is said" wait_until 5 since 'UPLINK eth1'
expect_equal "the former uplink does not forward" 0 "$(cat /proc/sys/net/ipv4/conf/eth0/forwarding)"
expect_equal "the new one does" 1 "$(cat /proc/sys/net/ipv4/conf/eth1/forwarding)"
mark
ip route delete default
ip link set eth0 up
ip route add default via 192.168.1.1
check "it is said" wait_until 5 since 'UPLINK eth0'
expect_reach g1 udp inet 198.51.100.10 123
expect_refused g1 tcp lan 192.168.1.50 22

step "somebody makes a bridge of his own in its place: it is served, and left alone at the end"
mark
kill -STOP "$VMROUTER_PID" # so that his command is the first
ip link delete virbr10
ip link add virbr10 type bridge forward_delay 0
kill -CONT "$VMROUTER_PID"
check "it is served" wait_until 5 since 'SEGMENT virbr10 is back'
ip link set vnet1 master virbr10
in_node g1 ip neigh flush dev eth0 # another bridge, another MAC
check "DNS" wait_until 5 dns_works
guest_delete g1
guest_delete g2
stop_vmrouter
check "his bridge is still there" ip link show virbr10
ip link delete virbr10
ip -6 addr add 2001:db8:1::2/64 dev eth0 nodad # what setting the uplink down took
ip -6 route replace default via 2001:db8:1::1
ping -c1 -W2 192.168.1.50 >/dev/null
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"
