#!/bin/bash
# `verify` sees every hole: one rule of our tables after the other is taken away, and some row turns red.
#
#     inet --- gw --- host --- virbr10 --- verify's own guests
#
# The program is stopped (SIGSTOP) meanwhile, or it would put the rule back. So its DNS is silent, which is the one surprise
# that is there before.
# Most ways are shut in two or three places: where one rule is not missed, all that shut the same way are taken away at once, and a
# row must turn red. SABOTAGE=all takes rules too that only count or log.
# Every look waits for packets that must not come, so PARTS labs of their own look at the same time, each at its share of the rules.
export LAB_LIMIT="${LAB_LIMIT:-500}"
. "$(dirname "$0")/lib.sh"
PARTS=4

if [ -n "${SABOTAGE_PART:-}" ]; then # one of the labs
    topology_bridge
    cat >/etc/vm.toml <<'END'
[network]
bridge = "virbr10"
[firewall]
block           = ["198.51.100.128/25"]
allow           = ["203.0.113.77:tcp/445"]
open_host_ports = ["tcp/8080"]
END
    ping -c1 -W5 203.0.113.50 >/dev/null # a host behind another interface that this machine knows
    start_vmrouter --config /etc/vm.toml
    step "every ${PARTS}th rule from number $SABOTAGE_PART"
    check "it is taken away, looked for and put back" \
        python3 -I "$LAB/repo/tests/netns/sabotage.py" "$VMROUTER" "$VMROUTER_PID" "$SABOTAGE_PART" "$PARTS" "$SABOTAGE_SEEN"
    kill -CONT "$VMROUTER_PID"
    stop_vmrouter TERM
    exit
fi
labs=()
for ((part = 0; part < PARTS; ++part)); do
    LAB_STAGE=outside SABOTAGE_PART=$part SABOTAGE_SEEN=$LAB/seen.$part bash "$0" >"$LAB/part.$part" 2>&1 &
    labs+=($!)
done
step "every rule, in $PARTS labs"
for part in "${!labs[@]}"; do
    wait "${labs[part]}" || cat "$LAB/part.$part"
    check "lab $part has seen its share" test -s "$LAB/seen.$part"
done
python3 -I "$LAB/repo/tests/netns/sabotage.py" "$LAB"/seen.* >"$LAB/sabotage.log" 2>&1 || fail "$(cat "$LAB/sabotage.log")"
ok "$(tail -1 "$LAB/sabotage.log")"
expect_match "packets alone see most of what a guest could use" "by packets" "$(cat "$LAB/sabotage.log")"
for rule in 'vm_forward: iifname "virbr10" goto vm_from_guest' 'vm_from_guest: ip daddr @vm_private' 'vm_from_guest: ip daddr @vm_reserved' \
    'vm_from_guest: goto vm_open' 'vm_from_guest: ip daddr @vm_block' 'vm_dnat: iifname' 'vm_forward: iifname @vm_outside' 'vm_to_guest: goto vm_drop_inbound' 'vm_input: iifname' 'vm_to_host: goto vm_refuse_host' \
    'vm_to_host: icmp type echo-request' 'vm_between_guests: ip daddr' 'vm_open: tcp flags'; do
    expect_match "seen by a packet: $rule" "^by packets: inet ${rule}" "$(cat "$LAB/sabotage.log")"
done
expect_equal "each way that is shut in several places is seen when all of them are open" "" \
    "$(grep '^together:' "$LAB/sabotage.log" | grep '\[\]' || true)"
