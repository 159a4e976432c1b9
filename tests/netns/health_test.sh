#!/bin/bash
# What `status` says about the health of what was set up: each thing is broken once while vmrouter holds still, is named, and is well
# again when vmrouter has mended it, or, where that is left to the administrator, when he has.
#
#     the network of lib.sh; virbr10 with g1; a chain of the administrator's that drops what is forwarded
. "$(dirname "$0")/lib.sh"

topology_bridge
nft 'table inet admin { chain forward { type filter hook forward priority 10; policy drop; }; }'
mkdir -p /etc/vmrouter
printf '[network]\nbridge = "virbr10"\naddress = "192.168.100.1/24"\nisolate_guests = true\n' >/etc/vmrouter/vm.toml
start_vmrouter --config /etc/vmrouter/vm.toml
guest_add g1
PORT=$(guest_port g1)
SOCKET=/run/vmrouter/virbr10.sock
ill() { # COMMAND: what is not well right after it
    python3 -I "$LAB/repo/tests/netns/broken.py" "$SOCKET" "$VMROUTER_PID" "$1"
}
well() { [ -z "$(ill true)" ]; }
check "all is well" wait_until 10 well
named() { # WHAT REGEX COMMAND [CURE]: named; then all is well again, without the cure if there is none
    local found
    found=$(ill "$3") || true
    expect_match "$1" "^$2" "$found"
    ! grep '^before: ' <<<"$found" || fail "$1: all was well before"
    if [ $# -gt 3 ]; then bash -e -c "$4"; fi
    wait_until 10 well || fail "$1: is well again: $(ill true)"
}
ours=vmrouter_virbr10
named "a table that is gone" "firewall table inet $ours: not there" "nft delete table inet $ours"
named "the table of the arp family" "firewall table arp $ours: not there" "nft delete table arp $ours"
named "the table of the bridge family" "firewall table bridge $ours: not there" "nft delete table bridge $ours"
named "a chain that was emptied" 'firewall rules and sets: somebody has changed them' "nft flush chain inet $ours vm_from_guest"
named "a set that was emptied" 'firewall rules and sets: somebody has changed them' "nft flush set inet $ours vm_reserved"
named "a rule that was added" 'firewall rules and sets: somebody has changed them' "nft insert rule inet $ours vm_from_guest accept"
named "all rules" "firewall table inet $ours: not there" 'nft flush ruleset
    nft "table inet admin { chain forward { type filter hook forward priority 10; policy drop; }; }"'
named "the bridge is down" 'interface virbr10: down' 'ip link set virbr10 down'
named "the bridge is gone" 'interface virbr10: not there' 'ip link delete virbr10'
named "the address" 'address 192.168.100.1/24: not there' 'ip addr del 192.168.100.1/24 dev virbr10'
named "another MAC address" 'mac of virbr10: is 02:00:00:00:00:99' 'ip link set virbr10 address 02:00:00:00:00:99'
named "another MTU" 'mtu of virbr10: is 1300' 'ip link set virbr10 mtu 1300'
named "spanning tree" 'options of the bridge virbr10: somebody' 'ip link set virbr10 type bridge stp_state 1'
expect_equal "it forwards at once, as before" 0 "$(cat /sys/class/net/virbr10/bridge/forward_delay)"
named "snooping" 'options of the bridge virbr10: somebody' 'echo 1 >/sys/class/net/virbr10/bridge/multicast_snooping'
has_mtu() { [ "$(cat /sys/class/net/virbr10/mtu)" = "$1" ]; }
ip link set "$PORT" mtu 1300
check "no more than a port takes" wait_until 5 has_mtu 1300
expect_match "that is said" "mtu of virbr10: is 1300: $PORT takes no more" "$(ill true)"
ip link set "$PORT" mtu 1500
check "and as before without it" wait_until 5 has_mtu 1500
named "a port that is not isolated" "isolation of the ports: not isolated: $PORT" "bridge link set dev $PORT isolated off"
named "the dead man's switch" "routing rules of the dead man's switch: not those" \
    'eval "ip rule del $(ip rule | sed -n "s/^100:[[:space:]]*//p" | head -1)"'
mapfile -t SETTINGS < <(python3 -I -c 'import socket, sys, json
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b"{\"command\": \"status\"}\n")
for one in json.loads(s.makefile().readline())["result"]["health"]:
    if one["what"].startswith("net/"): print(one["what"])' "$SOCKET")
: >"$LAB/others"
for setting in "${SETTINGS[@]}"; do echo "$setting $(($(cat "/proc/sys/$setting") == 0))" >>"$LAB/others"; done
FOUND=$(ill "while read -r setting other; do echo \$other >/proc/sys/\$setting; done <$LAB/others")
while read -r setting other; do
    expect_match "the setting $setting" "^$setting: is $other" "$FOUND"
done <"$LAB/others"
check "there are settings" [ "${#SETTINGS[@]}" -gt 15 ]
check "all of them are mended" wait_until 10 well
named "our rule in a chain of others" 'pass rule in inet admin forward: not there' 'nft flush chain inet admin forward'
named "the table for checksums" "checksums of other programs' DHCP replies: not there" 'nft delete table ip mangle'
if ss -HK -ltn src 192.168.100.1:53 2>/dev/null | grep -q . && [ -z "$(ss -Hltn src 192.168.100.1:53)" ]; then
    expect_match "the DNS listener over TCP" '^DNS over TCP: nobody listens' "$(ill true)"
fi
stop_vmrouter
