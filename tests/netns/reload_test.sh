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
reload "the other keys of dhcp" dhcp $'max_leases = 20\nauthoritative = false\nno_override = false\nidentity = "client-id"\nping_check = false\nrapid_commit = true'
reload "the defaults"

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
reload "the other keys of dns" dns $'strict_order = false\nhost_lookup = false\ncache_size = 5\nserve_stale = false\nhide_lan_names = false'
reload "the defaults"

step "[log] and [control]"
reload "level" rest $'[log]\nlevel = "debug"'
reload "level of before"
reload "another socket" rest $'[control]\nsocket = "/run/vmrouter/other.sock"'
check "the former is gone" test ! -e /run/vmrouter/virbr10.sock
SOCKET=/run/vmrouter/other.sock
reload "the socket of before"
SOCKET=/run/vmrouter/virbr10.sock

step "[network] address: guests of the former one are told to ask anew"
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
run_vmrouter 0 down
rm -rf /etc/vmrouter /etc/resolv2.conf /etc/hosts2
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"
