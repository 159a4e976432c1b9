# shellcheck shell=bash disable=SC2034,SC2154
# Guests and their DHCP clients. Part of lib.sh, which documents it.

guest_add() {
    local name=$1 number=$((++LAB_GUESTS))
    node_add "$name"
    LAB_NUMBER[$name]=$number
    ip link add lab0 type veth peer name lab1
    ip link set lab1 address "$(guest_mac "$name")"
    if [ "$LAB_MODE" = bridge ]; then
        ip link set lab0 name "vnet$number"
        ip link set "vnet$number" master "$LAB_SEGMENT"
        ip link set "vnet$number" up
    else
        lab_place lab0 switch "port$number"
        in_node switch ip link set "port$number" master br0
    fi
    lab_place lab1 "$name" eth0
    watch "$name"
}
guest_port() { echo "vnet${LAB_NUMBER[$1]}"; }
guest_mac() { printf '52:54:00:00:00:%02x\n' "${LAB_NUMBER[$1]}"; }
guest_address() { in_node "$1" ip -4 -o addr show dev eth0 | awk '{ sub("/.*", "", $4); print $4; exit }'; }
guest_has_address() { [ -n "$(guest_address "$1")" ]; }
guest_has_none() { [ -z "$(guest_address "$1")" ]; }
guest_static() {
    in_node "$1" ip addr replace "$2" dev eth0
    in_node "$1" ip route replace default via "$3"
    [ -z "${4:-}" ] || in_node "$1" sh -c "echo nameserver $4 >/etc/resolv.conf"
}
guest_static6() {
    in_node "$1" ip -6 addr replace "$2" dev eth0 nodad
    in_node "$1" ip -6 route replace default via "$3"
}
guest_delete() {
    [ "$LAB_MODE" != bridge ] || ip link delete "$(guest_port "$1")" 2>/dev/null || true
    node_delete "$1"
}

guest_dhcp() {
    local name=$1 client=$2
    LAB_CLIENT[$name]=$client
    case $client in
        udhcpc) background "$name" udhcpc udhcpc -f -i eth0 -t 10 -T 1 -p /run/udhcpc.pid -F "$name" ;;
        dhclient) background "$name" dhclient dhclient -4 -d -pf /run/dhclient.pid -lf /var/lib/dhcp/dhclient.leases eth0 ;;
        dhcpcd) background "$name" dhcpcd dhcpcd -4 -B -d eth0 ;;
    esac
    if ! wait_until 20 guest_has_address "$name"; then
        echo "--- $client in $name said"
        tail -30 "$LAB/$name-$client.log"
        fail "$name gets an address by $client"
        return 0
    fi
    wait_until 5 in_node "$name" grep -q nameserver /etc/resolv.conf || true
    ok "$name has $(guest_address "$name") by $client"
}
guest_client_pid() { in_node "$1" cat "/run/${LAB_CLIENT[$1]}.pid"; }
guest_renew() {
    case ${LAB_CLIENT[$1]} in
        udhcpc) kill -USR1 "$(guest_client_pid "$1")" ;;
        dhcpcd) in_node "$1" dhcpcd -4 -n eth0 ;;
        dhclient) # has no command for it: a new start asks for the address of its file (INIT-REBOOT)
            kill "$(guest_client_pid "$1")"
            wait_until 5 lab_gone "$(guest_client_pid "$1")"
            guest_dhcp "$1" dhclient
            ;;
    esac
}
lab_gone() { ! kill -0 "$1" 2>/dev/null; }
guest_release() {
    case ${LAB_CLIENT[$1]} in
        udhcpc) kill -USR2 "$(guest_client_pid "$1")" ;;
        dhcpcd) in_node "$1" dhcpcd -4 -k eth0 ;;
        dhclient) in_node "$1" dhclient -4 -r -pf /run/dhclient.pid -lf /var/lib/dhcp/dhclient.leases eth0 ;;
    esac
    wait_until 10 guest_has_none "$1" || fail "$1 gives its address back"
}
