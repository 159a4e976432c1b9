# shellcheck shell=bash disable=SC2034,SC2154
# Other programs of the machine that have their own idea of its network, the real ones. Part of lib.sh, which documents it.

system_bus() {
    [ ! -S /run/dbus/system_bus_socket ] || return 0
    mkdir -p /run/dbus
    lab_user messagebus
    dbus-daemon --system --fork --nopidfile
}

# What the installation of ufw does with its templates.
with_ufw() {
    lab_packages ufw
    cp /usr/share/ufw/iptables/*.rules /usr/share/ufw/{before,after}.init /usr/share/ufw/ufw.conf /etc/ufw
    chmod 640 /etc/ufw/*.rules
}

with_firewalld() {
    lab_packages firewalld
    cp /usr/share/polkit-1/actions/org.fedoraproject.FirewallD1.{server.policy.choice,policy}
    system_bus
}
expect_firewall_stops_guests() { # NAME: the control, before vmrouter runs
    start_control
    guest_add g1
    guest_static g1 192.168.100.21/24 192.168.100.1
    step "control: $1 stops a guest"
    expect_blocked g1 tcp inet 198.51.100.10 80
    stop_control
    guest_delete g1
}
start_firewalld() {
    firewalld --nofork --nopid >>"$LAB/firewalld.log" 2>&1 &
    FIREWALLD_PID=$!
    wait_until 20 firewall-cmd --state || { cat "$LAB/firewalld.log" && fail "firewalld starts" && exit 1; }
}
stop_firewalld() { lab_stop "$FIREWALLD_PID"; }

with_docker() {
    lab_packages docker.io
    mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null || true
}
start_docker() {
    dockerd --data-root /run/docker-data --exec-root /run/docker --storage-driver vfs >>"$LAB/dockerd.log" 2>&1 &
    DOCKERD_PID=$!
    wait_until 30 docker info || { tail -30 "$LAB/dockerd.log" && fail "dockerd starts" && exit 1; }
}
stop_docker() { lab_stop "$DOCKERD_PID"; }
# A node on docker0, as a container is; its rules are those that dockerd made.
container_add() { # NAME ADDRESS
    node_add "$1"
    join host "veth-$1" "$1" eth0
    ip link set "veth-$1" master docker0
    in_node "$1" ip addr add "$2/16" dev eth0
    in_node "$1" ip route add default via 172.17.0.1
    watch "$1"
    serve "$1" tcp/80
}

with_network_manager() {
    lab_packages network-manager
    mkdir -p /run/NetworkManager
    mount -o remount,ro,bind /sys 2>/dev/null || mount -t sysfs -o ro sysfs /sys # without udev it wants /sys like this
    system_bus
}
start_network_manager() {
    NetworkManager --no-daemon >>"$LAB/network-manager.log" 2>&1 &
    NETWORK_MANAGER_PID=$!
    wait_until 20 nmcli general status || { tail -30 "$LAB/network-manager.log" && fail "NetworkManager starts" && exit 1; }
}
stop_network_manager() { lab_stop "$NETWORK_MANAGER_PID"; }

with_networkd() {
    lab_packages systemd
    mkdir -p /run/systemd
    mount -t tmpfs -o mode=755 lab /run/systemd
    lab_user systemd-network
    mkdir -p /run/systemd/{system,network} /run/systemd/netif/{links,leases,lldp}
    chown -R systemd-network: /run/systemd/netif
    mount -o remount,ro,bind /sys 2>/dev/null || mount -t sysfs -o ro sysfs /sys # otherwise it waits for udev, which is not here
    system_bus
}
start_networkd() {
    /lib/systemd/systemd-networkd >>"$LAB/networkd.log" 2>&1 &
    NETWORKD_PID=$!
    wait_until 20 networkctl --no-legend list || { tail -30 "$LAB/networkd.log" && fail "systemd-networkd starts" && exit 1; }
}
stop_networkd() { lab_stop "$NETWORKD_PID"; }

lab_stop() { # PID
    kill "$1" && wait "$1" 2>/dev/null || true
}

# What a guest is there for, and what it must not have although another firewall was opened for it.
expect_service() { # GUEST WHEN
    expect_equal "$2: names" 198.51.100.10 "$(in_node "$1" dig +short +time=5 +tries=3 @192.168.100.1 www.example.net 2>&1)"
    expect_reach "$1" tcp inet 198.51.100.10 80
}
# bridge-nf exists with a module that most kernels load only when Docker or libvirt asks for it.
need_bridge_nf() { [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || modprobe br_netfilter; }
# With bridge-nf-call-iptables = 1, as Docker sets it, frames between guests walk through everybody's forward chains.
expect_bridged() { # GUEST WHEN
    local setting=/proc/sys/net/bridge/bridge-nf-call-iptables before
    [ -e "$setting" ] || { ok "$2: this kernel has no bridge-nf" && return 0; }
    before=$(cat "$setting")
    echo 1 >"$setting"
    guest_add neighbour
    guest_static neighbour 192.168.100.222/24 192.168.100.1
    serve neighbour tcp/80
    expect_reach "$1" tcp neighbour 192.168.100.222 80
    expect_service "$1" "$2, bridged frames pass through it"
    expect_isolation "$1"
    guest_delete neighbour
    echo "$before" >"$setting"
}
expect_isolation() { # GUEST
    expect_blocked "$1" tcp lan 192.168.1.50 22
    expect_blocked "$1" tcp host 192.168.100.1 22
}

# Our rules in chains of others: nftables lists them as FAMILY TABLE CHAIN, one a line; a chain that has two shows twice.
LAB_BIT='meta mark & 0x00100000 == 0x00100000'
passes() {
    nft list ruleset | awk -v bit="$LAB_BIT" '$1 == "table" { table = $2 " " $3 } $1 == "chain" { chain = $2 }
        index($0, bit) && /accept/ && table !~ / vmrouter_/ { print table, chain }' | sort
}
passes_are() { [ "$(passes | tr '\n' ' ' | sed 's/ $//')" = "$(printf '%s\n' "$@" | sort | tr '\n' ' ' | sed 's/ $//')" ]; }
# One second is promised; a busy machine gets five.
expect_passes() { # WHEN CHAIN...
    local text=$1 began=${EPOCHREALTIME/[.,]/}
    shift
    if wait_until 5 passes_are "$@"; then ok "$text: our rule is in ${*:-no chain of others} ($(((${EPOCHREALTIME/[.,]/} - began) / 1000)) ms)"; else
        fail "$text: our rule should be in '$*', is in '$(passes | tr '\n' ' ')'"
    fi
}
# The iptables of the administrator goes on working with ours in place.
expect_iptables() { # WHEN TABLE_DUMP_TO_COMPARE?
    expect_match "$1: iptables -S shows our rule" '-m mark --mark 0x100000/0x100000.* -j ACCEPT' "$(iptables -S 2>&1)"
    check "$1: iptables-save | iptables-restore" sh -c 'iptables-save >"$0" && iptables-restore <"$0"' "$LAB/saved.log"
}
