#!/bin/bash
# The keys of [network] and [firewall] are changed by a reload, one by one; the effect of each is seen, and what it does not concern
# stays. What cannot change is refused by name, and a reload that fails half-way leaves all as it was.
. "$(dirname "$0")/reload.sh"

setting() { cat "/proc/sys/net/ipv4/conf/$1"; }
rules() { nft list table inet vmrouter_virbr10; }

step "[network]"
reload "stp on" network 'stp = true'
expect_equal "the bridge runs it" 1 "$(cat /sys/class/net/virbr10/bridge/stp_state)"
reload "stp off"
expect_equal "the bridge does not, and forwards at once" "0 0" "$(cat /sys/class/net/virbr10/bridge/{stp_state,forward_delay} | xargs)"
expect_equal "by every port" "3 3" "$(cat /sys/class/net/virbr10/brif/*/state | xargs)"
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
flow_goes_on flow "after all this"
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
hold_flow flow2
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
sed -i '/ lladdr /d' "$LAB/before" "$LAB/after" # the host's neighbours, which the kernel forgets after a minute
expect_same_machine "$LAB/before" "$LAB/after"
