#!/bin/bash
# `doctor --guest` with real clients: refused, an offer that never arrives, a lease that ended, DNS that is not asked, and what
# is blocked.
#
#     inet --- gw --- host --- virbr10 --- d1 (dhclient), d2 (udhcpc)
#              lan 192.168.1.50
. "$(dirname "$0")/lib.sh"
. "$LAB_DIR/doctor.sh"

topology_bridge
gcc -shared -fPIC -Wall -Wextra -Werror -o "$LAB/lacking.so" "$LAB_DIR/lacking.c" -ldl
real=$VMROUTER VMROUTER=$LAB/ahead
printf '#!/bin/sh\nLACKING="%s" LD_PRELOAD="%s" ASAN_OPTIONS="verify_asan_link_order=0:$ASAN_OPTIONS" exec "%s" "$@"\n' \
    "$LAB/tomorrow" "$LAB/lacking.so" "$real" >"$VMROUTER"
chmod +x "$VMROUTER"
start_vmrouter --bridge virbr10
guest_add d1
guest_add d2
in_guest_filter() { # GUEST HOOK RULE: a firewall in the guest
    in_node "$1" nft "table netdev own { chain c { type filter hook $2 device eth0 priority 0; $3; }; }"
}
no_filter() { in_node "$1" nft delete table netdev own; }

step "refused"
# A laptop that comes from another network: it asks for the address that it had there. Its own firewall lets nothing but that out
# (a DISCOVER is 35 01 01 behind the magic cookie).
mkdir -p "$LAB/leases"
cat >"$LAB/leases/d1" <<END
lease {
  interface "eth0";
  fixed-address 192.168.55.5;
  option subnet-mask 255.255.255.0;
  option dhcp-lease-time 864000;
  option dhcp-message-type 5;
  option dhcp-server-identifier 192.168.55.1;
  renew 0 $(date -u -d '+5 days' '+%Y/%m/%d %H:%M:%S');
  rebind 0 $(date -u -d '+8 days' '+%Y/%m/%d %H:%M:%S');
  expire 0 $(date -u -d '+9 days' '+%Y/%m/%d %H:%M:%S');
}
END
in_guest_filter d1 egress '@th,1984,24 0x350101 drop'
background d1 dhclient dhclient -4 -d -pf /run/dhclient.pid -lf "$LAB/leases/d1" eth0
client=$LAB_BACKGROUND
check "it is refused" wait_until 20 log_has 'NAK .*192\.168\.55\.5'
look 1 --guest "$(guest_mac d1)"
named "refused" guest_nak "REQUEST was refused \\(NAK\\).*restart networking"
no_filter d1
wait_until 60 guest_has_address d1
silent --guest "$(guest_mac d1)"

step "an offer that never arrives"
in_guest_filter d2 ingress 'udp sport 67 drop'
in_node d2 timeout 20 udhcpc -f -n -q -i eth0 -t 3 -T 1 >/dev/null 2>&1 || true
look 1 --guest "$(guest_mac d2)"
named "a stale offer" guest_offer "offered an address [0-9]+ times and never took it.*firewall in the guest"
no_filter d2
guest_dhcp d2 udhcpc
silent --guest d2

step "DNS"
look 0 --guest d2
named "it never asked our DNS" guest_dns "never asked our DNS.*192.168.100.1"
in_guest_filter d2 egress 'udp dport 53 drop'
in_node d2 timeout 5 dig +tries=1 +time=1 www.example.net >/dev/null 2>&1 || true
look 0 --guest d2
named "its own firewall holds DNS back" guest_dns "never asked our DNS"
no_filter d2
in_node d2 dig +short www.example.net >/dev/null
look 0 --guest d2
expect_equal "not any more" "" "$(grep guest_dns <<<"$FOUND" || true)"

step "what it wants is blocked"
expect_blocked d2 tcp lan 192.168.1.50 22
wait_until 5 log_has 'BLOCK lan tcp 192.168.1.50:22'
look 0 --guest d2
named "what was refused" guest_blocked "lan: 192.168.1.50 tcp/22"

step "a lease that was given back"
kill "$client"
wait_until 5 lab_gone "$client"
in_node d1 dhclient -4 -r -pf /run/dhclient.pid -lf "$LAB/leases/d1" eth0 >/dev/null 2>&1 || true
check "it is released" wait_until 20 log_has 'RELEASE '
look 1 --guest "$(guest_mac d1)"
named "it gave its address back" guest_released "gave its address back"

step "a lease that ended"
touch "$LAB/tomorrow"
look 1 --guest "$(guest_mac d2)"
named "it did not renew" guest_expired "lease is over.*restart networking"
stop_vmrouter TERM
