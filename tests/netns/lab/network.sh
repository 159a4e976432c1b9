# shellcheck shell=bash disable=SC2034,SC2154
# The network around the machine under test. Part of lib.sh, which documents it.

topology() {
    local node
    step "the network: inet, gw, lan, office, host"
    sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 2>/dev/null || true
    ip link set lo up
    node_add inet gw lan office
    join inet eth0 gw wan0 198.51.100.10/24
    in_node inet sh -e -c 'ip addr add 198.51.100.53/24 dev eth0; ip -6 addr add 2001:db8:100::10/64 dev eth0 nodad
        ip -6 route add default via 2001:db8:100::1'
    in_node gw sh -e -c 'ip addr add 198.51.100.1/24 dev wan0; ip -6 addr add 2001:db8:100::1/64 dev wan0 nodad
        ip link add br0 type bridge forward_delay 0; ip link set br0 up
        ip addr add 192.168.1.1/24 dev br0; ip -6 addr add 2001:db8:1::1/64 dev br0 nodad
        sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
        nft "table ip nat { chain post { type nat hook postrouting priority srcnat; oifname wan0 masquerade; }; }"'
    join gw lan0 lan eth0
    join gw lan1 host eth0
    in_node gw sh -e -c 'ip link set lan0 master br0; ip link set lan1 master br0'
    in_node lan sh -e -c 'ip addr add 192.168.1.50/24 dev eth0; ip route add default via 192.168.1.1
        ip -6 addr add 2001:db8:1::50/64 dev eth0 nodad; ip -6 route add default via 2001:db8:1::1'
    ip addr add 192.168.1.2/24 dev eth0
    ip route add default via 192.168.1.1
    ip -6 addr add 2001:db8:1::2/64 dev eth0 nodad
    ip -6 route add default via 2001:db8:1::1
    join host eth1 office eth0 203.0.113.2/24
    in_node office sh -e -c 'ip addr add 203.0.113.50/24 dev eth0; ip route add default via 203.0.113.2'
    ip link add brother type bridge forward_delay 0
    ip addr add 10.77.0.1/24 dev brother
    ip link set brother up
    echo "nameserver 192.168.1.1" >/etc/resolv.conf
    lab_serve inet tcp/80 tcp/443 tcp/25 udp/123
    lab_serve gw tcp/80 tcp/22
    lab_serve lan tcp/22 tcp/80 tcp/445 udp/137
    lab_serve office tcp/22 tcp/80 tcp/445 udp/137
    lab_serve host tcp/22 tcp/631 tcp/8080 udp/123 udp/5353
    watch inet gw lan office host
    for node in inet gw lan office host; do wait_until 10 grep -q serving "$LAB/$node-serve.log"; done
    lab_dns
    # Conntrack's sysctls appear with its first use; here it was used before anyone takes a snapshot.
    nft 'table ip lab_warm { chain c { type nat hook postrouting priority srcnat; masquerade; }; }; delete table ip lab_warm'
    # And the neighbours are known, for longer than a slow test takes.
    sysctl -qw net.ipv4.neigh.eth0.gc_stale_time=86400 net.ipv4.neigh.eth1.gc_stale_time=86400
    for node in 192.168.1.1 192.168.1.50 203.0.113.50 198.51.100.10; do
        wait_until 10 ping -c1 -W1 "$node"
    done
}
lab_dns() {
    background inet dns dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces \
        --listen-address=198.51.100.53 --user=root --edns-packet-max=1232 \
        --host-record=www.example.net,198.51.100.10,2001:db8:100::10,300 --cname=alias.example.net,www.example.net \
        --host-record=rebind.example.net,192.168.1.50 --auth-zone=example.net --auth-server=ns.example.net \
        "$(lab_big_txt)"
    background gw dns dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces \
        --listen-address=192.168.1.1 --user=root --server=198.51.100.53 --host-record=nas.lan,192.168.1.50
    wait_until 10 dig +short +time=1 +tries=1 @192.168.1.1 www.example.net
}
lab_big_txt() {
    printf -- '--txt-record=big.example.net'
    for part in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do printf ',%s%0196d' "part" "$part"; done
}
topology_bridge() {
    LAB_MODE=bridge LAB_SEGMENT=virbr10
    topology
}
topology_iface() {
    LAB_MODE=iface LAB_SEGMENT=enp6s0
    topology
    node_add switch
    in_node switch sh -e -c 'ip link add br0 type bridge forward_delay 0; ip link set br0 up'
    join host enp6s0 switch up0
    in_node switch ip link set up0 master br0
}
