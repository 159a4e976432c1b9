#!/bin/bash
# The DHCP service in the whole program, with real clients: many at once, the script, the hosts file while it runs, another server
# behind a port, an address that somebody took, a full disk, and a segment that was dnsmasq's.
#
#     inet --- gw --- host --- virbr10 --- g1 .. g10 (udhcpc), squatter, rogue (dnsmasq)
. "$(dirname "$0")/lib.sh"

state=/var/lib/vmrouter/virbr10
leases=$state/leases
topology_bridge
cat >"$LAB/script" <<SH
#!/bin/sh
while [ -e $LAB/hold ]; do sleep 0.1; done
echo "\$* \$DNSMASQ_INTERFACE \${DNSMASQ_OLD_HOSTNAME:-} \${DNSMASQ_DATA_MISSING:-}" >>$LAB/events
SH
chmod +x "$LAB/script"
cat >"$LAB/vm.toml" <<TOML
[network]
bridge = "virbr10"
[dhcp]
lease_time = "10m"
script = "$LAB/script"
TOML
mkdir -p "$state"
mount -t tmpfs -o size=64k lab "$state"

step "a segment that dnsmasq served keeps its leases"
later=$(($(date +%s) + 3000))
cat >"$leases" <<EOF
$later 52:54:00:00:00:01 192.168.100.77 g1 01:52:54:00:00:00:01
this is no lease
$later 52:54:00:00:00:63 192.168.100.99 gone *
EOF
start_vmrouter --config "$LAB/vm.toml"
guest_add g1
guest_dhcp g1 udhcpc
expect_equal "g1 keeps the address that dnsmasq gave" 192.168.100.77 "$(guest_address g1)"
expect_match "the line that made no sense is kept" 'this is no lease' "$(cat "$leases.bad")"
check "and named with its number" log_has 'leases:2: '
check "a damaged line did not cost its neighbour" grep -q '192.168.100.99 gone' "$leases"

step "nine more guests boot at once"
for number in $(seq 2 10); do guest_add "g$number"; done
began=$(date +%s%N)
for number in $(seq 2 10); do
    LAB_CLIENT[g$number]=udhcpc
    background "g$number" udhcpc udhcpc -f -i eth0 -t 10 -T 1 -p /run/udhcpc.pid -F "g$number"
done
everybody_has() { for number in $(seq 2 10); do guest_has_address "g$number" || return 1; done; }
check "all have an address" wait_until 10 everybody_has
echo "    after $((($(date +%s%N) - began) / 1000000)) ms, start of the clients included"
expect_equal "no address twice" 10 "$(for number in $(seq 1 10); do guest_address "g$number"; done | sort -u | wc -l)"
check "the leases file has them soon after" wait_until 5 eval '[ "$(grep -c " g[0-9]* " '"$leases"')" = 10 ]'
expect_match "in dnsmasq's format" '^[0-9]{10} 52:54:00:00:00:02 192\.168\.100\.[0-9]+ g2 01:52:54:00:00:00:02$' "$(grep ' g2 ' "$leases")"
check "the script heard of a new lease" wait_until 5 grep -q '^add 52:54:00:00:00:0a .* g10 virbr10' "$LAB/events"
check "and of one from before, whose data is missing" grep -q '^old 52:54:00:00:00:63 192.168.100.99 gone virbr10  1$' "$LAB/events"

step "a reservation made while we run counts at the next renewal"
echo "52:54:00:00:00:02,192.168.100.200,renamed" >"$state/hostsfile"
wait_until 5 log_has '1 reservation$' || fail "the hosts file is noticed"
guest_renew g2
has() { [ "$(guest_address "$1")" = "$2" ]; }
check "g2 moves to its reserved address" wait_until 10 has g2 192.168.100.200
check "and the script hears that the old lease went" wait_until 5 grep -q '^del 52:54:00:00:00:02 ' "$LAB/events"

step "SIGHUP reads the hosts file again and tells the script of every lease"
: >"$LAB/events"
echo "525400000003,192.168.100.201" >>"$state/hostsfile" # dnsmasq would take it for a lease time
kill -HUP "$VMROUTER_PID"
check "the script hears of all" wait_until 5 eval '[ "$(grep -c "^old " "$LAB/events")" -ge 10 ]'
check "a line that would be misread is an error with its place" log_has "hostsfile:2: \"525400000003\" would be a lease time, not a hardware address"
check "that costs no other line" log_has '1 reservation$'

step "a script that hangs: six reloads tell of every lease, and a lease is given back"
touch "$LAB/hold"
reloads() { [ "$(grep -c 'RELOAD' "$LAB/vmrouter.log")" -gt "$1" ]; }
for _ in 1 2 3 4 5 6; do
    before=$(grep -c 'RELOAD' "$LAB/vmrouter.log")
    kill -HUP "$VMROUTER_PID"
    wait_until 10 reloads "$before" || fail "a reload ends while the script hangs"
done
guest_release g3
check "the lease leaves the file all the same" wait_until 5 eval '! grep -q 52:54:00:00:00:03 '"$leases"
: >"$LAB/events"
rm "$LAB/hold"
check "the script hears of it, after all that came before" wait_until 20 grep -q '^del 52:54:00:00:00:03 ' "$LAB/events"
# Eleven leases, each told of once, and at most one that was begun before: a queue that only grew would tell of 66.
check "of each lease it hears once, whatever waited" [ "$(grep -c '^old ' "$LAB/events")" -le 12 ]
check "and of each it hears" [ "$(grep '^old ' "$LAB/events" | cut -d ' ' -f 2 | sort -u | wc -l)" -ge 9 ]

step "a disk that is full"
dd if=/dev/zero of="$state/ballast" bs=4096 2>/dev/null || true
full() { # the page at the end of the journal still has room: renewals use it up, one a second of each guest
    for one in g1 g2 g4 g5 g6 g7 g8 g9 g10; do guest_renew "$one"; done
    sleep 0.1
    log_has 'cannot write the DHCP journal: No space left'
}
check "is named" wait_until 60 full
obtained() { grep -c 'lease of .* obtained' "$LAB/g5-udhcpc.log"; }
before=$(obtained)
guest_renew g5
renewed() { [ "$(obtained)" -gt "$before" ]; }
check "known guests renew" wait_until 5 renewed
guest_add late
background late udhcpc udhcpc -f -i eth0 -t 30 -T 1 -p /run/udhcpc.pid -F late
sleep 1.5
check "a new one is refused" guest_has_none late
check "with the reason" log_has "$(guest_mac late).* gets no address: leases cannot be written to the disk: .*No space left"
rm "$state/ballast"
check "until there is room again" wait_until 20 guest_has_address late
check "and that is said" log_has 'can be written again'

step "a squatter on an address that is free"
guest_add squatter
taken=192.168.100.240
guest_static squatter "$taken/24" 192.168.100.1
guest_add wants
in_node wants udhcpc -q -n -i eth0 -t 4 -T 1 -r "$taken" -F wants >"$LAB/wants.log" 2>&1 || fail "it gets some address"
expect_match "the guest that wanted it gets another" '^192\.168\.100\.' "$(guest_address wants | grep -vx "$taken")"
check "and the squatter is named" log_has "$taken is in use by $(guest_mac squatter)"
check "its answer to our question is no blocked attempt" eval "! log_has \"BLOCK arp .* from $taken\""

step "another DHCP server behind a port"
guest_add rogue
guest_static rogue 192.168.100.250/24 192.168.100.1
background rogue dnsmasq dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --interface=eth0 --user=root \
    --dhcp-range=192.168.100.150,192.168.100.160 --no-ping --dhcp-authoritative --dhcp-leasefile=/run/rogue.leases
sleep 0.5
guest_add victim
guest_dhcp victim udhcpc
check "is named, with its port" wait_until 5 log_has "SERVER another DHCP server on the segment, 192.168.100.250 \\($(guest_mac rogue)\\) on port $(guest_port rogue), offers"
expect_equal "once, and nothing else says so" 1 "$(grep -c 'another DHCP server' "$LAB/vmrouter.log")"
case $(guest_address victim) in
    192.168.100.15? | 192.168.100.160) fail "the guest follows our server" ;;
    *) ok "the guest follows our server" ;;
esac

step "a kill, and everything is as it was"
cp "$leases" "$LAB/before"
given=$(for number in 1 2 4 5 6 7 8 9 10; do guest_address "g$number"; done)
sleep 1.1
stop_vmrouter KILL
start_vmrouter --config "$LAB/vm.toml"
for number in 1 2 4 5 6 7 8 9 10; do guest_renew "g$number"; done
sleep 1
expect_equal "everybody keeps the address" "$given" "$(for number in 1 2 4 5 6 7 8 9 10; do guest_address "g$number"; done)"
stop_vmrouter TERM
umount "$state"
