#!/bin/bash
# `plan --format sh`: the script makes what the program makes, and puts it back.
#
#     inet --- gw --- host --- virbr10 (made by either)      enp6s0 (a spare port with addresses of its own)
. "$(dirname "$0")/lib.sh"

topology_bridge
join host enp6s0 office spare0

# Everything but the program's own files; tables in order of their names, and links without the numbers that the kernel
# gave them.
state() {
    {
        nft list tables | sort | while read -r _ family table; do nft -s list table "$family" "$table"; done
        snapshot_machine "$LAB/snapshot"
        sed -E '/^== \/run/,$d; 1,/^== links/d; s/^[0-9]+: //' "$LAB/snapshot"
    } >"$1"
}
round() { # TEXT ARGUMENT...
    local text=$1
    shift
    step "$text"
    state "$LAB/before"
    plan_script "$LAB/script" "$@" --format sh
    check "$text: up" dash "$LAB/script" up
    state "$LAB/by_script"
    if dash "$LAB/script" up >"$LAB/twice" 2>&1; then fail "$text: a second up is refused"; fi
    expect_match "$text: a second up says why" "up already" "$(cat "$LAB/twice")"
    check "$text: down" dash "$LAB/script" down
    state "$LAB/after"
    expect_same_machine "$LAB/before" "$LAB/after"
    if [ -e "/run/vmrouter-$LAB_SEGMENT.saved" ]; then fail "$text: the file of old values is gone"; fi
    start_vmrouter "$@"
    state "$LAB/by_program"
    stop_vmrouter TERM
    if cmp -s "$LAB/before" "$LAB/by_program"; then fail "$text: the program changed nothing at all"; fi
    if diff -U1 "$LAB/by_program" "$LAB/by_script" >"$LAB/machine.diff"; then ok "$text: script and program make the same"; else
        fail "$text: script and program make the same"
        head -60 "$LAB/machine.diff"
    fi
}

round "a bridge of its own" --bridge virbr10

step "a firewall that drops, and a machine with settings of its own"
iptables -P FORWARD DROP
sysctl -qw net.ipv4.conf.eth0.src_valid_mark=1 net.ipv4.conf.eth1.forwarding=1
mkdir -p /var/lib/vmrouter/virbr10
echo "52:54:00:12:34:57,192.168.100.11" >/var/lib/vmrouter/virbr10/hostsfile
cat >"$LAB/full.toml" <<'END'
[network]
bridge = "virbr10"
address = "192.168.100.1/24"
stp = true
isolate_guests = true
mtu = 1400
[firewall]
open_host_ports = ["tcp/8080"]
block = ["198.51.100.53"]
allow = ["192.168.1.50:tcp/445"]
[[firewall.forward]]
listen = "tcp/0.0.0.0:2222"
guest = "web"
port = 22
[[dhcp.host]]
mac = "52:54:00:12:34:56"
address = "192.168.100.10"
name = "web"
END
round "a whole configuration" --config "$LAB/full.toml"
expect_match "reservations of both kinds are in the script" "192.168.100.11" "$(cat "$LAB/script")"
expect_match "the other firewall is opened" "^    pass ip filter FORWARD" "$(cat "$LAB/script")"

LAB_SEGMENT=enp6s0
ip addr add 10.55.0.1/24 dev enp6s0
ip -6 addr add 2001:db8:66::1/64 dev enp6s0 nodad
round "an interface with addresses" --iface enp6s0
ip link set enp6s0 down
round "an interface that is down" --iface enp6s0

step "a script that fails half-way undoes what it did"
LAB_SEGMENT=virbr10
run_vmrouter 0 plan --bridge virbr10 --format sh
sed 's/^    ip -4 addr add .*/    false/' "$LAB/out" >"$LAB/script"
state "$LAB/before"
if dash "$LAB/script" up >"$LAB/said" 2>&1; then fail "it fails"; else ok "it fails"; fi
expect_match "and says so" "undoing what was done" "$(cat "$LAB/said")"
state "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"

step "without root, the same text but for what only root can read"
run_vmrouter 0 plan --bridge virbr10 --format sh
cp "$LAB/out" "$LAB/by_root"
chmod 755 "$LAB"
setpriv --reuid=65534 --regid=65534 --clear-groups "$VMROUTER" plan --bridge virbr10 --format sh >"$LAB/by_nobody"
expect_equal "a line says what is missing" 1 "$(grep -c 'could not be read (not root)' "$LAB/by_nobody")"
grep -v 'could not be read' "$LAB/by_nobody" | diff - <(grep -v '^    pass ' "$LAB/by_root") >"$LAB/diff" || true
expect_equal "the rest is the same" "" "$(cat "$LAB/diff")"
