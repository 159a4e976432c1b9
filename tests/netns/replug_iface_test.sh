#!/bin/bash
# An interface that is not there yet, and that comes and goes: waited for without a change to the machine, served as soon as it is
# there, with leases, isolation and open connections kept.
#
#     inet --- gw --- host --- enp6s0 (deleted, made again, renamed, down, without carrier) --- switch --- g1, g2
. "$(dirname "$0")/lib.sh"

topology_iface
guest_add g1
guest_add g2
unplug() { ip link delete enp6s0; }
MAC=$(cat /sys/class/net/enp6s0/address)
plug() { # as a driver makes a device: down, with the MAC that it has
    ip link add enp6s0 address "$MAC" type veth peer name lab1
    lab_place lab1 switch up0
    in_node switch ip link set up0 master br0
}
voluntary() { awk '/^voluntary/ { print $2 }' "/proc/$VMROUTER_PID/status"; }
since() { tail -n "+$MARK" "$LAB/vmrouter.log" | grep -qE -- "$1"; }
mark() { MARK=$(($(wc -l <"$LAB/vmrouter.log") + 1)); }
lease_of() { grep "$(guest_mac "$1")" /var/lib/vmrouter/enp6s0/leases | cut -d' ' -f3; }
dns_works() { in_node g1 dig +short +time=1 +tries=1 "$@" @"$GATEWAY" www.example.net | grep -q 198.51.100.10; }
dhcp_works() { # a client that knows nothing gets the address that its lease has
    in_node g2 udhcpc -n -q -f -i eth0 -t 3 -T 1 -s /bin/true >"$LAB/g2-dhcp.log" 2>&1 &&
        grep -q "lease of $G2" "$LAB/g2-dhcp.log"
}
works() { # WHEN: everything that a guest may and may not
    check "$1: DHCP serves, and the lease is the same" wait_until 5 dhcp_works
    check "$1: DNS over UDP" wait_until 5 dns_works
    check "$1: DNS over TCP" wait_until 5 dns_works +tcp
    expect_reach g1 tcp inet 198.51.100.10 80
    expect_refused g1 tcp lan 192.168.1.50 22
    expect_refused g1 tcp host "$GATEWAY" 22
    expect_equal "$1: settings" "1 2 1 1" \
        "$(cd /proc/sys/net && cat ipv4/conf/enp6s0/{arp_ignore,arp_announce,forwarding} ipv6/conf/enp6s0/disable_ipv6 | xargs)"
}

unplug
step "the interface is not there"
snapshot_machine "$LAB/absent"
LAB_READY='WAIT there is no interface enp6s0 yet' start_vmrouter --iface enp6s0
snapshot_machine "$LAB/waiting"
expect_same_machine "$LAB/absent" "$LAB/waiting"
BEFORE=$(voluntary)
sleep 1
expect_equal "nothing wakes it while it waits" "$BEFORE" "$(voluntary)"
stop_vmrouter INT
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/absent" "$LAB/after"

step "it appears by another name and is renamed, as udev does"
LAB_READY='WAIT' start_vmrouter --iface enp6s0
mark
ip link add usb0 address "$MAC" type veth peer name lab1
lab_place lab1 switch up0
in_node switch ip link set up0 master br0
ip link set usb0 name enp6s0
check "it is served" wait_until 5 since READY
guest_dhcp g1 udhcpc
guest_dhcp g2 udhcpc
GATEWAY=$(ip -4 -o addr show enp6s0 | awk '{ sub("/.*", "", $4); print $4 }')
G1=$(guest_address g1) G2=$(guest_address g2)
in_node g2 sh -c 'kill $(cat /run/udhcpc.pid)'
works "after it appeared"
background g1 flow python3 -I "$LAB/repo/tests/netns/session.py" 198.51.100.10 80 20
wait_until 5 grep -q heard "$LAB/g1-flow.log"

step "unplugged and plugged in again"
mark
unplug
check "it is said" wait_until 5 since 'SEGMENT enp6s0 is gone'
check "the dead man's switch stays" sh -c 'ip rule | grep -q "iif enp6s0.*prohibit"'
check "the tables stay" nft list table inet vmrouter_enp6s0
expect_equal "the lease stays" "$G1" "$(lease_of g1)"
plug
check "it is said" wait_until 5 since 'SEGMENT enp6s0 is back'
works "after it was plugged in again"

step "in and out ten times"
mark
for _ in 1 2 3 4 5 6 7 8 9 10; do unplug && plug; done
check "it is served" wait_until 5 since 'SEGMENT enp6s0 is back'
works "after ten times"

step "down and up; carrier lost and back"
ip link set enp6s0 down
in_node switch ip link set up0 down
sleep 0.2
in_node switch ip link set up0 up
ip link set enp6s0 up
works "after down and up"

step "renamed away: what the rules do not know has nothing of ours"
mark
ip link set enp6s0 down
ip link set enp6s0 name away0
ip link set away0 up
check "it is said" wait_until 5 since 'RENAME enp6s0 is called away0'
expect_equal "it has no address of ours" "" "$(ip -4 -o addr show away0)"
expect_equal "its settings are those from before" "0 0 0 0" \
    "$(cd /proc/sys/net && cat ipv4/conf/away0/{arp_ignore,arp_announce,forwarding} ipv6/conf/away0/disable_ipv6 | xargs)"
expect_blocked g1 tcp host "$GATEWAY" 22
expect_blocked g1 tcp lan 192.168.1.50 22
expect_blocked g1 udp inet 198.51.100.10 123
mark
ip link set away0 down
ip link set away0 name enp6s0
check "it is said" wait_until 5 since 'SEGMENT enp6s0 is back'
works "after its name is back"
expect_equal "the connection of before all this goes on" "" "$(grep cut "$LAB/g1-flow.log" || true)"
HEARD=$(wc -l <"$LAB/g1-flow.log")
check "it is heard" wait_until 20 sh -c "[ \$(wc -l <'$LAB/g1-flow.log') -gt $HEARD ]"

step "a setting that the kernel does not tell of, and the address"
sysctl -qw net.ipv4.conf.enp6s0.arp_ignore=0
check "arp_ignore is put back at once" wait_until 5 sh -c '[ "$(cat /proc/sys/net/ipv4/conf/enp6s0/arp_ignore)" = 1 ]'
ip addr flush dev enp6s0
check "the address is put back at once" wait_until 5 sh -c "ip -4 addr show enp6s0 | grep -q $GATEWAY"
expect_reach g1 tcp inet 198.51.100.10 80

step "stopped while it is away"
unplug
wait_until 5 since 'SEGMENT enp6s0 is gone'
stop_vmrouter
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/absent" "$LAB/after"

step "pulled out while the modules start: what is left of them is not run without their router"
plug
# The first listen() is of DNS, when DHCP is there already; it takes its time, and fails.
strace -f -qq -o /dev/null -e trace=listen -e inject=listen:error=EADDRINUSE:delay_enter=2000000:when=1 \
    env ASAN_OPTIONS=detect_leaks=0 "$VMROUTER" --iface enp6s0 >"$LAB/pulled.log" 2>&1 &
PULLED=$!
check "DHCP is there" wait_until 20 sh -c "ss -0 -n | grep -q enp6s0"
unplug
check "it ends by itself" wait_until 20 lab_dead "$PULLED"
status=0
wait "$PULLED" || status=$?
expect_equal "its status" 1 "$status"
lab_sanitizers "$LAB/pulled.log"
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/absent" "$LAB/after"
