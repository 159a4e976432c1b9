#!/bin/bash
# The real libvirtd beside us: its default network is switched off as README says, ours is registered, and domains that it starts
# get leases: one by the network of the list, one by "Bridge device".
#
#     inet --- gw --- host: libvirtd, virbr10 --- vnetN (QEMU machines, iPXE)
#              |              virbr0: libvirt's own default network
#              lan 192.168.1.50
. "$(dirname "$0")/lib.sh"
lab_packages libvirt-daemon libvirt-clients qemu-system-x86

topology
lab_user libvirt-qemu
mkdir -p /etc/libvirt /run/libvirt /var/lib/libvirt /var/log/libvirt /etc/libvirt/qemu/networks
cat >/etc/libvirt/libvirtd.conf <<<'auth_unix_rw = "none"'
# What this machine has not: a user of QEMU's, cgroups, security modules, a log daemon.
cat >/etc/libvirt/qemu.conf <<'END'
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
END
virsh() { timeout 60 /usr/bin/virsh --quiet --connect qemu:///system "$@"; }
background host libvirtd libvirtd --config /etc/libvirt/libvirtd.conf
if ! wait_until 60 virsh list; then
    cat "$LAB/host-libvirtd.log"
    skip "libvirtd does not run on this kernel"
fi

step "libvirt's default network, as its package brings it"
cat >"$LAB/default.xml" <<'END'
<network>
  <name>default</name>
  <forward/>
  <bridge name="virbr0"/>
  <ip address="192.168.122.1" netmask="255.255.255.0"><dhcp><range start="192.168.122.2" end="192.168.122.254"/></dhcp></ip>
</network>
END
virsh net-define "$LAB/default.xml"
virsh net-autostart default
check "it runs" virsh net-start default
snapshot_quick "$LAB/with-default"

step "README: A VM in virt-manager"
sudo() { "$@"; }
readme() { # TEXT: the commands of the block of README.md that begins with TEXT, but for the server itself
    sed -n "/^    .*$1/,/^\$/p" "$LAB_REPO/README.md" | sed -e '/^$/d' -e 's/^    //' -e '/vmrouter --bridge/d'
}
readme 'virsh net-destroy default' >"$LAB/readme"
expect_equal "two commands switch it off" 2 "$(wc -l <"$LAB/readme")"
# shellcheck disable=SC1091
. "$LAB/readme"
expect_equal "it is off, and stays off" "inactive no" "$(virsh net-list --all | awk '$1 == "default" { print $2, $3 }')"
check "its bridge is gone" sh -c '! test -e /sys/class/net/virbr0'
start_vmrouter --bridge virbr10
LAB_SEGMENT=virbr10
if run_vmrouter 0 libvirt-xml --define; then :; fi
expect_match "it says where it is in virt-manager" "Virtual network 'vmrouter-virbr10'" "$(cat "$LAB/out")"
expect_equal "libvirt has it, started and at every boot" "active yes" "$(virsh net-list --all | awk '$1 == "vmrouter-virbr10" { print $2, $3 }')"

machine() { # NAME MAC INTERFACE-XML
    cat >"$LAB/$1.xml" <<END
<domain type="qemu">
  <name>$1</name>
  <memory unit="MiB">64</memory>
  <os><type arch="x86_64" machine="pc">hvm</type><boot dev="network"/></os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <interface $3<mac address="$2"/><model type="e1000"/></interface>
  </devices>
</domain>
END
    virsh define "$LAB/$1.xml" >"$LAB/define.log" 2>&1 && virsh start "$1" >>"$LAB/define.log" 2>&1 || {
        fail "the machine $1 starts"
        cat "$LAB/define.log" "$LAB/host-libvirtd.log"
        tail -20 "/var/log/libvirt/qemu/$1.log" || true
        return 0
    }
    ok "the machine $1 starts"
    expect_match "$1 has an address" '^192\.168\.100\.' "$("$VMROUTER" ip "$2" --wait 60 2>&1)"
}
step "machines"
machine web 52:54:00:aa:00:01 "type='network'><source network='vmrouter-virbr10'/>"
machine plain 52:54:00:aa:00:02 "type='bridge'><source bridge='virbr10'/>"
expect_equal "both are on our bridge" 2 "$(find /sys/class/net/virbr10/brif/ -name 'vnet*' | wc -l)"
run_vmrouter 0 leases
expect_match "leases shows them" '52:54:00:aa:00:01 +QEMU/KVM' "$(cat "$LAB/out")"

step "a restart of ours, while they run"
stop_vmrouter TERM
start_vmrouter --bridge virbr10
expect_equal "both are on our bridge again" 2 "$(find /sys/class/net/virbr10/brif/ -name 'vnet*' | wc -l)"
check "libvirt still has the network active" sh -c '/usr/bin/virsh --connect qemu:///system net-list | grep -q vmrouter-virbr10'
run_vmrouter 0 verify --target 198.51.100.10 --rebind rebind.example.net --wait 1

step "once more, and away with it"
run_vmrouter 0 libvirt-xml --define
expect_match "--define a second time is no error" "vmrouter-virbr10" "$(cat "$LAB/out")"
virsh destroy web
virsh destroy plain
virsh net-destroy vmrouter-virbr10
virsh net-undefine vmrouter-virbr10
stop_vmrouter TERM
