#!/bin/bash
# `verify`: a throw-away guest tries everything; all is well on a machine that is well, and it leaves nothing behind.
#
#     inet --- gw --- host --- virbr10 or enp6s0 --- verify's own guests
. "$(dirname "$0")/lib.sh"

topology_bridge
verify=(verify --target www.example.net --rebind rebind.example.net --wait 1)
ask() { # FIELD GROUP TRIED-REGEX: of the row in $LAB/json
    python3 -I - "$LAB/json" "$@" <<'END'
import json, re, sys
rows = json.load(open(sys.argv[1]))["rows"]
print("; ".join(row[sys.argv[2]] for row in rows if row["group"] == sys.argv[3] and re.search(sys.argv[4], row["tried"])))
END
}
surprises() { python3 -I -c 'import json,sys; [print(r["group"],"|",r["tried"],"|",r["happened"]) for r in json.load(open(sys.argv[1]))["rows"] if r["result"]=="surprise"]' "$LAB/json"; }
prove() { # WANTED_STATUS ARGUMENT...
    local wanted=$1 status=0
    shift
    timeout -k 5 30 "$VMROUTER" "${verify[@]}" --json "$@" >"$LAB/json" 2>"$LAB/said" || status=$?
    expect_equal "verify $* ends with status $wanted" "$wanted" "$status"
    [ "$status" = "$wanted" ] || { surprises; cat "$LAB/said"; }
    lab_sanitizers "$LAB/said"
}

# The machine, but for what any guest leaves: counters and limits by address in sets of the firewall, and what a bridge takes over
# from its ports.
footprint() {
    snapshot_machine "$LAB/snapshot"
    awk '/elements = \{/ { skip = 1 } !skip { print } /\}/ { skip = 0 }' "$LAB/snapshot" |
        sed -E 's/(t|g)so_max_size [0-9]+//g; s/NO-CARRIER,//; s/,LOWER_UP//; s/ state (UP|DOWN|UNKNOWN)//' >"$1"
}

step "a bridge"
run_vmrouter 1 verify
expect_match "without an instance it says so" "no vmrouter is running" "$(cat "$LAB/out")"
start_vmrouter --bridge virbr10
footprint "$LAB/before"
prove 0
expect_equal "no surprise" "" "$(surprises)"
rows=(
    "internet:TCP to" "internet:UDP to" "internet:ICMP" "internet:without SYN" "DNS:www.example.net" "DNS:rebind.example"
    "DNS:server in the internet" "DNS:server in the LAN" "LAN:192.168.1.0/24" "LAN:203.0.113.0/24" "LAN:10.77.0.0/24"
    "LAN:private" "LAN:reserved" "this machine:its services at 192.168.100.1$" "this machine:its services at 192.168.1.2"
    "this machine:ARP questions" "this machine:broadcast" "this machine:it reaches guests" "IPv6:router solicitation" "IPv6:ULA"
    "forged:address of another guest" "forged:address and MAC" "forged:host of the LAN" "forged:ARP that claims our"
    "forged:options" "forged:DHCP server" "guests:guest to guest$" "guests:through us" "layer 2:VLAN"
    "outside:from eth0 to a guest" "outside:in the name" "outside:control" "read back:table inet" "read back:table bridge"
    "read back:table arp" "read back:kernel settings" "read back:dead man"
)
python3 -I - "$LAB/json" "${rows[@]}" >"$LAB/tried" <<'END'
import json, re, sys
rows = json.load(open(sys.argv[1]))["rows"]
for wanted in sys.argv[2:]:
    group, tried = wanted.split(":", 1)
    found = [row["result"] for row in rows if row["group"] == group and re.search(tried, row["tried"])]
    print(wanted, "->", "ok" if found and set(found) == {"ok"} else found)
END
expect_equal "it tried each of ${#rows[@]} things, and all is well" "" "$(grep -v -- '-> ok$' "$LAB/tried" || true)"
expect_match "the internet answered, under this machine's address" "left by eth0 as 192.168.1.2, answered" "$(ask happened internet "TCP to")"
expect_match "the rules were read back line by line" "lines: all of them" "$(ask happened "read back" "table inet")"
settled() { ! grep -q vmv /run/vmrouter/virbr10.changes; } # what was set on the guests' ports is forgotten with them
wait_until 5 settled
footprint "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"
run_vmrouter 0 "${verify[@]}"
expect_match "the table for people ends with a sum" "as expected, no surprise" "$(cat "$LAB/out")"
check "leases were given back" wait_until 5 sh -c '! grep -q 02:76:6d /var/lib/vmrouter/virbr10/leases'

step "Ctrl-C and kill leave nothing"
mkfifo "$LAB/fifo"
for signal in INT TERM KILL; do
    sleep 1000 >"$LAB/fifo" & # holds it open
    holder=$!
    env --default-signal=INT "$VMROUTER" "${verify[@]}" --repeat <"$LAB/fifo" >"$LAB/said" 2>&1 &
    pid=$!
    check "it joined the bridge" wait_until 10 sh -c 'ip -br link | grep -q "^vmv.*a@"'
    kill -"$signal" "$pid"
    kill "$holder"
    wait "$pid" 2>/dev/null || true
    check "after SIG$signal its guests are gone" wait_until 5 sh -c '! ip -br link | grep -q "^vmv"'
done
wait_until 5 settled
footprint "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"

stop_vmrouter TERM

step "isolated guests, an opened port, a closed segment"
start_vmrouter --bridge virbr10 --isolate-guests true --open-host-ports tcp/8080
prove 0
expect_match "guests are apart" "goes nowhere" "$(ask expected guests "guest to guest$")"
expect_equal "the opened port is reached" ok "$(ask result "this machine" "opened ports")"
stop_vmrouter TERM
start_vmrouter --bridge virbr10 --internet false
prove 0
expect_match "names stay inside" "^refused$" "$(ask happened DNS "www.example.net")"
expect_match "what would leave is refused" "refused, seen nowhere" "$(ask happened internet "UDP to")"
expect_match "nothing leaves" "goes nowhere" "$(ask expected internet "TCP to")"
stop_vmrouter TERM

step "an interface"
LAB_SEGMENT=enp6s0
node_add switch
join host enp6s0 switch up0
start_vmrouter --iface enp6s0
prove 0
expect_match "it says what it could not try" "no switch sees them" "$(ask happened segment "on the wire")"
expect_equal "a forged source" ok "$(ask result forged "host of the LAN")"
expect_equal "the netdev table is read back" ok "$(ask result "read back" "table netdev")"
stop_vmrouter TERM
