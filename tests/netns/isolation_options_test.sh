#!/bin/bash
# What the configuration opens and closes: allow, block, lan, internet, open_host_ports, isolate_guests, max_connections,
# source_guard, uplink by name. Each change is a reload, and connections that a change forbids are cut.
#
#   the whole network of lib.sh, virbr10 with g1 192.168.100.11 and g2 192.168.100.12
. "$(dirname "$0")/lib.sh"

topology_bridge
configure() { # lines of [firewall]; [network] keys in NETWORK
    printf '[network]\nbridge = "virbr10"\naddress = "192.168.100.1/24"\n%s\n[firewall]\n%s\n' "${NETWORK:-}" "$1" >"$LAB/vm.toml"
}
reconfigure() {
    configure "$1"
    local from
    from=$(wc -l <"$LAB/vmrouter.log")
    kill -HUP "$VMROUTER_PID"
    # shellcheck disable=SC2016
    wait_until 5 sh -c "tail -n +$((from + 1)) '$LAB/vmrouter.log' | grep -q RELOAD" || fail "reload: $1"
}

guests() {
    LAB_GUESTS=0
    guest_add g1
    guest_add g2
    guest_static g1 192.168.100.11/24 192.168.100.1
    guest_static g2 192.168.100.12/24 192.168.100.1
    serve g2 tcp/22
}
in_node gw ip addr add 169.254.169.254/32 dev lo
unheard() { # WITNESS: what isolate_guests keeps from the neighbour
    send_frame g1 eth0 ip.src=192.168.100.11 ip.dst=255.255.255.255 dport=5353
    "$1" g2 in "a broadcast"
    send_frame g1 eth0 arp=request spa=192.168.100.11 tpa=192.168.100.12
    "$1" g2 in "an ARP question"
}
through_us() { in_node g1 ip neigh replace 192.168.100.12 lladdr "$(cat /sys/class/net/virbr10/address)" dev eth0 nud permanent; }

start_control
guests
for target in "lan 192.168.1.50 22" "lan 192.168.1.50 445" "office 203.0.113.50 22" "inet 198.51.100.10 80" "inet 198.51.100.10 443" \
    "host 192.168.100.1 22" "host 192.168.1.2 22" "host 192.168.1.2 8080" "host 10.77.0.1 22" "gw 169.254.169.254 80" "g2 192.168.100.12 22"; do
    # shellcheck disable=SC2086
    expect_reach g1 tcp $target
done
expect_reach g1 udp inet 198.51.100.10 123
expect_reach g1 icmp inet 198.51.100.10
unheard expect_seen
through_us
expect_reach g1 tcp g2 192.168.100.12 22
for _ in 1 2 3 4 5; do background g1 "free$_" python3 -I "$LAB/repo/tests/netns/session.py" 198.51.100.10 80; done
wait_until 5 grep -q heard "$LAB/g1-free5.log"
expect_reach g1 tcp inet 198.51.100.10 443
guest_delete g1
guest_delete g2
stop_control

configure ''
start_vmrouter --config "$LAB/vm.toml"
guests
expect_refused g1 tcp lan 192.168.1.50 445
expect_reach g1 tcp g2 192.168.100.12 22

step "allow: an address, a port, a network"
reconfigure 'allow = ["192.168.1.50:tcp/445", "203.0.113.0/24:udp/137"]'
expect_reach g1 tcp lan 192.168.1.50 445
expect_equal "through masquerade" 192.168.1.2 "$(source_seen lan)"
expect_refused g1 tcp lan 192.168.1.50 22
expect_reach g1 udp office 203.0.113.50 137
expect_refused g1 tcp office 203.0.113.50 22
background g1 allowed python3 -I "$LAB/repo/tests/netns/session.py" 192.168.1.50 445
wait_until 5 grep -q heard "$LAB/g1-allowed.log"
reconfigure 'allow = ["192.168.1.50:tcp/22"]'
check "an open connection that is no longer allowed is cut" wait_until 5 grep -q cut "$LAB/g1-allowed.log"
expect_reach g1 tcp lan 192.168.1.50 22
expect_refused g1 tcp lan 192.168.1.50 445

step "block: further networks"
background g1 blocked python3 -I "$LAB/repo/tests/netns/session.py" 198.51.100.10 80
wait_until 5 grep -q heard "$LAB/g1-blocked.log"
reconfigure 'block = ["198.51.100.0/28"]'
expect_refused g1 tcp inet 198.51.100.10 80
check "an open connection into it is cut" wait_until 5 grep -q cut "$LAB/g1-blocked.log"
expect_reach g1 udp inet 198.51.100.53 123

step "block: a long list leaves the internet as it is" # the dead man's switch rounds it up to 64 prefixes
many=$(for i in $(seq 0 299); do printf '"%d.%d.7.0/24", ' $((1 + i * 41 % 222)) $((i * 5 % 250)); done)
reconfigure "block = [$many\"198.51.100.0/28\"]"
ip link add later0 type veth peer name later1 && ip link delete later0 # the host's networks are read anew
expect_refused g1 tcp inet 198.51.100.10 80
expect_reach g1 udp inet 198.51.100.53 123
check "the uplink was there all the time" sh -c "! grep 'UPLINK none' '$LAB/vmrouter.log'"

step "lan = allow: networks open, the host and what is nobody's network stay shut"
reconfigure 'lan = "allow"
block = ["203.0.113.0/24"]'
expect_reach g1 tcp lan 192.168.1.50 445
expect_reach g1 tcp inet 198.51.100.10 80
expect_refused g1 tcp office 203.0.113.50 22
expect_refused g1 tcp host 192.168.1.2 22
expect_refused g1 tcp host 10.77.0.1 22
expect_refused g1 tcp gw 169.254.169.254 80

step "internet = false: nothing beyond the segment, and the guest is told"
in_node g2 dig +short +time=2 +tries=2 @198.51.100.53 www.example.net >"$LAB/dig"
expect_equal "names resolve before" 198.51.100.10 "$(cat "$LAB/dig")"
background g1 closed python3 -I "$LAB/repo/tests/netns/session.py" 198.51.100.10 80
wait_until 5 grep -q heard "$LAB/g1-closed.log"
reconfigure 'internet = false
allow = ["192.168.1.50:tcp/22", "198.51.100.53:udp/53"]' # which opens nothing here
everything_is_refused() {
    expect_refused g1 tcp inet 198.51.100.10 80
    expect_refused g1 udp inet 198.51.100.10 123
    expect_refused g1 icmp inet 198.51.100.10
    expect_refused g1 tcp lan 192.168.1.50 22
    expect_refused g1 tcp office 203.0.113.50 22
    expect_refused g1 tcp gw 169.254.169.254 80
    expect_refused g1 tcp host 192.168.1.2 22
    expect_reach g1 tcp g2 192.168.100.12 22
    expect_reach g1 icmp host 192.168.100.1
}
everything_is_refused
check "an open connection is cut" wait_until 5 grep -q cut "$LAB/g1-closed.log"
check "it is logged" wait_until 5 log_has 'BLOCK closed tcp 192.168.1.50:22 from 192.168.100.11'
# shellcheck disable=SC2016
expect_equal "and counted for the guest" 1 "$(python3 -I "$LAB/repo/tests/netns/status.py" "$VMROUTER" virbr10 \
    'sum(one["count"] for one in status["blocked"] if (one["reason"], one["peer"], one["port"]) == ("closed", "192.168.1.50", 22))')"
reconfigure 'internet = false
source_guard = "off"'
send_frame g1 eth0 dst="$(cat /sys/class/net/virbr10/address)" ip.src=192.168.1.50 ip.dst=198.51.100.10 dport=123
expect_unseen inet "a forged source goes nowhere"
expect_unseen lan "and whoever is forged hears nothing of it"
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
    step "... with bridged frames in our chains, and with forwarding that another program switched on"
    nf=$(sysctl -n net.bridge.bridge-nf-call-iptables)
    sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.ipv4.ip_forward=1
    everything_is_refused
    sysctl -qw net.bridge.bridge-nf-call-iptables="$nf" net.ipv4.ip_forward=0
fi
step "... and names are no way out, whichever server is asked"
ask() { # SERVER: a name with a token in it, which is seen where the question goes
    lab_token
    LAB_TOKENS=$TOKEN
    in_node g1 dig +time=2 +tries=2 "@$1" "$TOKEN.example.net" >"$LAB/dig" 2>&1 || true
}
for server in 192.168.100.1 198.51.100.10 198.51.100.53; do
    ask "$server"
    expect_match "$server: refused by ours" REFUSED "$(cat "$LAB/dig")"
    expect_unseen inet "$server: not asked for"
done
expect_equal "our own name is answered" 192.168.100.1 "$(in_node g1 dig +short +time=2 +tries=2 @198.51.100.10 vmrouter.vm.internal)"
reconfigure 'internet = false
[dns]
upstreams = ["198.51.100.53"]' # said in so many words
ask 192.168.100.1
expect_seen inet "servers that the configuration names are asked"

step "open_host_ports: what it names, on our address"
reconfigure 'open_host_ports = ["tcp/8080", "udp/123"]'
expect_reach g1 tcp host 192.168.100.1 8080
expect_reach g1 udp host 192.168.100.1 123
expect_refused g1 tcp host 192.168.100.1 22
expect_refused g1 tcp host 192.168.1.2 8080

step "max_connections"
reconfigure 'max_connections = 5'
for _ in 1 2 3 4 5; do background g1 "many$_" python3 -I "$LAB/repo/tests/netns/session.py" 198.51.100.10 80; done
wait_until 5 grep -q heard "$LAB/g1-many5.log"
expect_refused g1 tcp inet 198.51.100.10 443
expect_reach g2 tcp inet 198.51.100.10 443

step "an uplink by name: when it is not the way, nothing leaves (see isolation_vpn as well)"
reconfigure 'uplink = ["wg0"]'
expect_refused g2 tcp inet 198.51.100.10 80
join host wg0 inet tun0
ip addr add 10.99.0.2/24 dev wg0
in_node inet ip addr add 10.99.0.1/24 dev tun0
ip route add 0.0.0.0/1 dev wg0
ip route add 128.0.0.0/1 dev wg0
in_node inet sysctl -qw net.ipv4.conf.all.proxy_arp=1 net.ipv4.conf.tun0.proxy_arp=1
in_node inet ip route add 192.168.1.2/32 dev tun0
uplink_is() { nft list set inet vmrouter_virbr10 vm_uplinks | grep -q "$1"; }
check "the tunnel becomes the uplink" wait_until 5 uplink_is wg0
expect_reach g2 tcp inet 198.51.100.10 80
expect_equal "through the tunnel" 10.99.0.2 "$(source_seen inet)"
expect_refused g2 tcp lan 192.168.1.50 22
ip route del 128.0.0.0/1 dev wg0
ip route del 0.0.0.0/1 dev wg0
expect_refused g2 tcp inet 198.51.100.10 80
stop_vmrouter

step "isolate_guests: not at layer 2, not through us, not by broadcast, also for ports that come later"
NETWORK='isolate_guests = true' configure ''
start_vmrouter --config "$LAB/vm.toml"
expect_blocked g1 tcp g2 192.168.100.12 22
through_us
expect_refused g1 tcp g2 192.168.100.12 22
unheard expect_unseen
guest_add g3
guest_static g3 192.168.100.13/24 192.168.100.1
expect_reach g3 tcp inet 198.51.100.10 80
in_node g3 ip neigh replace 192.168.100.12 lladdr "$(guest_mac g2)" dev eth0 nud permanent
expect_blocked g3 tcp g2 192.168.100.12 22
expect_reach g1 tcp inet 198.51.100.10 80
