#!/bin/bash
# Rules of iptables-legacy, which nftables cannot see: opened with its own program, or with the commands that are said.
#
#   inet --- gw --- host (legacy: input and forward dropped) --- virbr10 --- g1
. "$(dirname "$0")/lib.sh"
program=$(readlink -f "$(command -v iptables-legacy)")
topology_bridge
legacy_passes() { iptables-legacy -S | sed -n 's/^-A \([A-Z-]*\) .*--mark 0x100000\/0x100000.* -j ACCEPT$/\1/p' | sort | tr '\n' ' '; }

step "without legacy tables, looking makes none"
start_vmrouter --bridge virbr10
stop_vmrouter
expect_equal "no legacy table" "" "$(cat /proc/net/ip_tables_names 2>/dev/null)"

drop_all() {
    iptables-legacy -P FORWARD DROP || skip "this kernel has no iptables-legacy"
    iptables-legacy -P INPUT DROP
    iptables-legacy -A INPUT -i lo -j ACCEPT
    iptables-legacy -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
}
drop_all
start_control
guest_add g1
guest_static g1 192.168.100.21/24 192.168.100.1
step "control: the legacy rules stop a guest"
expect_blocked g1 tcp inet 198.51.100.10 80
expect_blocked g1 udp host 192.168.100.1 5353
stop_control
guest_delete g1

step "with the program"
iptables-legacy-save | grep -v '^#' | sed 's/\[.*\]//' >"$LAB/before.legacy"
start_vmrouter --bridge virbr10
expect_equal "our rule is in both chains" "FORWARD INPUT " "$(legacy_passes)"
guest_add g1
guest_dhcp g1 udhcpc
expect_service g1 "with legacy rules"
expect_isolation g1
check "iptables-legacy-save | iptables-legacy-restore" sh -c 'iptables-legacy-save >"$0" && iptables-legacy-restore <"$0"' "$LAB/saved.log"
expect_service g1 "after a restore"
step "a flush, of which the kernel tells nobody"
legacy_whole() { [ "$(legacy_passes)" = "FORWARD INPUT " ]; }
for _ in 1 2 3; do
    iptables-legacy -F FORWARD
    check "our rule is back" wait_until 5 legacy_whole
done
voluntary() { awk '/^voluntary/ { print $2 }' "/proc/$VMROUTER_PID/status"; }
quiet() { local before; before=$(voluntary) && sleep 1 && [ "$(voluntary)" = "$before" ]; }
check "what it runs itself does not wake it again" wait_until 20 quiet
kill -STOP "$VMROUTER_PID"
iptables-legacy -F FORWARD
kill -CONT "$VMROUTER_PID"
check "a flush while it was stopped" wait_until 5 legacy_whole
step "a long list of others, before the chain that drops"
for number in {1..500}; do
    printf -- '-A INPUT -s 198.18.%d.%d/32 -m comment --comment "%0200d" -j DROP\n' $((number / 250)) $((number % 250)) "$number"
done | { echo '*filter' && cat && echo COMMIT; } >"$LAB/long"
iptables-legacy-restore --noflush <"$LAB/long"
check "what it runs itself does not wake it again" wait_until 20 quiet
expect_equal "our rule is there once" "FORWARD INPUT " "$(legacy_passes)"
sed 's/^-A/-D/' "$LAB/long" | iptables-legacy-restore --noflush
step "our rule there opens nothing once our own table is gone"
kill -STOP "$VMROUTER_PID"
nft delete table inet vmrouter_virbr10
expect_blocked g1 tcp inet 198.51.100.10 80
kill -CONT "$VMROUTER_PID"
wait_until 5 nft list table inet vmrouter_virbr10 || fail "our table is back"
guest_delete g1
stop_vmrouter
expect_legacy_same() { # WHEN
    iptables-legacy-save | grep -v '^#' | sed 's/\[.*\]//' >"$LAB/after.legacy"
    check "$1: the legacy rules are as they were" diff "$LAB/before.legacy" "$LAB/after.legacy"
}
expect_legacy_same "after the stop"
start_vmrouter --bridge virbr10
stop_vmrouter KILL
expect_equal "our rule outlives a kill" "FORWARD INPUT " "$(legacy_passes)"
run_vmrouter 0 down
expect_legacy_same "after vmrouter down"

step "legacy rules that come while it runs, the first ones of this machine"
iptables-legacy -F && iptables-legacy -P FORWARD ACCEPT && iptables-legacy -P INPUT ACCEPT && rm /run/xtables.lock
start_vmrouter --bridge virbr10
touch /run/something # in the same folder
drop_all
check "our rule is in both chains" wait_until 5 legacy_whole
stop_vmrouter
expect_legacy_same "after the stop"

step "without the program the commands are said, and they help"
cp "$program" /run/iptables-legacy # it looks at its name
: >"$LAB/nothing" && chmod 644 "$LAB/nothing" && mount --bind "$LAB/nothing" "$program"
start_vmrouter --bridge virbr10
line=$(grep -A1 'there are rules of iptables-legacy' "$LAB/vmrouter.log" | tail -1)
commands=$(grep -oE 'iptables-legacy -I [^;]*' <<<"$line")
expect_equal "two commands are said" 2 "$(grep -c . <<<"$commands")"
guest_add g1
guest_dhcp g1 udhcpc
expect_blocked g1 tcp inet 198.51.100.10 80
while read -r command; do
    check "$command" bash -c "/run/$command"
done <<<"$commands"
expect_service g1 "after the commands"
expect_isolation g1
guest_delete g1
stop_vmrouter
