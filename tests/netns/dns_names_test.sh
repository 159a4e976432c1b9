#!/bin/bash
# Names: guests by the names they have by DHCP, records, block lists that change, routes, allow_domains.
#
#   the whole network of lib.sh with a second DNS server 198.51.100.54 in inet, vmrouter on virbr10, two guests with DHCP
. "$(dirname "$0")/lib.sh"

topology_bridge
in_node inet ip addr add 198.51.100.54/24 dev eth0
background inet dns2 dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces \
    --pid-file= --listen-address=198.51.100.54 --user=root --address=/corp.example/198.51.100.99 --log-queries --log-facility=-
wait_until 10 dig +short +time=1 +tries=1 @198.51.100.54 www.corp.example

cat >"$LAB/hosts" <<END
192.168.100.60 box box.vm.internal
END
echo "0.0.0.0 www.example.net" >"$LAB/block"
configuration() { # MORE: lines for [firewall] and [dns]
    cat >"$LAB/vm.toml" <<END
[network]
bridge = "virbr10"
address = "192.168.100.1/24"
[dns]
log_queries = true
records = { "nas.vm.internal" = "192.168.100.5" }
hosts_file = "$LAB/hosts"
block_domains = ["blocked.example.net", "*.below.example.net", "file:$LAB/block"]
[[dns.route]]
domain = "corp.example"
upstreams = ["198.51.100.54"]
[[dhcp.host]]
mac = "52:54:00:00:00:02"
address = "192.168.100.77"
name = "web"
END
    printf '%s\n' "$@" >>"$LAB/vm.toml"
}
configuration
start_vmrouter --config "$LAB/vm.toml"
guest_add g1
guest_add g2
guest_dhcp g1 udhcpc
guest_dhcp g2 udhcpc

ask() { in_node g1 dig +time=5 +tries=1 @192.168.100.1 "$@" 2>&1 || true; }
short() { ask +short "$@"; }
g1=$(guest_address g1)

step "guests by name"
expect_equal "a guest under the domain" "$g1" "$(short g1.vm.internal)"
expect_equal "... and bare" "$g1" "$(short g1)"
expect_equal "... in any case" "$g1" "$(short G1.VM.Internal)"
expect_equal "... and back" g1.vm.internal. "$(short -x "$g1")"
expect_equal "a reservation" 192.168.100.77 "$(short web.vm.internal)"
expect_equal "... and back" web.vm.internal. "$(short -x 192.168.100.77)"
expect_match "a guest has no AAAA, and that is no error" 'status: NOERROR' "$(ask g1.vm.internal AAAA)"
expect_match "a name nobody has" 'status: NXDOMAIN' "$(ask nobody.vm.internal)"
expect_match "... with a SOA" 'SOA' "$(ask nobody.vm.internal)"
expect_equal "the host knows them too" "$g1" "$(dig +short @192.168.100.1 g1.vm.internal)"
expect_match "by its own resolver, glibc reaches a guest by its bare name" "^$g1 " "$(in_node g2 getent ahostsv4 g1)"
expect_equal "a record" 192.168.100.5 "$(short nas.vm.internal)"
expect_equal "a name of the hosts file" 192.168.100.60 "$(short box.vm.internal)"
other_box() { [ "$(short box.vm.internal)" = 192.168.100.61 ]; }
echo "192.168.100.61 box box.vm.internal" >"$LAB/hosts"
check "... which is read again when it changes" wait_until 3 other_box
expect_match "a name of the host's own hosts file is hidden" 'status: NXDOMAIN' "$(ask labhost)"
printf '127.0.0.1 localhost labhost\n198.51.100.10 alias.example.net\n' >/etc/hosts
own_name() { ask alias.example.net | grep -q 'status: NXDOMAIN'; }
check "... also one that was added just now" wait_until 3 own_name
echo '127.0.0.1 localhost labhost' >/etc/hosts
expect_match "localhost is the guest itself" '^127\.0\.0\.1$' "$(short localhost)"
check "queries are logged with the guest's name" log_has "QUERY g1\.vm\.internal A from $g1 g1: NOERROR \(guest\)"
check "... and what became of them" log_has "QUERY nobody\.vm\.internal A from $g1 g1: NXDOMAIN \(guest\)"
released() { in_node g2 dig +time=5 +tries=1 @192.168.100.1 g1.vm.internal | grep -q 'status: NXDOMAIN'; }

step "block lists"
expect_match "a name" 'status: NXDOMAIN' "$(ask blocked.example.net)"
expect_match "what is under a name" 'status: NXDOMAIN' "$(ask x.below.example.net)"
expect_match "a name of the file" 'status: NXDOMAIN' "$(ask www.example.net)"
unblocked() { [ "$(short www.example.net)" = 198.51.100.10 ]; }
echo "0.0.0.0 other.example.net" >"$LAB/block.new" && mv "$LAB/block.new" "$LAB/block"
check "the file is read again when it changes" wait_until 3 unblocked
expect_match "... to its other names" 'status: NXDOMAIN' "$(ask other.example.net)"

step "a route"
expect_equal "its names are asked there" 198.51.100.99 "$(short www.corp.example)"
expect_equal "... and others are not" 0 "$(grep -cE 'query.* (www\.example\.net|g1)' "$LAB/inet-dns2.log" || true)"
in_node inet nft 'table ip silence { chain i { type filter hook input priority 0; udp dport 53 ip daddr 198.51.100.54 reject; }; }'
expect_match "when its server is gone they are asked nowhere else" 'status: SERVFAIL' "$(ask fresh.corp.example)"
in_node inet nft delete table ip silence

step "a lease that ends takes its name along"
guest_release g1
check "the name is gone" wait_until 5 released

expect_equal "the other guest's name is still there" 192.168.100.77 "$(in_node g2 dig +short @192.168.100.1 web)"
stop_vmrouter

step "allow_domains: only those resolve, and what they resolve to can be reached at once"
configuration "[firewall]" 'allow_domains = ["www.example.net"]'
sed -i 's/"file:[^"]*"//; s/, \]/]/' "$LAB/vm.toml"
start_vmrouter --config "$LAB/vm.toml"
guest_static g1 192.168.100.11/24 192.168.100.1 192.168.100.1
expect_match "another name" 'status: (REFUSED|NXDOMAIN)' "$(ask alias.example.org)"
expect_blocked g1 tcp inet 198.51.100.10 80
expect_equal "the name" 198.51.100.10 "$(short www.example.net)"
expect_reach g1 tcp inet 198.51.100.10 80
stop_vmrouter
