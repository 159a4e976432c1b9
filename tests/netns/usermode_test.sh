#!/bin/bash
# [[usermode]]: the sockets of a user (QEMU's user-mode networking) reach the internet and the host's resolver, and neither the
# host nor its networks. A process of that user stands for QEMU: the rules judge sockets by their owner. The
# control is the same probe by another user.
#
#     inet --- gw --- host (uid 4242 is confined, uid 4343 is not)
. "$(dirname "$0")/lib.sh"

topology
snapshot_machine "$LAB/before"
confined() { LAB_UID=4242 "$@"; }
free() { LAB_UID=4343 "$@"; }

printf '[[usermode]]\nuser = 4242\n' >"$LAB/user.toml"
start_vmrouter --config "$LAB/user.toml"

step "the internet and the resolver"
confined expect_reach host tcp inet 198.51.100.10 80
confined expect_reach host udp inet 198.51.100.10 123
expect_equal "DNS by the host's resolver" 198.51.100.10 \
    "$(setpriv --reuid=4242 --regid=4242 --clear-groups dig +short +time=2 +tries=1 @192.168.1.1 www.example.net)"

step "neither LAN nor host"
for who in free confined; do
    if [ "$who" = free ]; then wanted=expect_reach; else wanted=expect_refused; fi
    $who $wanted host tcp lan 192.168.1.50 22
    $who $wanted host udp lan 192.168.1.50 137
    $who $wanted host tcp gw 192.168.1.1 80
    $who $wanted host tcp office 203.0.113.50 445
    $who $wanted host tcp lan 2001:db8:1::50 22
    $who $wanted host tcp host 127.0.0.1 22
    $who $wanted host tcp host 192.168.1.2 22
    $who $wanted host tcp host 10.77.0.1 8080
    $who $wanted host tcp host ::1 22
    $who $wanted host tcp host 2001:db8:1::2 22
done
confined expect_refused host udp gw 192.168.1.1 5353

step "what came from outside is answered (hostfwd, VNC)"
background host vnc setpriv --reuid=4242 --regid=4242 --clear-groups /usr/bin/python3 -I "$LAB/repo/tests/netns/probe.py" serve tcp/5900
wait_until 5 grep -q serving "$LAB/host-vnc.log"
expect_reach lan tcp host 192.168.1.2 5900
free expect_reach host tcp host 127.0.0.1 5900

step "and afterwards all is as it was"
kill "$LAB_BACKGROUND"
stop_vmrouter
confined expect_reach host tcp lan 192.168.1.50 22
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"
