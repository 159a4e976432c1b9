#!/bin/bash
# The keys of [dns], [log] and [control] are changed by a reload, one by one; the effect of each is seen, and what it does not concern
# stays.
. "$(dirname "$0")/reload.sh"

reload "dns off" dns 'enabled = false'
expect_equal "nobody listens" "" "$(ss -Hlun 'sport = 53' src 192.168.100.1)"
reload "dns on"
expect_equal "it answers" 198.51.100.10 "$(dig1 www.example.net)"
reload "another upstream" dns 'upstreams = ["198.51.100.53"]'
expect_match "it is asked" '198.51.100.53' "$(ask status)"
expect_equal "it answers" 198.51.100.10 "$(dig1 www.example.net)"
printf 'nameserver 198.51.100.53\n' >/etc/resolv2.conf
reload "another resolv_file" dns 'resolv_file = "/etc/resolv2.conf"'
expect_match "its server is asked" '198.51.100.53' "$(ask status)"
printf 'nameserver 192.168.1.1\n' >/etc/resolv2.conf
check "it is followed" wait_until 5 sh -c "$(declare -f ask); SOCKET=$SOCKET; ask status | grep -q 192.168.1.1"
reload "records and domain" dns $'domain = "lab.internal"\nrecords = { "nas.lab.internal" = "192.168.100.5" }'
expect_equal "the record" 192.168.100.5 "$(dig1 nas.lab.internal)"
expect_equal "guests are told the domain" "lab.internal" "$(option 15 domain)"
echo "192.168.100.6 box" >/etc/hosts2
reload "hosts_file" dns 'hosts_file = "/etc/hosts2"'
expect_equal "the name in it" 192.168.100.6 "$(dig1 box)"
reload "block_domains" dns 'block_domains = ["www.example.net"]'
expect_match "NXDOMAIN" NXDOMAIN "$(in_node g1 dig +time=2 +tries=1 @192.168.100.1 www.example.net)"
reload "rebind_protection off" dns 'rebind_protection = false'
expect_equal "an answer into the LAN" 192.168.1.50 "$(dig1 rebind.example.net)"
reload "rebind_protection on"
expect_equal "no answer into the LAN" "" "$(dig1 rebind.example.net)"
reload "a route" rest $'[[dns.route]]\ndomain = "lan"\nupstreams = ["192.168.1.1"]' firewall 'allow = ["192.168.1.50"]'
expect_equal "its server is asked" 192.168.1.50 "$(dig1 nas.lan)"
reload "log_queries" dns 'log_queries = true'
dig1 www.example.net >/dev/null
check "they are logged" wait_until 5 log_has 'QUERY www.example.net'
reload "the defaults"
background gw slow python3 -I "$LAB/repo/tests/netns/slow_resolver.py" 192.168.1.1 5300 0.15
SLOW=$LAB_BACKGROUND
wait_until 5 grep -q serving "$LAB/gw-slow.log"
TWO='upstreams = ["192.168.1.1:5300", "198.51.100.53"]'
reload "two upstreams, the slow one first" dns "$TWO"
dig1 a.strict.example.org >/dev/null
SECOND=$(dns_counter 1)
dig1 b.strict.example.org >/dev/null
expect_equal "strict_order: the second is not asked" "$SECOND" "$(dns_counter 1)"
reload "strict_order off" dns "$TWO"$'\nstrict_order = false'
FIRST=$(dns_counter 0)
for question in "alias.example.net A" "www.example.net AAAA" "big.example.net TXT"; do
    # shellcheck disable=SC2086
    dig1 $question >/dev/null
done
expect_equal "the fast one is asked, and the slow one no more" "$FIRST" "$(dns_counter 0)"
check "the fast one is asked" [ "$(dns_counter 1)" -gt "$SECOND" ]
reload "the slow one alone" dns 'upstreams = ["192.168.1.1:5300"]'
expect_equal "it answers" 198.51.100.10 "$(dig1 old.example.org)"
kill "$SLOW"
wait_until 5 lab_dead "$SLOW"
expired() { [ "$(forwarded_by dig1 old.example.org)" != 0 ]; }
check "its answer has expired" wait_until 10 expired
expect_equal "serve_stale: the old answer" 198.51.100.10 "$(dig1 old.example.org)"
reload "serve_stale off" dns $'upstreams = ["192.168.1.1:5300"]\nserve_stale = false'
expect_match "no old answer" SERVFAIL "$(in_node g1 dig +time=5 +tries=1 @192.168.100.1 old.example.org)"
reload "the defaults"
dig1 www.example.net >/dev/null
expect_equal "the cache serves" 0 "$(forwarded_by dig1 www.example.net)"
reload "hide_lan_names off" dns 'hide_lan_names = false'
expect_equal "a name without a dot is asked upstream" 1 "$(forwarded_by dig1 printer)"
reload "hide_lan_names on"
expect_equal "and no longer" 0 "$(forwarded_by dig1 printer2)"
host_dig() { dig +short +time=2 +tries=1 @192.168.100.1 www.example.net; }
expect_equal "host_lookup: the host is answered" 198.51.100.10 "$(host_dig)"
reload "host_lookup off" dns 'host_lookup = false'
expect_equal "the host is not" "" "$(host_dig | grep -v '^;' || true)"
reload "host_lookup on"
cache_holds "after host_lookup"
reload "cache_size 0" dns 'cache_size = 0'
expect_equal "every question goes upstream" "1 1" "$(forwarded_by dig1 www.example.net) $(forwarded_by dig1 www.example.net)"
reload "cache_size of before"
expect_equal "the second does not" "1 0" "$(forwarded_by dig1 www.example.net) $(forwarded_by dig1 www.example.net)"

step "[log] and [control]"
debug_lines() { grep -c 'debug: ' "$LAB/vmrouter.log" || true; }
expect_equal "no debug lines" 0 "$(debug_lines)"
reload "level" rest $'[log]\nlevel = "debug"'
option 51 lease >/dev/null
check "there are" [ "$(debug_lines)" -gt 0 ]
reload "level of before"
LINES=$(debug_lines)
option 51 lease >/dev/null
expect_equal "and no more" "$LINES" "$(debug_lines)"
cache_holds "after the changes of log"
flow_goes_on flow "after all this"
configure rest $'[control]\nsandbox = "on"'
refused "the sandbox, by its key and with what to do" 'control.sandbox (cannot be changed by a reload.*restart vmrouter|asks for )'
reload "the sandbox of before"
reload "another socket" rest $'[control]\nsocket = "/run/vmrouter/other.sock"'
check "the former is gone" test ! -e /run/vmrouter/virbr10.sock
SOCKET=/run/vmrouter/other.sock
reload "the socket of before"
SOCKET=/run/vmrouter/virbr10.sock
expect_equal "the lease of g1 has outlived it all" "$G1" "$(ask leases | grep -o "$G1" | head -1)"
stop_vmrouter
