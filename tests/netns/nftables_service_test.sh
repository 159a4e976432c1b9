#!/bin/bash
# nftables.service beside vmrouter: the commands of its unit, as the distribution wrote it, with a file that drops everything.
#
#   inet --- gw --- host (inet filter: policy drop) --- virbr10 --- g1
. "$(dirname "$0")/lib.sh"
topology_bridge
unit=/lib/systemd/system/nftables.service
[ -e "$unit" ] || unit=/usr$unit
both=("inet filter forward" "inet filter input")
cat >/etc/nftables.conf <<'END'
#!/usr/sbin/nft -f
flush ruleset
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		iif "lo" accept
		ct state established,related accept
		tcp dport 22 accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
END
service() { # start, reload, stop: what systemd would run
    local key command
    case $1 in start) key=ExecStart ;; reload) key=ExecReload ;; stop) key=ExecStop ;; esac
    command=$(sed -n "s/^$key=//p" "$unit")
    [ -n "$command" ] || fail "$unit has no $key"
    check "nftables.service $1 ($command)" bash -c "$command"
}

service start
start_control
guest_add g1
guest_static g1 192.168.100.21/24 192.168.100.1
step "control: the file stops a guest"
expect_blocked g1 tcp inet 198.51.100.10 80
expect_blocked g1 udp host 192.168.100.1 5353
stop_control
guest_delete g1

service reload
nft -s list ruleset >"$LAB/file.nft"
start_vmrouter --bridge virbr10
expect_passes "at start" "${both[@]}"
guest_add g1
guest_dhcp g1 udhcpc
expect_service g1 "beside nftables.service"

step "a reload takes our tables and our rules in one transaction"
service reload
expect_passes "after a reload" "${both[@]}"
wait_until 5 nft list table inet vmrouter_virbr10 || fail "our table is back"
expect_service g1 "after a reload"
expect_isolation g1
service stop
wait_until 5 nft list table inet vmrouter_virbr10 || fail "our table is back after a stop"
expect_passes "after a stop"
expect_service g1 "after a stop"
service start
expect_passes "after a start" "${both[@]}"
expect_service g1 "after a start"

step "what is left is exactly the file's text"
guest_delete g1
stop_vmrouter
nft -s list ruleset >"$LAB/left.nft"
check "the rules are those of the file" diff "$LAB/file.nft" "$LAB/left.nft"
start_vmrouter --bridge virbr10
stop_vmrouter KILL
run_vmrouter 0 down
nft -s list ruleset >"$LAB/left.nft"
check "after a kill and vmrouter down as well" diff "$LAB/file.nft" "$LAB/left.nft"
