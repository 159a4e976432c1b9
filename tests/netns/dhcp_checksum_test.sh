#!/bin/bash
# The checksums of DHCP replies as guests see them that read the wire themselves: ours are right whatever the guest's card can do, and
# checksum_fill repairs those of other programs on this host.
#
#     inet --- gw (a DHCP server for relays) --- host (vmrouter; or dnsmasq, or a relay) --- virbr10 --- tap1 (virtio), tap2 (e1000)
. "$(dirname "$0")/lib.sh"

lab_packages isc-dhcp-relay
topology_bridge
config() { # KEYS OF [dhcp]
    cat >"$LAB/vm.toml" <<TOML
[network]
bridge = "virbr10"
address = "192.168.100.1/24"
[firewall]
open_host_ports = ["udp/67"]
[dhcp]
$1
TOML
}
virtio=52:54:00:aa:00:01 plain=52:54:00:aa:00:02
tap() { # a guest's tap, on the bridge as soon as there is one
    ip tuntap add "$1" mode tap vnet_hdr
    ip link set "$1" up
}
attach() { for port in tap1 tap2; do ip link set "$port" master virbr10; done; }
exchange() { # TAP MAC...
    python3 -I "$LAB/repo/tests/netns/tap.py" exchange "$@" 2>&1 || true
}
all_right() { # TEXT REPLIES: an OFFER and an ACK, complete on the wire
    if [ "$(grep -cE '^(OFFER|ACK) .* flags=0 ip=ok udp=ok$' <<<"$2")" = 2 ]; then ok "$1"; else fail "$1: $2"; fi
}
mangle() { iptables-save -t mangle | grep -v '^#' | sed 's/\[[0-9:]*\]//'; }
wrong() { expect_match "$1" "^OFFER .* flags=1 ip=ok udp=WRONG" "$2"; }
tap tap1
tap tap2

step "our own replies, by broadcast and by unicast"
config 'checksum_fill = false'
start_vmrouter --config "$LAB/vm.toml"
attach
for way in broadcast unicast; do
    all_right "a virtio guest that leaves its own checksums to the host ($way)" "$(exchange tap1 "$virtio" offload $way)"
    all_right "a guest whose card cannot complete checksums ($way)" "$(exchange tap2 "$plain" $way)"
done
expect_match "unicast is unicast" "^OFFER .* to $virtio " "$(exchange tap1 "$virtio" offload)"
expect_match "and broadcast is broadcast" '^OFFER .* to ff:ff:ff:ff:ff:ff ' "$(exchange tap1 "$virtio" offload broadcast)"
stop_vmrouter TERM

step "another DHCP server on this host"
iptables -t mangle -A POSTROUTING -o eth1 -p tcp -j TTL --ttl-set 63 # somebody's own rule
before=$(mangle)
server() {
    background host dnsmasq dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file --user=root --interface=virbr10 --port=0 \
        --bind-interfaces --except-interface=lo --no-ping --dhcp-authoritative --dhcp-range=192.168.100.2,192.168.100.254,1h \
        --dhcp-leasefile="$LAB/dnsmasq.leases"
    LAB_SERVER=$LAB_BACKGROUND
    wait_until 5 eval 'ss -Hlnu sport = :67 | grep -q virbr10'
}
end_server() { kill "$LAB_SERVER" && wait "$LAB_SERVER" || true; }
config $'enabled = false\nchecksum_fill = false'
start_vmrouter --config "$LAB/vm.toml"
attach
server
said=$(exchange tap1 "$virtio" offload broadcast)
wrong "before: a virtio guest that reads the wire finds a wrong sum (broadcast)" "$said"
wrong "before: and by unicast" "$(exchange tap1 "$virtio" offload)"
expect_equal "nothing was added to the table mangle" "$before" "$(mangle)"
end_server
stop_vmrouter TERM
config 'enabled = false'
start_vmrouter --config "$LAB/vm.toml"
attach
server
for way in broadcast unicast; do
    all_right "after: a virtio guest is content ($way)" "$(exchange tap1 "$virtio" offload $way)"
    all_right "after: a guest without offload is, too ($way)" "$(exchange tap2 "$plain" $way)"
done
rule='-A POSTROUTING -o virbr10 -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill'
expect_equal "iptables still shows the table, with one rule more" "$rule" "$(iptables -t mangle -S 2>&1 | grep CHECKSUM)"
expect_match "and the other program's rule" 'eth1 .*TTL --ttl-set 63' "$(iptables -t mangle -S 2>&1)"
check "what it prints, iptables-restore takes" eval 'iptables-save -t mangle | iptables-restore --test'
end_server

step "another program of this host while we serve, and a relay"
stop_vmrouter TERM
expect_equal "the rule is gone, and nothing else" "$before" "$(mangle)"
config 'checksum_fill = true'
start_vmrouter --config "$LAB/vm.toml"
attach
all_right "our own replies stay as they are" "$(exchange tap1 "$virtio" offload)"
background host listen python3 -I "$LAB/repo/tests/netns/tap.py" listen tap1 "$virtio" 192.168.100.250 offload
wait_until 5 grep -q listening "$LAB/host-listen.log"
python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("192.168.100.1", 0)); s.sendto(b"x" * 300, ("192.168.100.250", 68))'
check "a datagram to port 68 from a socket of another program is complete" wait_until 5 grep -q 'DATA .* flags=0 ip=ok udp=ok' "$LAB/host-listen.log"
kill "$LAB_BACKGROUND" && wait "$LAB_BACKGROUND" || true
stop_vmrouter TERM
background gw dhcp dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file --user=root --port=0 --interface=br0 --bind-interfaces \
    --except-interface=lo --no-ping --dhcp-authoritative --dhcp-range=192.168.100.2,192.168.100.254,255.255.255.0,1h --dhcp-leasefile=/run/leases
in_node gw ip route add 192.168.100.0/24 via 192.168.1.2
config 'enabled = false'
start_vmrouter --config "$LAB/vm.toml"
attach
background host relay dhcrelay -4 -d -id virbr10 -iu eth0 192.168.1.1
wait_until 5 grep -q 'Sending on' "$LAB/host-relay.log"
all_right "replies through a relay on this host are complete (broadcast)" "$(exchange tap1 "$virtio" offload broadcast)"
all_right "and by unicast, without offload" "$(exchange tap2 "$plain")"
stop_vmrouter KILL
run_vmrouter 0 down --bridge virbr10
expect_equal "down after a kill removes the rule and nothing else" "$before" "$(mangle)"
iptables -t mangle -F POSTROUTING
nft delete table ip mangle
start_vmrouter --config "$LAB/vm.toml"
check "where there was no table mangle, we make it" nft list chain ip mangle POSTROUTING
stop_vmrouter TERM
expect_equal "and take it away" "" "$(nft list tables | grep mangle || true)"
