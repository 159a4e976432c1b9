#!/bin/bash
# The five-minute paths of README.md, walked literally: the commands are taken from the file, and each is run (virt-manager's path is
# in libvirt_test.sh). Firecracker is stood in for by a process that opens its tap, with the MAC and the tap of README's JSON.
#
#     inet --- gw --- host --- virbr10 --- tap-web, tap0 (QEMU machines, iPXE), tap-fc (a process)
#                      `---- enp6s0 --- switch --- raspberrypi
. "$(dirname "$0")/lib.sh"
lab_packages qemu-system-x86 systemd-resolved

topology_iface
lab_user systemd-resolve
lab_user messagebus
lab_user alice 4242
mkdir "$LAB/bin" "$LAB/home" && chown alice "$LAB/home" && chmod 755 "$LAB"
printf '#!/bin/bash\nexec "%s" "$@"\n' "$VMROUTER" >"$LAB/bin/vmrouter" && chmod 755 "$LAB/bin/vmrouter"
export PATH=$LAB/bin:$PATH
# On a usual machine everybody may open this.
mknod -m 666 "$LAB/tun" c 10 200 && mount --bind "$LAB/tun" /dev/net/tun || skip "no device nodes can be made here"

section() { # TITLE: the commands of that part of README.md, a line each, without comments
    awk -v title="### $1" '$0 == title { on = 1; next } /^##/ { on = 0 } on && /^    / { sub(/^    /, ""); print }' "$LAB_REPO/README.md" |
        sed -e ':more' -e '/\\$/{N;s/\\\n */ /;b more' -e '}' -e 's/ *#.*//'
}
sudo() { "$@"; }
qemu-system-x86_64() { # as alice, without a disk worth the name and without KVM; it asks for a lease to boot from the network
    local words=("${@/-enable-kvm/-no-user-config}") number=$((++machines))
    background host "qemu$number" setpriv --reuid=4242 --regid=4242 --clear-groups env -C "$LAB/home" HOME="$LAB/home" \
        /usr/bin/qemu-system-x86_64 "${words[@]/2G/64M}" -accel tcg -display none -boot n
}
machines=0
USER=alice
walk() { # TITLE: runs its commands; the server in the background
    local line count=0
    while IFS= read -r line; do
        count=$((count + 1))
        case $line in
            "sudo vmrouter --bridge "* | "sudo vmrouter --iface "*)
                # shellcheck disable=SC2086
                [ -n "$VMROUTER_PID" ] || start_vmrouter ${line#sudo vmrouter }
                ;;
            *) if eval "$line" >"$LAB/said" 2>&1; then ok "README: $line"; else
                fail "README: $line"
                cat "$LAB/said"
            fi ;;
        esac
    done <"$LAB/section"
    [ "$count" -gt 0 ] || fail "README.md has a section $1"
}
path() { # TITLE
    step "$1"
    section "$1" >"$LAB/section"
    walk "$1"
}
gets_lease() { # MAC WHAT
    local address
    address=$(vmrouter ip "$1" --wait 60 2>&1) || true
    if [[ $address == 192.168.*.* ]]; then ok "$2 has $address"; else
        fail "$2 has an address: $address"
        tail -5 "$LAB"/host-qemu*.log
    fi
}

: >"$LAB/home/web.qcow2" && truncate -s 1M "$LAB/home/web.qcow2" "$LAB/home/db.qcow2" && chown alice "$LAB/home/"*
path "Plain QEMU"
gets_lease 52:54:00:12:34:56 "the machine on the tap"
gets_lease 52:54:00:12:34:57 "the machine of the bridge helper"

path "Firecracker"
json=$(sed -n '/^### Firecracker/,/^### /p' "$LAB_REPO/README.md" | sed -n '/^```json/,/^```$/p' | sed '1d;$d')
read -r tap mac <<<"$(python3 -c 'import json, sys; one = json.loads("{" + sys.stdin.read() + "}")["network-interfaces"][0]; print(one["host_dev_name"], one["guest_mac"])' <<<"$json")"
node_add micro
background host wire python3 -I "$LAB/repo/tests/netns/tap.py" wire "$tap" /run/netns/micro eth0
wait_until 10 grep -q wired "$LAB/host-wire.log"
in_node micro ip link set eth0 address "$mac" up
if in_node micro timeout 20 udhcpc -i eth0 -n -q >"$LAB/said" 2>&1; then ok "the guest asks by DHCP, as README says"; else
    fail "the guest asks by DHCP, as README says"
    cat "$LAB/said"
fi
gets_lease "$mac" "the guest on $tap"
stop_vmrouter TERM
run_vmrouter 0 down

step "a resolver on the host, as Debian's desktops and many servers have"
mkdir -p /run/dbus /run/systemd/system
printf '[Resolve]\nDNS=192.168.1.1\nFallbackDNS=\nLLMNR=no\nMulticastDNS=no\nDNSSEC=no\n' >/etc/systemd/resolved.conf
dbus-daemon --system --fork --nopidfile
background host resolved /usr/lib/systemd/systemd-resolved
wait_until 10 resolvectl status --no-pager
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf

ssh() { # as ssh finds its host and reaches it
    local address
    address=$(getent ahostsv4 "${1#*@}" | awk '{ print $1; exit }')
    [ -n "$address" ] && socat -u OPEN:/dev/null "TCP:$address:22,connect-timeout=5" && echo "ssh to $address"
}
guest_add raspberrypi
serve raspberrypi tcp/22 tcp/80
VMROUTER_PID=""
section "A Raspberry Pi without a switch" >"$LAB/all"
head -1 "$LAB/all" >"$LAB/section"
step "A Raspberry Pi without a switch"
walk "A Raspberry Pi without a switch"
guest_dhcp raspberrypi udhcpc
knows() { getent ahostsv4 "$1" | grep -q "^$2 "; }
check "the host's resolver knows it" wait_until 10 knows raspberrypi.vm.internal "$(guest_address raspberrypi)"
sed 1d "$LAB/all" >"$LAB/section"
walk "A Raspberry Pi without a switch"
expect_match "README's last command went to the Pi" "ssh to $(guest_address raspberrypi)" "$(cat "$LAB/said")"
# In running text: what to do without a resolver that can be told.
text=$(sed -n '/^### A Raspberry Pi/,/^## /p' "$LAB_REPO/README.md" | tr '\n' ' ')
asked=$(grep -o '`dig [^`]*`' <<<"$text" | tr -d '`')
expect_equal "README: $asked" "$(guest_address raspberrypi)" "$(eval "$asked")"
asked=$(grep -o '`ssh pi@\$([^`]*`' <<<"$text" | tr -d '`')
expect_match "README: $asked" "ssh to $(guest_address raspberrypi)" "$(eval "$asked")"
stop_vmrouter TERM

step "conf/pi.toml (the lab's own host serves 8080)"
sed "s/b8:27:eb:12:34:56/$(guest_mac raspberrypi)/; s/:8080/:8081/" "$LAB_REPO/conf/pi.toml" >"$LAB/pi.toml"
start_vmrouter --config "$LAB/pi.toml"
guest_renew raspberrypi
check "it calls it pi" wait_until 20 knows pi.vm.internal 192.168.50.10
has_it() { [ "$(guest_address raspberrypi)" = 192.168.50.10 ]; }
check "it has the address of its reservation" wait_until 20 has_it
expect_match "README: ssh pi.vm.internal" "ssh to 192.168.50.10" "$(ssh pi.vm.internal)"
expect_match "its web server is published" "you are" "$(in_node lan curl -s -m5 http://192.168.1.2:8081/)"
stop_vmrouter TERM
