#!/bin/bash
# The real systemd-resolved, on both sides: as the host's resolver, which we ask as it is and which is told of the guests'
# names; and as the stub of a guest.
#
#   the whole network of lib.sh, systemd-resolved with a D-Bus of its own on the host and in guest g1, vmrouter on virbr10;
#   office has a DNS server that knows corp.example
. "$(dirname "$0")/lib.sh"

lab_packages systemd-resolved
lab_user systemd-resolve
lab_user messagebus
RESOLVED=/usr/lib/systemd/systemd-resolved

# The lab's internet is not signed, while the stub's trust anchor says that the real one is; the other names are those that
# it knows itself as long as nobody configures any.
unsigned() {
    in_node "$1" mkdir -p /etc/dnssec-trust-anchors.d
    printf '%s\n' net internal lan 168.192.in-addr.arpa | in_node "$1" tee /etc/dnssec-trust-anchors.d/lab.negative >/dev/null
}
start_resolved() { # NODE: after its /etc/systemd/resolved.conf was written
    in_node "$1" mkdir -p /run/dbus /run/systemd/system
    in_node "$1" dbus-daemon --system --fork --nopidfile
    background "$1" resolved "$RESOLVED"
    wait_until 10 in_node "$1" resolvectl status --no-pager >/dev/null
}
of_link() { resolvectl "$1" virbr10 --no-pager 2>&1; }
told() { [[ $(of_link dns) == *192.168.100.1* ]]; }
untold() { ! ip link show virbr10 >/dev/null 2>&1 || [[ $(of_link dns) != *192.168.100.1* && $(of_link domain) != *vm.internal* ]]; }
host_says() { # NAME: the address that the host's own resolver gives
    resolvectl query --no-pager --legend=no -4 "$1" 2>&1 | awk '{ print $2; exit }'
}

topology_bridge
background office dns dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces \
    --pid-file= --listen-address=203.0.113.50 --user=root --address=/corp.example/198.51.100.77
printf '[Resolve]\nDNS=192.168.1.1\nFallbackDNS=\nLLMNR=no\nMulticastDNS=no\n' >/etc/systemd/resolved.conf
start_resolved host
host_resolved=$LAB_BACKGROUND
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
resolvectl dns eth1 203.0.113.50
resolvectl domain eth1 '~corp.example'
cat >"$LAB/vm.toml" <<END
[network]
bridge = "virbr10"
address = "192.168.100.1/24"
[dns]
log_queries = true
END

step "the host resolves guests by name, by its own resolver, and nothing else changes for it"
start_vmrouter --config "$LAB/vm.toml"
guest_add g1
guest_add g2
guest_dhcp g1 udhcpc
guest_dhcp g2 udhcpc
g1=$(guest_address g1)
check "resolved has been told our address" wait_until 5 told
expect_match "... for our domain" '~vm\.internal' "$(of_link domain)"
expect_match "... and for nothing else" 'no$' "$(of_link default-route)"
guest_is_known() { [ "$(host_says g1.vm.internal)" = "$g1" ]; }
check "resolvectl finds a guest" wait_until 5 guest_is_known
expect_match "glibc finds it through the stub" "^$g1 " "$(getent ahostsv4 g1.vm.internal || true)"
expect_match "... and its name by its address" 'g1\.vm\.internal' "$(getent hosts "$g1" || true)"
expect_match "a name that no guest has does not exist" 'not found' "$(resolvectl query --no-pager nobody.vm.internal 2>&1 || true)"
expect_equal "other names work as before" 198.51.100.10 "$(host_says www.example.net)"
expect_equal "... and we are not asked for them" 0 "$(grep -cE 'QUERY (www\.example\.net|[^ ]*corp).* from 192\.168\.100\.1' "$LAB/vmrouter.log" || true)"

step "guests follow the host's resolver as it is, split DNS included"
ask() { in_node g2 dig +time=5 +tries=1 @192.168.100.1 "$@" 2>&1 || true; }
expect_equal "a public name" 198.51.100.10 "$(ask +short www.example.net)"
expect_equal "a name of the office's domain" 198.51.100.77 "$(ask +short www.corp.example)"
if log_has 'UPSTREAM 127\.0\.0\.53 is loop'; then fail "resolved was taken for a loop"; else ok "resolved is no loop"; fi

step "resolved forgets nothing of it when it is started anew"
kill "$host_resolved"
wait_until 5 [ ! -e "/proc/$host_resolved" ]
background host resolved-again "$RESOLVED"
host_resolved=$LAB_BACKGROUND
wait_until 10 resolvectl status --no-pager >/dev/null
check "our address is still there" wait_until 5 told
check "a guest is found" wait_until 5 guest_is_known

step "systemd-resolved as a guest's stub"
unsigned g1
query() { in_node g1 resolvectl query --no-pager "$@" 2>&1 || true; }
stub() { in_node g1 dig +time=5 +tries=1 @127.0.0.53 "$@" 2>&1 || true; }
for mode in no allow-downgrade; do
    printf '[Resolve]\nDNS=192.168.100.1\nDomains=vm.internal\nFallbackDNS=\nDNSSEC=%s\nLLMNR=no\nMulticastDNS=no\n' "$mode" |
        in_node g1 tee /etc/systemd/resolved.conf >/dev/null
    if [ "$mode" = no ]; then
        start_resolved g1
        in_node g1 ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
    else
        kill "$resolved"
        wait_until 5 [ ! -e "/proc/$resolved" ]
        background g1 resolved-dnssec "$RESOLVED"
        wait_until 10 in_node g1 resolvectl status --no-pager >/dev/null
    fi
    resolved=$LAB_BACKGROUND
    expect_match "DNSSEC=$mode: A" '198\.51\.100\.10' "$(query -4 www.example.net)"
    expect_match "DNSSEC=$mode: AAAA" '2001:db8:100::10' "$(query -6 www.example.net)"
    expect_match "DNSSEC=$mode: both at once, by glibc" '198\.51\.100\.10' "$(in_node g1 getent ahosts www.example.net || true)"
    expect_match "DNSSEC=$mode: a chain" '198\.51\.100\.10' "$(query -4 alias.example.net)"
    expect_match "DNSSEC=$mode: an answer that needs TCP" 'part.*015' "$(stub +short big.example.net TXT | tr -d '\n')"
    expect_match "DNSSEC=$mode: no such name" 'status: NXDOMAIN' "$(stub nothere.example.net)"
    expect_match "DNSSEC=$mode: no data" 'ANSWER: 0' "$(stub www.example.net MX)"
    expect_match "DNSSEC=$mode: another guest" "$(guest_address g2)" "$(query -4 g2.vm.internal)"
    expect_match "DNSSEC=$mode: ... by its bare name" "$(guest_address g2)" "$(in_node g1 getent ahostsv4 g2 || true)"
    expect_match "DNSSEC=$mode: ... and back" 'g2\.vm\.internal' "$(query "$(guest_address g2)")"
    expect_match "DNSSEC=$mode: a name of the LAN stays hidden" 'not found|does not have' "$(query -4 nas.lan)"
done
expect_equal "it never fell back to lesser DNS" 0 "$(cat "$LAB"/g1-resolved*.log | grep -ci 'degraded feature set' || true)"

step "the bridge is taken away under us"
ip link delete virbr10
stop_vmrouter
check "nothing of us is left in resolved" untold
expect_equal "the host's own names work" 198.51.100.10 "$(host_says www.example.net)"

step "on a bridge that was there before, resolved is told back on exit"
guest_delete g1
guest_delete g2
ip link add virbr10 type bridge
ip link set virbr10 up
guest_add g3
guest_static g3 192.168.100.11/24 192.168.100.1
start_vmrouter --config "$LAB/vm.toml"
check "told" wait_until 5 told
stop_vmrouter
check "the bridge is still there" ip link show virbr10
check "told back" wait_until 5 untold
start_vmrouter --config "$LAB/vm.toml"
check "told again" wait_until 5 told
stop_vmrouter KILL
check "a kill leaves it" told
run_vmrouter 0 down
check "down tells it back" wait_until 5 untold

step "resolved that starts after us is told then"
kill "$host_resolved"
wait_until 5 [ ! -e "/proc/$host_resolved" ]
rm -r /run/systemd/resolve
start_vmrouter --config "$LAB/vm.toml"
background host resolved-late "$RESOLVED"
check "told" wait_until 8 told
resolves() { [ "$(in_node g3 dig +short +time=1 +tries=1 @192.168.100.1 www.example.net)" = 198.51.100.10 ]; }
check "and guests get their answers through it" wait_until 5 resolves
stop_vmrouter
check "told back" wait_until 5 untold

step "host_lookup = false"
printf 'host_lookup = false\n' >>"$LAB/vm.toml"
start_vmrouter --config "$LAB/vm.toml"
check "resolved is not told" untold
expect_match "the host is not answered" 'timed out|no servers|refused' "$(dig +time=1 +tries=1 @192.168.100.1 www.example.net 2>&1 || true)"
expect_equal "guests are" 198.51.100.10 "$(in_node g3 dig +short @192.168.100.1 www.example.net)"
stop_vmrouter
