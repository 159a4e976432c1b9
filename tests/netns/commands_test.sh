#!/bin/bash
# The commands about a running instance: leases, ip, status, reload, tap, libvirt-xml, the metrics; and who may ask.
#
#     inet --- gw --- host --- virbr10 --- vnet1 web (udhcpc)
#               |                    `---- vnet2 pi (static)
#              lan                   `---- tap0 (made by `vmrouter tap`)
. "$(dirname "$0")/lib.sh"
lab_packages prometheus libvirt-clients

run() { "$VMROUTER" "$@" 2>&1; } # what it prints, and its errors
json() { python3 -c 'import json, sys; d = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }

topology_bridge
groupadd --system vmrouter
lab_user operator
usermod -aG vmrouter operator
lab_user stranger
as() { setpriv --reuid="$1" --regid="$1" --init-groups "${@:2}"; }

cat >/etc/vm.toml <<'T'
[network]
bridge = "virbr10"
[control]
metrics = "127.0.0.1:9473"
T
expect_match "without an instance the error says what to do" 'no vmrouter is running here.*' "$(run status || true)"
nft 'table ip other { chain forward { type filter hook forward priority 0; policy drop; }; }'
start_vmrouter --config /etc/vm.toml

step "a guest is waited for"
"$VMROUTER" ip web --wait 20 >"$LAB/ip.out" 2>"$LAB/ip.log" &
waiter=$!
guest_add web
in_node web sh -c 'echo web >/etc/hostname'
guest_dhcp web udhcpc
wait "$waiter" || true
address=$(guest_address web)
expect_equal "ip --wait prints its address and nothing else" "$address" "$(cat "$LAB/ip.out")"
expect_equal "ip finds it by its MAC" "$address" "$(run ip "$(guest_mac web)")"
expect_equal "... and by its name below the domain" "$address" "$(run ip web.vm.internal)"
run_vmrouter 1 ip nobody
expect_match "a terminal shows what is waited for" 'waiting for nobody, [12]s left' \
    "$(script -qec "$VMROUTER ip nobody --wait 2" /dev/null </dev/null || true)"
expect_match "a guest that is not there is named, with the cure" "no guest 'nobody' has an address" "$(cat "$LAB/out")"

step "leases"
expect_match "the table has name, address, MAC, vendor, remaining time, state and last seen" \
    "^$address +web +$(guest_mac web) +QEMU/KVM +(1h|59m [0-9]+s) +bound +(now|[0-9]+s ago)$" "$(run leases)"
expect_equal "--json says the same" "$address $(guest_mac web) web bound QEMU/KVM True True" \
    "$(run leases --json | json '" ".join(str(x) for l in d for x in (l["address"], l["mac"], l["name"], l["state"], l["vendor"], l["expires"] > 1.7e9, l["last_seen"] > 1.7e9))')"
wait_until 5 grep -q web "/var/lib/vmrouter/virbr10/leases"
expect_match "--file needs no instance and no root" "^$address +web " \
    "$(as stranger "$VMROUTER" leases --file /var/lib/vmrouter/virbr10/leases)"
run_vmrouter 0 leases pin "$address"
expect_match "pin makes it a reservation" "$(guest_mac web).*$address|$address.*$(guest_mac web)" "$(cat /var/lib/vmrouter/virbr10/hostsfile)"
run_vmrouter 0 leases drop "$address"
expect_equal "drop ends it" '[]' "$(run leases --json)"
run_vmrouter 1 leases drop 192.168.100.77
guest_renew web
wait_until 10 "$VMROUTER" ip web || true
expect_equal "the guest asks anew and gets the pinned address" "$address" "$(run ip web)"

step "status"
guest_add pi
guest_static pi 192.168.100.200/24 192.168.100.1 192.168.100.1
expect_reach web tcp inet 198.51.100.10 80
in_node web dig +short www.example.net >/dev/null
in_node web sh -c 'for i in 1 2 3; do curl -s -m2 http://192.168.1.50/; done' || true
expect_blocked web tcp lan 192.168.1.50 22
in_node pi ping -c2 -W2 192.168.100.1 >/dev/null
blocked_counted() { [ "$(run status --json | json 'sum(b["count"] for b in d["blocked"] if b["peer"] == "192.168.1.50")')" -ge 2 ]; }
wait_until 5 blocked_counted || true
run status >"$LAB/status.txt"
cat "$LAB/status.txt"
status=$(cat "$LAB/status.txt")
expect_match "it says what is served" '^SERVES +bridge virbr10 as 192\.168\.100\.1/24, mtu 1500' "$status"
expect_match "... the uplink" '^UPLINK +eth0 via 192\.168\.1\.1' "$status"
expect_match "... the upstream with health and latency" '^192\.168\.1\.1 +up +<?[0-9]+ ms +[0-9]+ +[0-9]+' "$status"
expect_match "... the guest with its traffic and what was blocked" "^web +$address +$(guest_mac web) +vnet1 +[0-9.]+ k?B +[0-9.]+ k?B +[0-9]+ " "$status"
expect_match "... a guest without a lease" '^- +192\.168\.100\.200 .* [0-9.]+ B +[0-9.]+ B ' "$status"
expect_match "... the top blocked destinations of each guest" '^web +tcp 192\.168\.1\.50:80 +lan +[0-9]+' "$status"
expect_match "... what another firewall does" "^[a-z]+ +ip other forward: policy drop +our guests' traffic passes" "$status"
expect_match "... that everything is as set up" '^ok +firewall table inet vmrouter_virbr10' "$status"
expect_match "... kernel settings in one row" '^ok +[0-9]+ kernel settings' "$status"
if grep -qP '\x1b' "$LAB/status.txt"; then fail "no colours in a file"; else ok "no colours in a file"; fi
coloured() { script -qec "env ${1:-} TERM=xterm $VMROUTER status" /dev/null </dev/null | grep -cP '\x1b\[' || true; }
if [ "$(coloured)" -gt 0 ]; then ok "colours on a terminal"; else fail "colours on a terminal"; fi
expect_equal "never with NO_COLOR" 0 "$(coloured NO_COLOR=1)"
expect_equal "--json: health is a list of what, ok, detail" "['detail', 'ok', 'what'] True" \
    "$(run status --json | json 'str(sorted(d["health"][0])) + " " + str(all(h["ok"] for h in d["health"]))')"
sent() { run status --json | json 'next(g["sent"]["packets"] for g in d["guests"] if g["name"] == "web")'; }
before=$(sent)
in_node web ping -c5 -i0.05 -W2 198.51.100.10 >/dev/null
expect_equal "a guest's packets are counted one by one" 5 "$(($(sent) - before))"
ip link set "$(guest_port web)" mtu 1400
is_shown() { run status | grep -qE '^BAD +mtu of virbr10 +is 1400: vnet[0-9]+ takes no more'; }
check "what somebody changed is shown" wait_until 5 is_shown
ip link set "$(guest_port web)" mtu 1500

step "who may ask"
expect_equal "the socket is for root and the group vmrouter" "660 root vmrouter" "$(stat -c '%a %U %G' /run/vmrouter/virbr10.sock)"
expect_match "a member of the group may" '^SERVES' "$(as operator "$VMROUTER" status)"
expect_match "a stranger may not, and hears why" 'you may not ask this vmrouter' "$(as stranger "$VMROUTER" status 2>&1 || true)"
expect_match "... not with a program of his own either" 'Permission denied|PermissionError' \
    "$(as stranger socat - UNIX-CONNECT:/run/vmrouter/virbr10.sock </dev/null 2>&1 || true)"

step "a tap for a user"
run_vmrouter 0 tap tap0 --user operator
expect_match "it says how to use it" 'qemu-system-x86_64 -nic tap,ifname=tap0' "$(cat "$LAB/out")"
expect_equal "it is on the bridge" virbr10 "$(basename "$(readlink /sys/class/net/tap0/master)")"
expect_equal "it belongs to the user" "$(id -u operator)" "$(cat /sys/class/net/tap0/owner)"
expect_match "it is up" 'UP' "$(ip -br link show tap0)"
run_vmrouter 1 tap tap0 --user operator
expect_match "a name that is taken is refused" 'an interface of that name already' "$(cat "$LAB/out")"
run_vmrouter 1 tap tap1 --user nosuchuser
expect_match "a member of the group makes one for himself" 'tap2 is on' "$(as operator "$VMROUTER" tap tap2 --user operator 2>&1)"
expect_match "... and none for others" 'only root makes taps for others' "$(as operator "$VMROUTER" tap tap3 --user root 2>&1 || true)"

step "a network for libvirt"
run_vmrouter 0 libvirt-xml
if command -v virt-xml-validate >/dev/null && [ -d /usr/share/libvirt/schemas ]; then
    cp "$LAB/out" "$LAB/network.xml"
    check "virt-xml-validate accepts it" virt-xml-validate "$LAB/network.xml" network
fi
expect_match "--define registers it, started and at every boot" "Virtual network 'vmrouter-virbr10'" \
    "$(LIBVIRT_DEFAULT_URI=test:///default run libvirt-xml --define)"

step "metrics"
curl -s http://127.0.0.1:9473/metrics >"$LAB/metrics"
check "promtool accepts them" sh -c "promtool check metrics <$LAB/metrics"
expect_match "a guest's bytes are among them" "^vmrouter_guest_bytes_total\{address=\"$address\",direction=\"sent\",guest=\"web\"\} [1-9]" "$(cat "$LAB/metrics")"
expect_equal "another path is not found" 404 "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9473/)"
expect_equal "nothing can be posted" 405 "$(curl -s -o /dev/null -w '%{http_code}' -d x http://127.0.0.1:9473/metrics)"
for _ in 1 2 3 4 5 6 7 8; do socat -u TCP:127.0.0.1:9473 STDOUT >/dev/null & done # eight that say nothing
crowd_is_gone() { curl -s -m10 http://127.0.0.1:9473/metrics | grep -q vmrouter_info; }
if wait_until 50 crowd_is_gone; then ok "clients that say nothing are hung up on"; else fail "clients that say nothing are hung up on"; fi

step "reload"
run_vmrouter 0 reload
sed -i 's/^metrics.*//; s/^bridge/lan = 5\nbridge/' /etc/vm.toml
run_vmrouter 1 reload
expect_match "a wrong configuration is named with its place" 'vm.toml:[0-9]+:' "$(cat "$LAB/out")"
expect_equal "... and the old one stays in force" "$address" "$(run ip web)"
sed -i '/^lan/d' /etc/vm.toml
run_vmrouter 0 reload
if curl -s -m2 http://127.0.0.1:9473/metrics >/dev/null; then fail "the metrics are off"; else ok "the metrics are off"; fi

step "each document has the shape that ARCHITECTURE.md gives"
shape() { # NAME: of the document on stdin
    expect_equal "the shape of $1" "" "$(python3 -I "$LAB/repo/tests/netns/shapes.py" "$LAB_REPO/ARCHITECTURE.md" "$1" 2>&1 || true)"
}
over_socket() { # REQUEST: the result of a request by hand
    python3 -I - /run/vmrouter/virbr10.sock "$1" <<'END'
import json, socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(sys.argv[2].encode() + b"\n")
answer = json.loads(client.makefile().readline())
print(json.dumps(answer["result"]) if answer["ok"] else answer)
END
}
for name in leases status traffic enforced; do over_socket "{\"command\": \"$name\"}" >"$LAB/shape" && shape "$name" <"$LAB/shape"; done
over_socket '{"command": "guest", "guest": "web"}' >"$LAB/shape" && shape guest <"$LAB/shape"
run leases --json >"$LAB/shape" && shape leases <"$LAB/shape"
run status --json >"$LAB/shape" && shape status <"$LAB/shape"
"$VMROUTER" doctor --json >"$LAB/shape" || true
shape doctor <"$LAB/shape"
"$VMROUTER" verify --json --target 198.51.100.10 --rebind "" --wait 0.3 >"$LAB/shape" || true
shape verify <"$LAB/shape"

step "odd ways to call it"
lost() { # WANTED_STATUS COMMAND...: its output cannot be written
    local status=0
    timeout 10 "$VMROUTER" "${@:2}" >/dev/full 2>"$LAB/lost" </dev/null || status=$?
    expect_equal "$2 into a full disk" "$1 1" "$status $(grep -c 'could not be written' "$LAB/lost")"
    status=0
    timeout 10 "$VMROUTER" "${@:2}" >&- 2>"$LAB/lost" </dev/null || status=$?
    expect_equal "$2 into what is closed" "$1 1" "$status $(grep -c 'could not be written' "$LAB/lost")"
}
lost 1 status --json
lost 1 plan --bridge virbr11
lost 1 leases
lost 1 --help
run_vmrouter 2 status --instance ../x
expect_match "an instance has the name of an interface" "is not an instance's name" "$(cat "$LAB/out")"
run_vmrouter 1 status --config /nonexistent.toml
expect_match "a configuration that is not there is named" '/nonexistent.toml: cannot open' "$(cat "$LAB/out")"
expect_match "down by somebody else" 'run it with sudo' "$(as stranger "$VMROUTER" down 2>&1 || true)"

step "help"
for command in "leases" "leases drop" "leases pin" ip status monitor capture reload tap libvirt-xml check plan verify doctor down completions; do
    # shellcheck disable=SC2086
    expect_match "$command --help has examples" "^  .*vmrouter ${command%% *}" "$("$VMROUTER" $command --help)"
done

stop_vmrouter TERM
check "the taps went with the bridge" sh -c '! test -e /sys/class/net/tap0 && ! test -e /sys/class/net/tap2'
start_vmrouter --config /etc/vm.toml
run_vmrouter 0 tap tap0 --user operator
stop_vmrouter KILL
run_vmrouter 0 down
check "down removes the tap of a killed instance" sh -c '! test -e /sys/class/net/tap0'
