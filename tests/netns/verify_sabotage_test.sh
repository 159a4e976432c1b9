#!/bin/bash
# `verify` sees every hole: one rule of our tables after the other is taken away, and some row turns red.
#
#     inet --- gw --- host --- virbr10 --- verify's own guests
#
# The program is stopped (SIGSTOP) meanwhile, or it would put the rule back. So its DNS is silent, which is the one surprise
# that is there before.
. "$(dirname "$0")/lib.sh"

topology_bridge
start_vmrouter --bridge virbr10
step "every rule"
if python3 -I "$LAB_REPO/tests/netns/sabotage.py" "$VMROUTER" "$VMROUTER_PID" >"$LAB/sabotage.log" 2>&1; then
    ok "$(tail -1 "$LAB/sabotage.log")"
else
    fail "$(tail -1 "$LAB/sabotage.log")"
    tail -40 "$LAB/sabotage.log"
fi
expect_match "packets alone see most of what a guest could use" "by packets" "$(cat "$LAB/sabotage.log")"
# shellcheck disable=SC2013 # words
for rule in 'vm_from_guest: goto vm_open' 'vm_to_host: ip daddr != 192.168.100.1' 'vm_to_guest: goto vm_drop_inbound' \
    'vm_frame: ether type != \{ ip, arp \}' 'vm_dnat: iifname' 'vm_snat: oifname != .* masquerade to' 'vm_refuse_host: goto vm_refuse' \
    'vm_arp: arp saddr ip 192.168.100.1' 'vm_ip: udp sport 67' 'vm_ip: ip saddr @vm_owned' 'vm_from_host: ip daddr'; do
    expect_match "seen by a packet: $rule" "^by packets: [a-z]+ ${rule}" "$(cat "$LAB/sabotage.log")"
done
kill -CONT "$VMROUTER_PID"
stop_vmrouter TERM
