#!/bin/bash
# The keys of [dhcp] are changed by a reload, one by one; the effect of each is seen, and what it does not concern stays.
. "$(dirname "$0")/reload.sh"

reload "dhcp off" dhcp 'enabled = false'
check "no answer" is_silent g2
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
check "no answer" is_silent g2
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
reload "max_leases" dhcp 'max_leases = 1'
check "nobody new is served" is_silent g3
in_node g2 ip addr add 192.168.100.201/24 dev eth0
reload "max_leases of before, a range of one address that g2 uses without asking" dhcp 'range = ["192.168.100.201", "192.168.100.201"]'
check "ping_check finds that out" is_silent g3
reload "ping_check off" dhcp $'ping_check = false\nrange = ["192.168.100.202", "192.168.100.202"]'
in_node g2 ip addr add 192.168.100.202/24 dev eth0
expect_equal "nobody finds out" 192.168.100.202 "$(in_node g3 udhcpc -n -q -R -f -i eth0 -t 5 -T 1 -s "$LAB/env.sh" 2>&1 | sed -n "s/^ip='\(.*\)'/\1/p" | tail -1)"
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
cache_holds "after all this"
flow_goes_on flow "after all this"
stop_vmrouter
