#!/bin/bash
# Every key of the configuration is changed by a reload, one by one; its effect is seen, and what it does not concern stays: an open
# connection, a cached answer, a lease. What cannot change is refused by name, and a reload that fails half-way leaves all as it was.
#
#     the network of lib.sh; virbr10 with g1 (DHCP) and g2
. "$(dirname "$0")/lib.sh"

topology_bridge
snapshot_machine "$LAB/before"
mkdir -p /etc/vmrouter
F=/etc/vmrouter/vm.toml
# configure SECTION LINES SECTION LINES...: the file with the base keys and these
configure() {
    local network='bridge = "virbr10"' firewall='' dhcp='' dns='' rest=''
    while [ $# -gt 0 ]; do
        case $1 in
            network) network+=$'\n'$2 ;;
            address) network+=$'\n'"address = \"$2\"" ;;
            firewall) firewall+=$'\n'$2 ;;
            dhcp) dhcp+=$'\n'$2 ;;
            dns) dns+=$'\n'$2 ;;
            rest) rest+=$'\n'$2 ;;
        esac
        shift 2
    done
    printf '[network]\n%s\n[firewall]%s\n[dhcp]%s\n[dns]%s\n%s\n' "$network" "$firewall" "$dhcp" "$dns" "$rest" >"$F"
}
SOCKET=/run/vmrouter/virbr10.sock
ask() { # COMMAND: the answer of the control socket
    python3 -I -c 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1]); s.sendall(("{\"command\": \"%s\"}\n" % sys.argv[2]).encode())
print(s.makefile().readline(), end="")' "$SOCKET" "$1"
}
reload() { # WHAT SECTION LINES...: reloads through the control socket, which answers when it is done
    local what=$1 answer
    shift
    configure "$@"
    answer=$(ask reload)
    if [ "$answer" = '{"ok":true,"result":null}' ]; then ok "reload: $what"; else fail "reload: $what: $answer"; fi
}
refused() { # WHAT REGEX: the file as it is now is refused
    local answer
    answer=$(ask reload)
    expect_match "refused: $1" "$2" "$answer"
}
setting() { cat "/proc/sys/net/ipv4/conf/$1"; }
rules() { nft list table inet vmrouter_virbr10; }
option() { # CODE: what a DHCP client of g2 is told, as udhcpc puts it into the environment
    in_node g2 udhcpc -n -q -f -i eth0 -t 3 -T 1 -O "$1" -s "$LAB/env.sh" 2>&1 | grep "^$2=" | tail -1 | cut -d= -f2- | tr -d "'"
}
printf '#!/bin/sh\nset\n' >"$LAB/env.sh" && chmod +x "$LAB/env.sh"
dig1() { in_node g1 dig +short +time=2 +tries=1 @192.168.100.1 "$@"; }
upstream_questions() { grep -c 'query\[' "$LAB/gw-log.log" || true; }
flow_goes_on() {
    local heard
    expect_equal "$1: the open connection is not cut" "" "$(grep cut "$LAB/g1-flow.log" || true)"
    heard=$(wc -l <"$LAB/g1-flow.log")
    check "$1: the open connection goes on" wait_until 10 sh -c "[ \$(wc -l <'$LAB/g1-flow.log') -gt $heard ]"
}
cache_holds() { # the same counters as asked before: no question left for the upstream
    local before after
    before=$(ask status | python3 -I -c 'import json,sys; print(json.load(sys.stdin)["result"]["dns"]["forwarded"])')
    dig1 www.example.net >/dev/null
    after=$(ask status | python3 -I -c 'import json,sys; print(json.load(sys.stdin)["result"]["dns"]["forwarded"])')
    expect_equal "$1: the cached answer is still there" "$before" "$after"
}

configure
start_vmrouter --config "$F"
guest_add g1
guest_add g2
serve g2 tcp/22
guest_dhcp g1 udhcpc
guest_static g2 192.168.100.200/24 192.168.100.1
G1=$(guest_address g1)
background g1 flow python3 -I "$LAB/repo/tests/netns/session.py" 198.51.100.10 80 15
wait_until 5 grep -q heard "$LAB/g1-flow.log"
dig1 www.example.net >/dev/null

dns_counter() { # NAME, or NUMBER for the questions that this upstream was asked
    ask status | python3 -I -c 'import json, sys
dns = json.load(sys.stdin)["result"]["dns"]
print(dns["upstreams"][int(sys.argv[1])]["queries"] if sys.argv[1].isdigit() else dns[sys.argv[1]])' "$1"
}
forwarded_by() { # COMMAND...: how many questions go to upstreams meanwhile
    local before
    before=$(dns_counter forwarded)
    "$@" >/dev/null 2>&1 || true
    echo $(($(dns_counter forwarded) - before))
}

step "[network]"
reload "stp on" network 'stp = true'
expect_equal "the bridge runs it" 1 "$(cat /sys/class/net/virbr10/bridge/stp_state)"
reload "stp off"
expect_equal "the bridge does not, and forwards at once" "0 0" "$(cat /sys/class/net/virbr10/bridge/{stp_state,forward_delay} | xargs)"
reload "isolate_guests on" network 'isolate_guests = true'
check "the ports are isolated" sh -c '[ "$(bridge -d link | grep -c "isolated on")" = 2 ]'
expect_match "and cannot be reached" '0 received' "$(in_node g1 ping -c1 -W1 192.168.100.200 || true)"
reload "isolate_guests off"
expect_reach g1 tcp g2 192.168.100.200 22
reload "mtu 1400" network 'mtu = 1400'
expect_equal "the bridge has it" 1400 "$(cat /sys/class/net/virbr10/mtu)"
expect_equal "guests are told" 1400 "$(option 26 mtu)"
reload "mtu auto"
expect_equal "the bridge has the uplink's" 1500 "$(cat /sys/class/net/virbr10/mtu)"

cache_holds "after the changes of network"

step "[firewall]"
expect_refused g1 tcp lan 192.168.1.50 22
reload "lan = allow" firewall 'lan = "allow"'
expect_reach g1 tcp lan 192.168.1.50 22
reload "lan = allow and block" firewall $'lan = "allow"\nblock = ["192.168.1.50/32"]'
expect_refused g1 tcp lan 192.168.1.50 22
reload "an exception" firewall 'allow = ["192.168.1.50:tcp/445"]'
expect_reach g1 tcp lan 192.168.1.50 445
expect_refused g1 tcp lan 192.168.1.50 22
reload "open_host_ports" firewall 'open_host_ports = ["tcp/8080"]'
expect_reach g1 tcp host 192.168.100.1 8080
expect_refused g1 tcp host 192.168.100.1 631
reload "source_guard = lease" firewall 'source_guard = "lease"'
expect_match "who has no lease is not even heard" '0 received' "$(in_node g2 ping -c1 -W1 192.168.100.1 || true)"
reload "source_guard = off" firewall 'source_guard = "off"'
expect_equal "no rp_filter" "$(setting default/rp_filter)" "$(setting virbr10/rp_filter)"
expect_reach g2 udp inet 198.51.100.10 123
reload "source_guard = subnet"
expect_equal "rp_filter" 1 "$(setting virbr10/rp_filter)"
reload "max_connections" firewall 'max_connections = 77'
expect_match "the rule has it" 77 "$(rules)"
reload "redirect_dns off" firewall 'redirect_dns = false'
expect_equal "no redirection" "" "$(rules | grep -E 'dport 53.*(dnat|redirect)' || true)"
reload "a forward" firewall $'[[firewall.forward]]\nlisten = "tcp/0.0.0.0:2222"\nguest = "192.168.100.200"\nport = 22'
expect_reach lan tcp g2 192.168.1.2 2222
expect_match "on loopback as well" 'said' "$(curl -s -m 2 http://127.0.0.1:2222/ || true)"
reload "no forward"
expect_blocked lan tcp g2 192.168.1.2 2222
reload "log_blocked off" firewall 'log_blocked = false'
expect_equal "nothing is logged" "" "$(rules | grep 'log group' || true)"
reload "log_blocked on"
expect_match "it is logged" "log .*group" "$(rules)"
flow_goes_on "after all this"
reload "internet off" firewall 'internet = false'
expect_equal "the uplink does not forward" 0 "$(setting eth0/forwarding)"
expect_blocked g2 udp inet 198.51.100.10 123
reload "internet on"
expect_reach g2 tcp inet 198.51.100.10 80
reload "uplink = eth1" firewall 'uplink = ["eth1"]'
expect_equal "eth0 forwards no longer, eth1 does" "0 1" "$(setting eth0/forwarding) $(setting eth1/forwarding)"
expect_blocked g2 udp inet 198.51.100.10 123
reload "uplink = auto"
expect_reach g2 udp inet 198.51.100.10 123
reload "another mark" firewall 'mark = 0x4000000'
expect_match "the dead man's switch has it" 'fwmark 0/0x4000000' "$(ip rule)"
expect_equal "and not the old one" "" "$(ip rule | grep 'fwmark 0/0x100000 ' || true)"
expect_reach g2 udp inet 198.51.100.10 123
expect_refused g2 tcp lan 192.168.1.50 22
reload "the mark of before"
reload "allow_domains" firewall 'allow_domains = ["*.example.net"]'
expect_refused g2 tcp inet 198.51.100.10 443
in_node g2 dig +short +time=2 +tries=1 @192.168.100.1 www.example.net >/dev/null
expect_reach g2 tcp inet 198.51.100.10 443
reload "no allow_domains"
expect_reach g2 tcp inet 198.51.100.10 443
reload "user-mode guests" rest $'[[usermode]]\nuser = 1234'
expect_match "their rule is there" 'skuid.*1234|1234' "$(rules)"
reload "no user-mode guests"
expect_equal "their rule is gone" "" "$(rules | grep 1234 || true)"

step "[dhcp]"
background g1 long python3 -I "$LAB/repo/tests/netns/session.py" 198.51.100.10 80 15
wait_until 5 grep -q heard "$LAB/g1-long.log"
dig1 www.example.net >/dev/null
reload "dhcp off" dhcp 'enabled = false'
expect_equal "no answer" "" "$(option 51 lease)"
reload "dhcp on"
expect_equal "the lease of g1 is still known" "$G1" "$(ask leases | grep -o "$G1" | head -1)"
expect_equal "the default lease" 3600 "$(option 51 lease)"
reload "lease_time, renew_time and rebind_time" dhcp $'lease_time = "10m"\nrenew_time = "2m"\nrebind_time = "5m"'
expect_equal "lease time" 600 "$(option 51 lease)"
reload "range" dhcp 'range = ["192.168.100.77", "192.168.100.77"]'
expect_equal "an address of it" 192.168.100.77 "$(option 51 ip)"
reload "ntp, boot server and file, an option" dhcp $'ntp_servers = ["192.0.2.7"]\nboot_server = "192.0.2.8"\nboot_file = "boot.img"\noptions = [{ code = 119, hex = "03666f6f00" }]'
expect_equal "ntp" "192.0.2.7" "$(option 42 ntpsrv)"
expect_equal "boot file" "boot.img" "$(option 67 boot_file)"
expect_equal "search" "foo" "$(option 119 search)"
reload "a reservation" rest $'[[dhcp.host]]\nmac = "'"$(guest_mac g2)"$'"\naddress = "192.168.100.99"\nname = "web"'
expect_equal "its address" "192.168.100.99" "$(option 51 ip)"
expect_equal "its name" 192.168.100.99 "$(dig1 web.vm.internal)"
reload "an ignored host" rest $'[[dhcp.host]]\nmac = "'"$(guest_mac g2)"$'"\nignore = true'
expect_equal "no answer" "" "$(option 51 ip)"
printf '#!/bin/sh\necho "$@" >>/run/script.log\n' >/etc/vmrouter/script && chmod +x /etc/vmrouter/script
reload "a script" dhcp 'script = "/etc/vmrouter/script"'
check "it hears of the leases" wait_until 5 grep -q "old .*$G1" /run/script.log
rm -f /run/script.log
reload "leases_file and hosts_file" dhcp $'leases_file = "/var/lib/vmrouter/virbr10/elsewhere"\nhosts_file = "/var/lib/vmrouter/virbr10/hosts2"'
check "the leases are there" wait_until 5 grep -q "$G1" /var/lib/vmrouter/virbr10/elsewhere
reload "checksum_fill off" dhcp 'checksum_fill = false'
check "its table is gone" sh -c '! nft list table ip mangle'
reload "checksum_fill on, and the defaults"
check "its table is there" nft list table ip mangle
guest_add g3
serves_g3() { in_node g3 udhcpc -n -q -R -f -i eth0 -t 2 -T 1 -s "$LAB/env.sh" 2>&1 | grep '^ip=' | cut -d= -f2 | tr -d "'"; }
reload "max_leases" dhcp 'max_leases = 1'
expect_equal "nobody new is served" "" "$(serves_g3)"
in_node g2 ip addr add 192.168.100.201/24 dev eth0
reload "max_leases of before, a range of one address that g2 uses without asking" dhcp 'range = ["192.168.100.201", "192.168.100.201"]'
expect_equal "ping_check finds that out" "" "$(serves_g3)"
reload "ping_check off" dhcp $'ping_check = false\nrange = ["192.168.100.202", "192.168.100.202"]'
in_node g2 ip addr add 192.168.100.202/24 dev eth0
expect_equal "nobody finds out" 192.168.100.202 "$(serves_g3)"
in_node g2 sh -c 'ip addr del 192.168.100.201/24 dev eth0; ip addr del 192.168.100.202/24 dev eth0'
MANY='options = ['
for code in 224 225 226; do MANY+="{ code = $code, text = \"$(printf 'x%.0s' {1..120})\" },"; done
told() { in_node g2 udhcpc -n -q -f -i eth0 -t 3 -T 1 -O 224 -O 225 -O 226 -s "$LAB/env.sh" 2>&1 | grep -cE '^opt22[456]='; }
reload "more options than there is room for" dhcp "$MANY]"
FEW=$(told)
reload "no_override off" dhcp "$MANY]"$'\nno_override = false'
check "no_override: sname and file hold one more" [ "$(told)" -gt "$FEW" ]
# authoritative, identity and rapid_commit: dhcp_protocol_test.sh changes them by a reload
reload "the defaults"
expect_equal "the lease of g1 has outlived it all" "$G1" "$(ask leases | grep -o "$G1" | head -1)"

step "[dns]"
cache_holds "after the changes of dhcp"
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
expect_equal "an open connection has outlived it all" "" "$(grep cut "$LAB/g1-long.log" || true)"
configure rest $'[control]\nsandbox = "on"'
refused "the sandbox, by its key and with what to do" 'control.sandbox (cannot be changed by a reload.*restart vmrouter|asks for )'
reload "the sandbox of before"
reload "another socket" rest $'[control]\nsocket = "/run/vmrouter/other.sock"'
check "the former is gone" test ! -e /run/vmrouter/virbr10.sock
SOCKET=/run/vmrouter/other.sock
reload "the socket of before"
SOCKET=/run/vmrouter/virbr10.sock

step "[network] address: guests of the former one are told to ask anew"
in_node g2 ping -c1 -W1 192.168.100.1 >/dev/null # it knows the way, so that its probe leaves
reload "address" address 192.168.120.1/24
expect_equal "the bridge has it alone" 192.168.120.1/24 "$(ip -4 -o addr show virbr10 | awk '{ print $4 }' | xargs)"
guest_renew g1
in_network() { guest_address g1 | grep -q '^192\.168\.120\.'; }
check "the guest has an address of it" wait_until 10 in_network
expect_equal "DNS listens there" 198.51.100.10 "$(in_node g1 dig +short +time=2 +tries=2 @192.168.120.1 www.example.net)"
expect_reach g1 tcp inet 198.51.100.10 80
expect_refused g1 tcp host 192.168.120.1 22
expect_blocked g2 udp inet 198.51.100.10 123
reload "the address of before" address 192.168.100.1/24
guest_renew g1
in_network() { guest_address g1 | grep -q '^192\.168\.100\.'; }
check "and back" wait_until 10 in_network
guest_static g2 192.168.100.200/24 192.168.100.1

step "what is refused"
background g1 flow2 python3 -I "$LAB/repo/tests/netns/session.py" 198.51.100.10 80 15
wait_until 5 grep -q heard "$LAB/g1-flow2.log"
rules_now() { # without the sets that guests' packets fill
    nft -s list ruleset | awk '/set vm_(loud|refusals|flows_guest|flows_all|sent|received|macs|newcomers|unleased) /, /^\t}/ { next } { print }'
}
rules_now >"$LAB/rules.before"
printf '[network]\nbridge = "virbr11"\n' >"$F"
refused "another segment, by its key" 'network.bridge cannot be changed by a reload'
echo 'rubbish' >"$F"
refused "a file that cannot be read" 'vm.toml:1'
configure firewall 'lan = "perhaps"'
kill -HUP "$VMROUTER_PID"
check "SIGHUP says so" wait_until 5 log_has 'RELOAD the new configuration is wrong'
background host taken python3 -I "$LAB/repo/tests/netns/probe.py" serve tcp/2345
wait_until 5 grep -q serving "$LAB/host-taken.log"
configure firewall $'lan = "allow"\n[[firewall.forward]]\nlisten = "tcp/2345"\nguest = "192.168.100.200"\nport = 22'
refused "a port that is taken, with who has it" '2345.*python'
configure firewall 'lan = "allow"' dns 'enabled = true' rest $'[control]\nsocket = "/nowhere/at/all.sock"'
refused "a socket that cannot be made, the last step" 'nowhere'
rules_now >"$LAB/rules.after"
expect_equal "the rules are as before" "" "$(diff "$LAB/rules.before" "$LAB/rules.after")"
expect_refused g1 tcp lan 192.168.1.50 22
expect_equal "the connection is not cut" "" "$(grep cut "$LAB/g1-flow2.log" || true)"
check "the socket answers" sh -c "$(declare -f ask); SOCKET=$SOCKET; ask status | grep -q '\"ok\":true'"

step "on_exit = keep"
reload "on_exit" network 'on_exit = "keep"'
stop_vmrouter
check "the bridge stays" ip link show virbr10
expect_refused g1 tcp lan 192.168.1.50 22
guest_delete g1
guest_delete g2
guest_delete g3
run_vmrouter 0 down
rm -rf /etc/vmrouter /etc/resolv2.conf /etc/hosts2
snapshot_machine "$LAB/after"
sed -i '/ lladdr /d' "$LAB/before" "$LAB/after" # the host's neighbours, which the kernel forgets after a minute
expect_same_machine "$LAB/before" "$LAB/after"
