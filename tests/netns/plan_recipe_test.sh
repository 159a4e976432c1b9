#!/bin/bash
# `plan --format recipe`: the classic recipe with the real brctl, iptables and dnsmasq; a guest gets the internet.
#
#     inet --- gw --- host --- virbr10 (made by the recipe) --- r1, r2
. "$(dirname "$0")/lib.sh"

topology_bridge

step "from a bridge and an address alone"
plan_script "$LAB/recipe" --bridge virbr10 --address 192.168.100.1/24 --format recipe
expect_match "it says what it lacks" "What it lacks in comparison with vmrouter" "$(head -5 "$LAB/recipe")"
for chain in filter/FORWARD filter/INPUT nat/PREROUTING nat/POSTROUTING mangle/POSTROUTING; do # what iptables makes stays
    iptables -t "${chain%/*}" -A "${chain#*/}" -j ACCEPT && iptables -t "${chain%/*}" -D "${chain#*/}" -j ACCEPT
done
snapshot_machine "$LAB/before"
check "up" dash "$LAB/recipe" up
expect_match "brctl knows the bridge" "^virbr10" "$(brctl show)"
guest_add r1
guest_dhcp r1 udhcpc
expect_match "the lease is in dnsmasq's file" "$(guest_address r1)" "$(cat /var/lib/vmrouter/virbr10/leases)"
# To dnsmasq, the lab's public addresses (for documentation) are private ones too: stop-dns-rebind takes them out.
expect_match "DNS answers, by TCP too" "part0+15" "$(in_node r1 dig +short +time=2 TXT big.example.net)"
expect_equal "answers that point into a LAN are removed" "" "$(in_node r1 dig +short +time=2 rebind.example.net)"
expect_reach r1 tcp inet 198.51.100.10 80
expect_blocked r1 tcp lan 192.168.1.50 445
expect_blocked r1 tcp host 192.168.100.1 22
expect_blocked r1 udp office 203.0.113.50 137
guest_delete r1
check "down" dash "$LAB/recipe" down
rm -rf /var/lib/vmrouter
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"

step "from a whole configuration"
cat >"$LAB/full.toml" <<'END'
[network]
bridge = "virbr10"
address = "192.168.100.1/24"
isolate_guests = true
[firewall]
allow = ["192.168.1.50:tcp/445"]
block = ["198.51.100.10/32"]
open_host_ports = ["tcp/8080"]
allow_domains = ["*.example.net"]
[[firewall.forward]]
listen = "tcp/0.0.0.0:2222"
guest = "192.168.100.10"
port = 22
[[firewall.forward]]
listen = "tcp/2223"
guest = "web"
port = 22
[dhcp]
lease_time = "infinite"
ntp_servers = ["192.168.100.1"]
options = [{ code = 150, ip = ["192.168.100.9"] }]
[[dhcp.host]]
mac = "52:54:00:00:00:02"
address = "192.168.100.10"
name = "web"
[dns]
upstreams = ["192.168.1.1"]
records = { "nas.vm.internal" = "192.168.100.5" }
block_domains = ["ads.example.net"]
[[dns.route]]
domain = "corp.example"
upstreams = ["192.168.1.1:53"]
[[usermode]]
user = "nobody"
END
plan_script "$LAB/recipe" "$LAB/full.toml" --format recipe
for missing in 'allow_domains is NOT' '\[\[usermode\]\] is NOT' 'on loopback, or to a guest by name'; do
    expect_match "it says that it lacks: $missing" "$missing" "$(cat "$LAB/recipe")"
done
check "up" dash "$LAB/recipe" up
guest_add r2
guest_dhcp r2 udhcpc
expect_equal "the reservation holds" 192.168.100.10 "$(guest_address r2)"
expect_equal "a record of the configuration" 192.168.100.5 "$(in_node r2 dig +short +time=2 nas.vm.internal)"
expect_equal "a blocked name" "" "$(in_node r2 dig +short +time=2 ads.example.net)"
expect_reach r2 tcp lan 192.168.1.50 445
expect_reach r2 tcp host 192.168.100.1 8080
expect_blocked r2 tcp inet 198.51.100.10 80
serve r2 tcp/22
expect_reach office tcp r2 203.0.113.2 2222
check "down" dash "$LAB/recipe" down
rm -rf /var/lib/vmrouter
guest_delete r2
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"

step "for an interface"
plan_script "$LAB/recipe" --iface eth1 --address 192.168.100.1/24 --format recipe
expect_equal "no bridge is made of an interface" 0 "$(grep -c brctl\ add "$LAB/recipe")"
