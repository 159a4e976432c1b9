#!/bin/bash
# Real machines that boot from the network: QEMU's firmware on a virtio and on an e1000 card, each on a tap. What they fetch proves their
# lease, the boot options, DNS, route and NAT; no kernel is needed.
#
#     inet (http) --- gw --- host --- virbr10 --- tap1 (QEMU, virtio-net), tap2 (QEMU, e1000)
. "$(dirname "$0")/lib.sh"

lab_packages qemu-system-x86
topology_bridge
mkdir "$LAB/www"
# The firmware asks for a name that says what it was told.
cat >"$LAB/www/boot.ipxe" <<'IPXE'
#!ipxe
imgfetch http://www.example.net:8000/told/${net0/mac:hexhyp}/${net0/ip}/${net0/netmask}/${net0/gateway}/${net0/dns}/${net0/domain}/${net0/hostname}/${net0/dhcp-server}/${net0/next-server}/${net0/66:string}
poweroff
IPXE
background inet http python3 -u -m http.server --bind 198.51.100.10 --directory "$LAB/www" 8000
cat >"$LAB/vm.toml" <<'TOML'
[network]
bridge = "virbr10"
address = "192.168.100.1/24"
[dhcp]
boot_server = "198.51.100.10"
boot_file = "http://www.example.net:8000/boot.ipxe"
[[dhcp.host]]
mac = "52:54:00:aa:00:02"
address = "192.168.100.77"
name = "pxe"
TOML
leases=/var/lib/vmrouter/virbr10/leases

start_vmrouter --config "$LAB/vm.toml"
boot() { # NUMBER CARD MACHINE
    ip tuntap add "tap$1" mode tap
    ip link set "tap$1" master virbr10 up
    background host "qemu$1" qemu-system-x86_64 -machine "$3,graphics=off,accel=tcg" -m 64 -nodefaults -display none \
        -serial "file:$LAB/console$1.log" -boot n \
        -netdev "tap,id=n0,ifname=tap$1,script=no,downscript=no" -device "$2,netdev=n0,mac=52:54:00:aa:00:0$1"
}
step "two machines start"
boot 1 virtio-net-pci q35
boot 2 e1000 pc
told() { grep -o "GET /told/52-54-00-aa-00-0$1/[^ ]*" "$LAB/inet-http.log" | head -1; }
for number in 1 2; do
    if wait_until 60 eval "[ -n \"\$(told $number)\" ]"; then ok "machine $number boots by the file that its lease names"; else
        fail "machine $number boots by the file that its lease names"
        tail -20 "$LAB/console$number.log" | cut -c1-200
    fi
done
address=$(awk '$2 == "52:54:00:aa:00:01" { print $3 }' "$leases")
network=255.255.255.0/192.168.100.1/192.168.100.1/vm.internal server=192.168.100.1/198.51.100.10/198.51.100.10
expect_equal "virtio: address, mask, router, resolver, domain, server, boot server and option 66" \
    "GET /told/52-54-00-aa-00-01/$address/$network//$server" "$(told 1)"
expect_equal "e1000: its reserved address and name too" "GET /told/52-54-00-aa-00-02/192.168.100.77/$network/pxe/$server" "$(told 2)"
expect_equal "the internet saw the gateway's address only" 198.51.100.1 "$(awk '/GET/ { print $1 }' "$LAB/inet-http.log" | sort -u)"
check "the file of leases has both" grep -q '52:54:00:aa:00:02 192.168.100.77 pxe ' "$leases"
expect_equal "no probe, checksum or reply went wrong" "" "$(grep -E 'warning|error' "$LAB/vmrouter.log" || true)"
stop_vmrouter TERM
