#!/bin/bash
# Full-tunnel VPNs of every kind are "the internet": the guest's traffic leaves by the tunnel, and LAN, host and the VPN's own
# network stay shut. A VPN by name is a kill-switch: while it is down nothing leaves, DNS included.
#
#   inet 198.51.100.10 --- gw --- eth0 host --- virbr10 --- g1
#     \--- tun0 10.99.0.1 ======= vpn0 10.99.0.2 (TUN devices: no gateway, no ARP)
. "$(dirname "$0")/lib.sh"

topology_bridge
background host tunnel python3 -I "$LAB/repo/tests/netns/tunnel.py" vpn0 inet tun0
wait_until 5 grep -q open "$LAB/host-tunnel.log"
up() {
    ip addr replace 10.99.0.2/32 peer 10.99.0.1/32 dev vpn0
    ip link set vpn0 up
}
up
in_node inet sh -c 'ip addr add 10.99.0.1/32 peer 10.99.0.2/32 dev tun0; ip link set tun0 up'
uplink_is() { nft list set inet vmrouter_virbr10 vm_uplinks | grep -q "$1"; }

start_vmrouter --bridge virbr10 --address 192.168.100.1/24
guest_add g1
guest_static g1 192.168.100.11/24 192.168.100.1
expect_reach g1 tcp inet 198.51.100.10 80
expect_equal "without a VPN by the home router" 198.51.100.1 "$(source_seen inet)"

shape() { # NAME ROUTE-COMMAND... on standard input, undone by the same with `del`
    local name=$1 line commands=()
    mapfile -t commands
    step "$name"
    for line in "${commands[@]}"; do
        # shellcheck disable=SC2086
        ip ${line/ADD/add}
    done
    check "the tunnel becomes the uplink" wait_until 5 uplink_is vpn0
    expect_reach g1 tcp inet 198.51.100.10 80
    expect_equal "through the tunnel" 10.99.0.2 "$(source_seen inet)"
    expect_reach g1 udp inet 198.51.100.10 123
    expect_refused g1 tcp lan 192.168.1.50 22
    expect_refused g1 tcp office 203.0.113.50 22
    expect_refused g1 tcp inet 10.99.0.1 80
    expect_refused g1 tcp host 10.99.0.2 22
    for line in "${commands[@]}"; do
        # shellcheck disable=SC2086
        ip ${line/ADD/del}
    done
    check "and afterwards no longer" wait_until 5 uplink_is eth0
}
shape "0.0.0.0/1 and 128.0.0.0/1" <<'ROUTES'
route ADD 0.0.0.0/1 dev vpn0
route ADD 128.0.0.0/1 dev vpn0
ROUTES
shape "all but the private ranges, in short prefixes" <<'ROUTES'
route ADD 0.0.0.0/5 dev vpn0
route ADD 8.0.0.0/7 dev vpn0
route ADD 12.0.0.0/6 dev vpn0
route ADD 16.0.0.0/4 dev vpn0
route ADD 32.0.0.0/3 dev vpn0
route ADD 64.0.0.0/2 dev vpn0
route ADD 128.0.0.0/3 dev vpn0
route ADD 160.0.0.0/5 dev vpn0
route ADD 168.0.0.0/6 dev vpn0
route ADD 174.0.0.0/7 dev vpn0
route ADD 176.0.0.0/4 dev vpn0
route ADD 194.0.0.0/7 dev vpn0
route ADD 196.0.0.0/6 dev vpn0
route ADD 200.0.0.0/5 dev vpn0
route ADD 208.0.0.0/4 dev vpn0
ROUTES
shape "a default route in a table of its own, by rules" <<'ROUTES'
route ADD default dev vpn0 table 51820
rule ADD priority 30001 table main suppress_prefixlength 0
rule ADD priority 30002 not fwmark 0xca6c table 51820
ROUTES
stop_vmrouter

step "by name: a kill-switch"
configure() {
    printf '[network]\nbridge = "virbr10"\naddress = "192.168.100.1/24"\n[firewall]\n%s\n[dns]\nupstreams = ["198.51.100.53"]\n' "$1" >"$LAB/vm.toml"
}
ask() { # a name with the token in it
    lab_token
    LAB_TOKENS=$TOKEN
    in_node g1 dig +time=1 +tries=1 "$1" "$TOKEN.example.net" >"$LAB/dig" 2>&1 || true
}
left_by() { lab_seen host out | grep -q "^out $1 "; }
configure ''
start_vmrouter --config "$LAB/vm.toml"
ask @192.168.100.1
check "the control: without it a question leaves by eth0" wait_until 5 left_by eth0
stop_vmrouter
configure 'uplink = ["vpn0"]'
ip route add 0.0.0.0/1 dev vpn0
ip route add 128.0.0.0/1 dev vpn0
start_vmrouter --config "$LAB/vm.toml"
expect_reach g1 tcp inet 198.51.100.10 80
expect_equal "through the tunnel" 10.99.0.2 "$(source_seen inet)"
ask @192.168.100.1
check "so does a question" wait_until 5 left_by vpn0
background g1 open python3 -I "$LAB/repo/tests/netns/session.py" 198.51.100.10 80
wait_until 5 grep -q heard "$LAB/g1-open.log"
nothing_leaves() {
    expect_refused g1 tcp inet 198.51.100.10 80
    expect_refused g1 udp inet 198.51.100.10 123
    for server in 192.168.100.1 9.9.9.9; do
        ask @$server
        sleep 0.3
        if lab_seen host out | grep -v '^out vnet\|^out virbr10\|^out vpn0'; then fail "$1: a question leaves (above)"; else ok "$1: a question to $server goes nowhere"; fi
    done
}
ip route del 0.0.0.0/1 dev vpn0
ip route del 128.0.0.0/1 dev vpn0
nothing_leaves "without its routes"
check "what was open does not go on by another way" wait_until 5 grep -q cut "$LAB/g1-open.log"
ip link set vpn0 down
nothing_leaves "down"
ip link delete vpn0
nothing_leaves "gone"
