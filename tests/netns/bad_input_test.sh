#!/bin/bash
# What cannot work is refused with one clear error, the right exit status, and nothing left behind.
#
#     inet --- gw --- host (eth0: default route, eth1, brother), a server on its ports 53 and 67 now and then
. "$(dirname "$0")/lib.sh"

topology_bridge
snapshot_machine "$LAB/before"

refused() { # TEXT STATUS REGEX ARGUMENT...: vmrouter ends with STATUS, says REGEX, and the machine is as before
    local text=$1 status=$2 regex=$3
    shift 3
    step "$text"
    rm -rf /var/lib/vmrouter
    run_vmrouter "$status" "$@"
    expect_match "$text: it says so" "$regex" "$(tr '\n' ' ' <"$LAB/out")"
    rm -rf /var/lib/vmrouter # what is kept over a boot (the chosen address) is no part of the running machine
    snapshot_machine "$LAB/after"
    expect_same_machine "$LAB/before" "$LAB/after"
}
config() { cat >"$LAB/vm.toml"; }

config <<<$'[network]\nbridge = "virbr10"\nadress = "auto"'
refused "a misspelled key" 2 'vm\.toml:3:1: .*adress.*address' --config "$LAB/vm.toml"
config <<<$'[network]\nbridge = "virbr10"\nmtu = 12\n[dhcp]\nlease_time = "5 parsecs"\n[dns]\ncache_size = -1'
refused "three bad values: all are named" 2 'vm\.toml:7:' --config "$LAB/vm.toml"
expect_match "... the first" 'vm\.toml:3:' "$(cat "$LAB/out")"
expect_match "... the second" 'vm\.toml:5:' "$(cat "$LAB/out")"
config <<<$'[network\nbridge = 3'
refused "no TOML" 2 'vm\.toml:1:' --config "$LAB/vm.toml"
config <<<$'[network]\nbridge = "virbr10"\ninterface = "eth1"'
refused "bridge and interface" 2 'interface' --config "$LAB/vm.toml"
refused "no such file" 2 'nowhere\.toml' --config /nowhere.toml
refused "no such option" 2 'bananas' --bananas
refused "an interface that carries the default route" 1 'internet through eth0' --iface eth0
refused "an address that is the host's own" 1 '203\.0\.113\.2' --bridge virbr10 --address 203.0.113.2/24
refused "an address that covers the gateway" 1 '192\.168\.' --bridge virbr10 --address 192.168.1.77/24

as_user() { # the same, without root
    local status=0
    timeout 20 setpriv --reuid 65534 --regid 65534 --clear-groups "$LAB/vmrouter-for-all" "$@" >"$LAB/out" 2>&1 || status=$?
    expect_equal "not root: status" 1 "$status"
    expect_match "not root: says so" '[Rr]oot' "$(cat "$LAB/out")"
}
step "not root"
chmod 755 "$LAB"
install -m 755 "$VMROUTER" "$LAB/vmrouter-for-all" # the user may not be able to reach the build folder
as_user --bridge virbr10

step "port 53 is taken on every address"
background host squatter python3 -c 'import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 53)); print("bound", flush=True); time.sleep(100)'
squatter=$LAB_BACKGROUND
wait_until 5 grep -q bound "$LAB/host-squatter.log"
refused "port 53 is taken" 1 "53.*(python3|$squatter)|(python3|$squatter).*53" --bridge virbr10
kill "$squatter" && wait "$squatter" || true

step "port 67 is taken on every address"
background host dhcp dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file --port=0 \
    --dhcp-leasefile="$LAB/other.leases" --dhcp-range=10.77.0.5,10.77.0.9
squatter=$LAB_BACKGROUND
wait_until 5 sh -c 'ss -lun | grep -q :67'
refused "port 67 is taken" 1 "67.*(dnsmasq|$squatter)|(dnsmasq|$squatter).*67" --bridge virbr10
kill "$squatter" && wait "$squatter" || true

step "a kernel without nftables"
real=$VMROUTER
printf '#!/bin/sh\nexec python3 -I "%s" nftables "%s" "$@"\n' "$LAB_DIR/without.py" "$real" >"$LAB/without-nftables"
chmod +x "$LAB/without-nftables"
VMROUTER=$LAB/without-nftables
refused "no nftables" 1 'netfilter.*kernel needs' --bridge virbr10
VMROUTER=$real

step "an interface that is not there"
timeout -k 5 5 "$VMROUTER" --iface nosuch0 >"$LAB/out" 2>&1 || true # it may wait for it, and then it says so
expect_match "it is named" 'nosuch0' "$(cat "$LAB/out")"
rm -rf /var/lib/vmrouter
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"
