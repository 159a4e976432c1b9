#!/bin/bash
# monitor: what happens, as it happens, as lines, as JSON and on a full screen; and over a restart.
#
#     inet --- gw --- host --- virbr10 --- vnet1 web (udhcpc)
#               |                    `---- vnet2 db (udhcpc)
#              lan
. "$(dirname "$0")/lib.sh"

topology_bridge
start_vmrouter --bridge virbr10
events() { sed -n "${1:-1},\$p" "$LAB/host-json.log"; }
# An event of that kind with these members: `saw dns guest=web name=www.example.net`
saw() {
    python3 -c '
import json, sys
kind, wanted = sys.argv[1], dict(word.split("=", 1) for word in sys.argv[2:])
for line in sys.stdin:
    if not line.startswith("{"): continue
    event = json.loads(line)
    assert isinstance(event["time"], float), line
    if event["event"] == kind and all(str(event[key]) == value for key, value in wanted.items()): sys.exit(0)
sys.exit(1)' "$@" <"$LAB/host-json.log"
}
expect_event() { if wait_until 10 saw "$@"; then ok "an event: $*"; else fail "an event: $*" && tail -5 "$LAB/host-json.log"; fi; }
conntrack_listeners() { awk '$2 == 12 && $4 ~ /[13579bdf]$/' /proc/net/netlink | wc -l; }

quiet=$(conntrack_listeners)
background host json "$VMROUTER" monitor --json
background host lines "$VMROUTER" monitor
background host dns "$VMROUTER" monitor --only dns --guest web
wait_until 5 eval "[ \$(conntrack_listeners) -gt $quiet ]" || true
expect_equal "connection tracking is listened to while somebody follows" "$((quiet + 1))" "$(conntrack_listeners)"

step "what happens"
for name in web db; do
    guest_add "$name"
    guest_dhcp "$name" udhcpc
    expect_event lease cause=bind "guest=$name" "address=$(guest_address "$name")" "mac=$(guest_mac "$name")" state=bound
done
expect_event port port=vnet1 joined=True
in_node web dig +short www.example.net >/dev/null
in_node db dig +short alias.example.net >/dev/null
expect_event dns guest=web "address=$(guest_address web)" name=www.example.net type=A rcode=NOERROR
expect_reach web tcp inet 198.51.100.10 80
expect_event flow guest=web direction=out protocol=tcp peer=198.51.100.10 port=80 name=www.example.net
expect_blocked db tcp lan 192.168.1.50 22
expect_event blocked guest=db reason=lan protocol=tcp peer=192.168.1.50 port=22 "mac=$(guest_mac db)"
nft delete table inet vmrouter_virbr10
expect_event rules process=nft
ip route del default
expect_event uplink "uplinks=[]"
ip route add default via 192.168.1.1
expect_event uplink "uplinks=['eth0']"
kill "$(pgrep -f 'listen-address=192.168.1.1 ')"
in_node web dig +short +time=1 +tries=2 other.example.net >/dev/null || true
expect_event upstream server=192.168.1.1 health=down
expect_match "a line says when, who and what" \
    '^[0-9:]{8} flow     web             to tcp 198\.51\.100\.10:80 \(www\.example\.net\)$' "$(cat "$LAB/host-lines.log")"
expect_match "filters: the queries of one guest" ' dns      web  .* A www\.example\.net: NOERROR' "$(cat "$LAB/host-dns.log")"
expect_equal "... and nothing else" "" "$(grep -vE ' dns +web ' "$LAB/host-dns.log" || true)"
run_vmrouter 2 monitor --only nonsense
expect_match "a kind that there is not is answered by those that there are" 'there are: lease, dns, flow' "$(cat "$LAB/out")"

step "a restart"
stop_vmrouter TERM
wait_until 5 grep -q 'went away' "$LAB/host-lines.log" || true
start_vmrouter --bridge virbr10
from=$(($(wc -l <"$LAB/host-json.log") + 1))
wait_until 5 eval "[ \$(conntrack_listeners) -gt $quiet ]" || true
guest_renew web
renewed() { events "$from" | grep -q '"event":"lease"'; }
wait_until 10 renewed || true
expect_match "events go on after it" '"event":"lease"' "$(events "$from")"

step "the full screen"
LC_ALL=C.UTF-8 tmux -u -L "lab$$" -f /dev/null new-session -d -x 100 -y 30 "env LC_ALL=C.UTF-8 $VMROUTER monitor --top"
screen() { tmux -u -L "lab$$" capture-pane -p; }
shows() { screen | LC_ALL=C.UTF-8 grep -qE "$1"; }
expect_shows() { if wait_until 10 shows "$1"; then ok "the screen shows $1"; else fail "the screen shows $1" && screen; fi; }
expect_shows '^vmrouter virbr10  [12] guests?, down .*/s, up .*/s'
in_node web ping -q -c20 -i0.05 -s1000 192.168.100.1 >/dev/null
expect_shows "^web +$(guest_address web) +[0-9.]+ k?B/s +[0-9.]+ k?B/s .*[▁▂▃▄▅▆▇█]"
in_node web dig +short +time=1 +tries=1 nas.vm.internal >/dev/null || true
expect_shows ' web +A nas\.vm\.internal: NXDOMAIN'
expect_blocked web tcp lan 192.168.1.50 445
expect_shows ' web +tcp 192\.168\.1\.50:445, lan'
stop_vmrouter TERM
expect_shows 'went away; waiting'
start_vmrouter --bridge virbr10
expect_shows '^vmrouter virbr10  [12] guests?, down .*q: quit'
screen >"$LAB/host-top.log"
tmux -L "lab$$" send-keys q
closed() { ! tmux -L "lab$$" list-sessions >/dev/null 2>&1; }
if wait_until 10 closed; then ok "q ends it"; else fail "q ends it" && tmux -L "lab$$" kill-server; fi

step "nobody follows"
for pid in ${LAB_BUSY[host]}; do
    ! grep -q "vmrouter.*monitor" <(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) || kill "$pid"
done
wait_until 5 eval "[ \$(conntrack_listeners) = $quiet ]" || true
expect_equal "connection tracking is not listened to any more" "$quiet" "$(conntrack_listeners)"
expect_equal "each event has the shape that ARCHITECTURE.md gives" "" \
    "$(python3 -I "$LAB/repo/tests/netns/shapes.py" "$LAB_REPO/ARCHITECTURE.md" events < <(grep '^{' "$LAB/host-json.log") 2>&1 || true)"
stop_vmrouter TERM
