#!/bin/bash
# capture: pcapng that tshark opens, with guests' names, filters, a ring and a live pipe.
#
#     inet --- gw --- host --- virbr10 --- vnet1 web (udhcpc)
#               |                    `---- vnet2 db (udhcpc)
#              lan
. "$(dirname "$0")/lib.sh"
lab_packages tshark

topology_bridge
start_vmrouter --bridge virbr10
guest_add web
guest_dhcp web udhcpc
web=$(guest_address web)
read_capture() { tshark -n -r "$@" 2>/dev/null; }
begin() { # FILE OPTION...: until the head of the file is there
    local file=$1
    shift
    rm -f "$file"
    background host capture "$VMROUTER" capture -o "$file" "$@"
    capture=$LAB_BACKGROUND
    wait_until 10 test -s "$file"
}
end() { # SIGNAL
    kill "-$1" "$capture"
    local status=0
    wait "$capture" || status=$?
    expect_equal "SIG$1 ends it with status 0" 0 "$status"
}

step "everything"
begin "$LAB/all.pcapng"
expect_equal "the privileges that it needs no more are gone" "0000000000002000" "$(awk '/^CapEff/ { print $2 }' "/proc/$capture/status")"
expect_equal "nothing is promiscuous" 0 "$(ip -d -j link show vnet1 | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["promiscuity"] - 1)')"
guest_add db # its port joins while we capture
guest_dhcp db udhcpc
db=$(guest_address db)
in_node web dig +short www.example.net >/dev/null
in_node web ping -c2 -i0.1 -W2 "$db" >/dev/null
end INT
expect_match "it says how many there were" '^[0-9]+ packets, 0 dropped by the kernel, [0-9.]+ kB in .*all.pcapng' "$(tail -1 "$LAB/host-capture.log")"
info=$(capinfos "$LAB/all.pcapng" 2>&1)
expect_match "capinfos opens it" 'File type: +Wireshark/\.\.\. - pcapng' "$info"
expect_match "... and finds both ports by name" 'Name = vnet1' "$info"
expect_match "... the one that came later as well" 'Name = vnet2' "$info"
expect_match "... with what they are" 'Description = port of segment virbr10, 192\.168\.100\.1/24' "$info"
expect_match "... and the program" 'vmrouter' "$info"
check "tshark reads it to its end" sh -c "tshark -r '$LAB/all.pcapng' >/dev/null 2>'$LAB/tshark.err' && ! grep -v 'Running as user' '$LAB/tshark.err' | grep ."
expect_equal "capinfos counts what we counted" "$(tail -1 "$LAB/host-capture.log" | cut -d' ' -f1)" \
    "$(capinfos -Mc "$LAB/all.pcapng" 2>/dev/null | awk '/Number of packets/ { print $NF }')"
expect_match "a DNS query is there, with its guest" '^www\.example\.net\s+from guest web' \
    "$(read_capture "$LAB/all.pcapng" -Y 'dns.qry.name == "www.example.net" && dns.flags.response == 0' -T fields -e dns.qry.name -e frame.comment)"
expect_match "a frame between guests names both" 'guest web to guest db' \
    "$(read_capture "$LAB/all.pcapng" -Y "icmp && ip.src == $web" -T fields -e frame.comment)"
expect_match "the DHCP exchange of the new guest is there" 'DHCP ACK' "$(read_capture "$LAB/all.pcapng" -Y dhcp)"

step "one guest, and a filter"
begin "$LAB/web.pcapng" --guest web
in_node web ping -c1 -W2 192.168.100.1 >/dev/null
in_node db ping -c1 -W2 192.168.100.1 >/dev/null
end TERM
expect_match "the guest's packets" "$web" "$(read_capture "$LAB/web.pcapng" -Y icmp)"
expect_equal "and nobody else's" "" "$(read_capture "$LAB/web.pcapng" -Y "eth.addr != $(guest_mac web) || ip.addr == $db")"
begin "$LAB/dns.pcapng" --filter 'udp port 53'
in_node web dig +short www.example.net >/dev/null
in_node web ping -c1 -W2 192.168.100.1 >/dev/null
send_frame web eth0 vlan=7 dst=ff:ff:ff:ff:ff:ff ip.src=192.168.100.9 ip.dst=192.168.100.1 dport=53 || true
end INT
expect_equal "only what the expression matches" "DNS" "$(read_capture "$LAB/dns.pcapng" -T fields -e _ws.col.Protocol | sort -u)"
run_vmrouter 2 capture -o "$LAB/x.pcapng" --filter 'prot 53'
expect_match "a wrong expression is named" "filter 'prot 53'" "$(cat "$LAB/out")"
check "... and leaves no file" test ! -e "$LAB/x.pcapng"
run_vmrouter 1 capture -o "$LAB/x.pcapng" --guest nobody

step "a live pipe"
background host pipe sh -c "'$VMROUTER' capture -o - --filter icmp 2>'$LAB/pipe.err' | tshark -n -l -c 2 -r - 2>/dev/null"
pipe=$LAB_BACKGROUND
pinged() { in_node web ping -c1 -W1 192.168.100.1 && grep -q reply "$LAB/host-pipe.log"; }
if wait_until 15 pinged; then ok "tshark shows packets while we capture"; else fail "tshark shows packets while we capture"; fi
gone() { in_node web ping -c1 -W1 192.168.100.1 >/dev/null; ! pgrep -f 'capture -o -' >/dev/null; }
if wait_until 10 gone; then ok "we end when it does"; else fail "we end when it does"; fi
wait "$pipe" || true

step "a ring"
background host ring "$VMROUTER" capture -o "$LAB/ring.pcapng" --ring 2x20k
capture=$LAB_BACKGROUND
wait_until 10 test -s "$LAB/ring.00001.pcapng"
in_node web ping -q -c40 -i0.02 -s1400 192.168.100.1 >/dev/null
wait_until 5 test -e "$LAB/ring.00004.pcapng" || true
end INT
files=("$LAB"/ring.*.pcapng)
expect_equal "the two newest files are kept" 2 "${#files[@]}"
for file in "${files[@]}"; do
    check "${file##*/} opens by itself" sh -c "capinfos '$file' >/dev/null"
done
expect_equal "no file is larger than it may be" "" "$(find "$LAB" -name 'ring.*' -size +24k)"
stop_vmrouter TERM
