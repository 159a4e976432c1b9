# shellcheck shell=bash
# The lab: a machine under test, its home network and the internet, in namespaces that vanish with the test.
#
# A test is a bash script tests/netns/NAME_test.sh with its topology drawn on top, that begins with
#
#     . "$(dirname "$0")/lib.sh"
#
# and from that line on runs as root of a machine of its own: new network, mount, process, IPC and UTS namespaces, with its
# own /etc (a copy), /run and /var/lib (empty), so that nothing of the real machine is seen or touched. When it ends, the
# kernel ends every process and takes every interface away. `set -eEuo pipefail` is on: a command that fails
# unexpectedly fails the test and names its line. Expectations (below) note a failure and go on.
#
#     bash tests/netns/first_light_bridge_test.sh      # run one by hand; LAB_KEEP=/tmp/x keeps its logs, LAB_TRACE=1 is set -x
#
# THE NETWORK that `topology` builds (nodes are network namespaces; the host is where the script itself runs):
#
#     inet ----------- gw ----------------- host ------------- [segment] --- guests
#     198.51.100.10    198.51.100.1         eth0 192.168.1.2
#     .53 (DNS)        192.168.1.1 (LAN,    eth1 203.0.113.2 ----- office 203.0.113.50 (a second network, public addresses)
#     2001:db8:100::10 NAT, DNS, admin)     brother 10.77.0.1 (another bridge of the host, no ports)
#                      |                    2001:db8:1::2
#                      lan 192.168.1.50 (2001:db8:1::50)
#
#   topology              the machine and all around it, no segment
#   topology_bridge       ... and the segment will be the bridge virbr10 (made by vmrouter or by the control router)
#   topology_iface        ... and the segment is enp6s0, with a switch behind it (node `switch`)
#   Services: inet tcp/80 tcp/443 udp/123 tcp/25, gw tcp/80 tcp/22, lan and office tcp/22 tcp/445 tcp/80 udp/137,
#   host tcp/22 tcp/631 tcp/8080 udp/123 udp/5353 (all echo "you are ADDRESS, said TOKEN"; curl works on them).
#   DNS: the host's resolv.conf names 192.168.1.1, which knows nas.lan (192.168.1.50) and asks 198.51.100.53 for the rest:
#   www.example.net (A 198.51.100.10, AAAA 2001:db8:100::10), big.example.net (TXT, 3000 bytes: needs TCP),
#   alias.example.net (CNAME www), rebind.example.net (A 192.168.1.50), PTR of 198.51.100.10.
#
# NODES
#   node_add NAME                       a new node: network, mount and UTS namespace, own /etc /run /var/lib
#   in_node NAME COMMAND...             runs COMMAND there (NAME `host`: here); `ip -n NAME ...` works too
#   join NODE DEV NODE DEV [ADDRESS]    a veth pair between two nodes (or host), both ends up; ADDRESS is for the first end
#   node_delete NAME                    ends its processes, deletes it
#   serve NODE tcp/22 udp/123 ...       echo services there
#   watch NODE                          notes tokens seen there (topology and guest_add do this for every node, and the host)
#
# GUESTS
#   guest_add NAME                      a guest with eth0 on the segment (bridge: port vnetN, see `guest_port NAME`)
#   guest_mac NAME, guest_address NAME  print them
#   guest_static NAME ADDRESS/LEN GATEWAY [DNS]   also 6: guest_static6 NAME ADDRESS/LEN GATEWAY
#   guest_dhcp NAME CLIENT              udhcpc | dhclient | dhcpcd, the real one with Debian's own scripts, until it has an address
#   guest_renew NAME, guest_release NAME     by the means of that client
#   guest_delete NAME
#
# VMROUTER
#   start_vmrouter ARGUMENT...          starts $VMROUTER and waits until it serves; its output goes to $LAB/vmrouter.log
#   run_vmrouter WANTED_STATUS ARGUMENT...   runs to its end (at most 20 s); output in $LAB/out; expects that exit status
#   stop_vmrouter [SIGNAL]              TERM, INT, KILL...; waits; unless KILL expects status 0 and no sanitizer report
#   $VMROUTER_PID, log_has REGEX
#   start_control, stop_control         a plain forwarding router on the segment (address 192.168.100.1/24, 2001:db8:99::1/64,
#                                       masquerade, no filter): what a probe can do when nothing stops it. Probes of the kind
#                                       "is blocked" are first run against it with expect_reach, so that they prove something.
#
# PROBES (a probe carries a token; what counts is what the target saw, never the sender's time-out alone)
#   expect_reach   FROM PROTO TARGET ADDRESS [PORT] [send options]    the token arrives at node TARGET, and the answer comes back
#   expect_arrive  ...                                                the token arrives (no answer needed)
#   expect_blocked ...     the token leaves FROM and arrives nowhere at TARGET, nor leaves the host but by the segment
#   expect_refused ...     like expect_blocked, and FROM is told at once (ICMP error or reset) instead of waiting
#       PROTO: tcp udp icmp ip:NUMBER; send options: see probe.py (--from, --device, --wait)
#   send_frame FROM DEVICE KEY=VALUE... one Ethernet frame by hand (probe.py frame); sets $TOKEN
#   expect_seen NODE [HOW] TEXT, expect_unseen NODE [HOW] TEXT        where $TOKEN was seen; HOW: in out delivered (default: in or delivered)
#   source_seen NODE                    the source address under which NODE saw $TOKEN
#
# THE MACHINE
#   snapshot_machine FILE               everything of this network namespace that somebody could have changed, normalized
#   expect_same_machine FILE FILE
#
# REPORTING
#   step TEXT                           says what comes next
#   ok TEXT, fail TEXT                  note a result          check TEXT COMMAND...      by COMMAND's status
#   expect_equal TEXT WANTED FOUND      expect_match TEXT REGEX FOUND
#   wait_until SECONDS COMMAND...       polls (status 1 when time is up)
#   skip REASON                         ends the test as skipped (77); run as root that needs a line in tests/netns/may_skip
#   The test fails when an expectation failed, a command failed, or time is up (LAB_LIMIT seconds, default 150);
#   then the log of vmrouter and the state of the machine are printed.

set -eEuo pipefail
LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB_REPO=${LAB_DIR%/tests/netns}
VMROUTER=${VMROUTER:-$LAB_REPO/build/dev/src/vmrouter}
[ "${VMROUTER#/}" = "$VMROUTER" ] || [ ! -x "$VMROUTER" ] || VMROUTER=$(realpath "$VMROUTER")
: "${LAB_STAGE:=outside}" "${LAB_LIMIT:=150}"

# --- entering ----------------------------------------------------------------------------------------------------------

lab_outside() {
    local user=()
    if [ "$(id -u)" != 0 ]; then
        user=(--user --map-root-user)
        unshare "${user[@]}" --net --mount true 2>/dev/null || { echo "skipped: neither root nor user namespaces"; exit 77; }
    fi
    LAB=$(mktemp -d "${TMPDIR:-/tmp}/vmrouter-lab.XXXXXX")
    export LAB LAB_STAGE=init LAB_LIMIT VMROUTER
    exec unshare "${user[@]}" --net --mount --pid --ipc --uts --fork --kill-child --mount-proc --propagation private \
        -- bash "$(realpath "$0")" "$@"
}

# A private copy of a folder that is small enough to copy.
lab_own_copy() {
    cp -a "$1" "$LAB/copy.$$" 2>/dev/null || true # files that this user may not read are left out
    mount -t tmpfs -o mode=755 lab "$1"
    cp -a "$LAB/copy.$$/." "$1/"
    rm -rf "$LAB/copy.$$"
}

lab_empty() {
    mount -t tmpfs -o mode=755 lab /run
    mount -t tmpfs -o mode=755 lab /var/lib
    mkdir -p /run/lock /run/netns /var/lib/dhcp /var/lib/dhcpcd /var/lib/misc /var/lib/NetworkManager
}

lab_init() { # process 1 of the lab
    mount -t tmpfs -o mode=755 lab "$LAB"
    mkdir "$LAB/watch" "$LAB/node" "$LAB/repo"
    mount --rbind "$LAB_REPO" "$LAB/repo"
    lab_own_copy /etc
    lab_empty
    rm -f /etc/resolv.conf /etc/hostname && touch /etc/resolv.conf
    if [ ! -e "$LAB_DIR/lib.sh" ]; then # the tree lies in a folder that we have just hidden
        mkdir -p "$LAB_REPO" && mount --rbind "$LAB/repo" "$LAB_REPO"
    fi
    mount -t sysfs -o nosuid,nodev,noexec sysfs /sys 2>/dev/null || true
    hostname labhost && echo labhost >/etc/hostname && echo "127.0.0.1 localhost labhost" >/etc/hosts
    export LAB_STAGE=run
    local status=0
    trap 'kill "$run" 2>/dev/null' INT TERM
    timeout --kill-after=10 "$LAB_LIMIT" bash "$0" "$@" </dev/null &
    local run=$!
    while kill -0 "$run" 2>/dev/null; do
        wait "$run" && status=0 || status=$?
    done
    [ "$status" != 124 ] || echo "not ok - the test took longer than $LAB_LIMIT s"
    if [ -n "${LAB_KEEP:-}" ]; then mkdir -p "$LAB_KEEP" && cp -a "$LAB"/*.log "$LAB"/watch "$LAB_KEEP"; fi
    umount -l "$LAB" && rmdir "$LAB"
    exit "$status"
}

case $LAB_STAGE in
    outside) lab_outside "$@" ;;
    init) lab_init "$@" ;;
esac

# --- reporting ---------------------------------------------------------------------------------------------------------

LAB_PASSED=0 LAB_FAILED=0 LAB_BEGAN=$(date +%s%N)
declare -A LAB_PID LAB_CLIENT LAB_NUMBER LAB_BUSY
LAB_GUESTS=0 LAB_SEGMENT="" LAB_MODE="" VMROUTER_PID="" TOKEN=""

lab_time() { printf '%6.2fs' "$((($(date +%s%N) - LAB_BEGAN) / 10000000))e-2"; }
step() { echo "$(lab_time) --- $*"; }
ok() {
    LAB_PASSED=$((LAB_PASSED + 1))
    echo "$(lab_time) ok - $*"
}
fail() {
    LAB_FAILED=$((LAB_FAILED + 1))
    echo "$(lab_time) NOT OK - $*   (${BASH_SOURCE[-1]##*/}:${BASH_LINENO[-2]})"
}
skip() {
    echo "skipped: $*"
    trap - EXIT
    exit 77
}
check() {
    local text=$1
    shift
    if "$@" >"$LAB/check.log" 2>&1; then ok "$text"; else
        fail "$text: status $? of $*"
        head -30 "$LAB/check.log"
    fi
}
expect_equal() { if [ "$2" = "$3" ]; then ok "$1"; else fail "$1: wanted '$2', found '$3'"; fi; }
expect_match() { if grep -qE -- "$2" <<<"$3"; then ok "$1"; else fail "$1: nothing matches '$2' in '$3'"; fi; }
wait_until() {
    local now=${EPOCHREALTIME/[.,]/} end
    end=$((now + $1 * 1000000))
    shift
    until "$@" >/dev/null 2>&1; do
        now=${EPOCHREALTIME/[.,]/}
        [ "$now" -lt "$end" ] || return 1
        sleep 0.05
    done
}

lab_state() { # what one wants to see when a test failed
    echo "--- links and addresses of the host"
    ip -br addr || true
    ip route || true
    echo "--- nft"
    nft list ruleset 2>&1 | head -150
    if [ -f "$LAB/vmrouter.log" ]; then
        echo "--- vmrouter said"
        tail -60 "$LAB/vmrouter.log"
    fi
}
lab_finish() {
    local status=$?
    set +eE
    trap - EXIT ERR
    [ "$status" = 0 ] || LAB_FAILED=$((LAB_FAILED + 1))
    if [ -n "$VMROUTER_PID" ]; then stop_vmrouter TERM; fi
    if [ "$LAB_FAILED" != 0 ]; then lab_state; fi
    if [ "$LAB_PASSED$LAB_FAILED" = 00 ]; then echo "the test expected nothing" && LAB_FAILED=1; fi
    echo "$(lab_time) ${0##*/}: $LAB_PASSED ok, $LAB_FAILED not ok"
    [ "$LAB_FAILED" = 0 ]
    exit
}
trap 'lab_finish' EXIT
lab_error() { # a command failed that nobody expected to fail: where, and who called
    local status=$? depth
    echo "$(lab_time) NOT OK - status $status of: $BASH_COMMAND"
    for ((depth = 1; depth < ${#FUNCNAME[@]} - 1; depth++)); do
        echo "        ${FUNCNAME[depth]} called at ${BASH_SOURCE[depth + 1]##*/}:${BASH_LINENO[depth]}"
    done
}
trap 'lab_error' ERR
trap 'echo "NOT OK - stopped (time is up?)"; exit 124' TERM
[ -z "${LAB_TRACE:-}" ] || set -x

# --- nodes -------------------------------------------------------------------------------------------------------------

node_add() {
    local name=$1
    # shellcheck disable=SC2016
    LAB_STAGE=node unshare --net --mount --uts --propagation private -- bash -c '
        set -e
        '"$(declare -f lab_own_copy lab_empty)"'
        hostname "$1"
        lab_own_copy /etc
        lab_empty
        echo "$1" >/etc/hostname; echo "127.0.0.1 localhost $1" >/etc/hosts; : >/etc/resolv.conf
        mount -t sysfs -o nosuid,nodev,noexec sysfs /sys 2>/dev/null || true
        ip link set lo up
        sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 2>/dev/null || true
        : >"$LAB/node/$1"
        exec sleep infinity' node "$name" &
    LAB_PID[$name]=$!
    wait_until 10 test -e "$LAB/node/$name"
    ip netns attach "$name" "${LAB_PID[$name]}"
}
in_node() {
    local name=$1
    shift
    if [ "$name" = host ]; then "$@"; else nsenter --target "${LAB_PID[$name]}" --net --mount --uts -- "$@"; fi
}
node_delete() {
    local name=$1 pid
    for pid in ${LAB_BUSY[$name]:-} "${LAB_PID[$name]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    ip netns delete "$name"
    rm -f "$LAB/node/$name" "$LAB/watch/$name"
    unset "LAB_PID[$name]" "LAB_BUSY[$name]"
}
# COMMAND in the background, ended with the node; its output in $LAB/NAME-WHAT.log
background() { # NODE WHAT COMMAND...
    local name=$1 what=$2
    shift 2
    local enter=()
    [ "$name" = host ] || enter=(nsenter --target "${LAB_PID[$name]}" --net --mount --uts --)
    "${enter[@]}" "$@" >"$LAB/$name-$what.log" 2>&1 & # no function here: $! must be the command itself
    LAB_BUSY[$name]="${LAB_BUSY[$name]:-} $!"
}
lab_netns() { if [ "$1" = host ]; then echo 1; else echo "${LAB_PID[$1]}"; fi; }
join() { # NODE DEV NODE DEV [ADDRESS]
    ip link add lab0 type veth peer name lab1
    lab_place lab0 "$1" "$2"
    lab_place lab1 "$3" "$4"
    [ -z "${5:-}" ] || in_node "$1" ip addr add "$5" dev "$2"
}
lab_place() { # DEV NODE NAME
    if [ "$2" = host ]; then ip link set "$1" name "$3"; else ip link set "$1" netns "${LAB_PID[$2]}" name "$3"; fi
    in_node "$2" ip link set "$3" up
}
serve() {
    local name=$1
    shift
    background "$name" serve python3 -I "$LAB/repo/tests/netns/probe.py" serve "$@"
    wait_until 10 grep -q serving "$LAB/$name-serve.log"
}
watch() {
    background "$1" watch python3 -I "$LAB/repo/tests/netns/probe.py" watch "$LAB/watch/$1"
    wait_until 10 grep -q watching "$LAB/watch/$1"
}

# --- the network -------------------------------------------------------------------------------------------------------

topology() {
    local node
    step "the network: inet, gw, lan, office, host"
    sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 2>/dev/null || true
    ip link set lo up
    for node in inet gw lan office; do node_add "$node"; done
    join inet eth0 gw wan0 198.51.100.10/24
    in_node inet sh -e -c 'ip addr add 198.51.100.53/24 dev eth0; ip -6 addr add 2001:db8:100::10/64 dev eth0 nodad
        ip -6 route add default via 2001:db8:100::1'
    in_node gw sh -e -c 'ip addr add 198.51.100.1/24 dev wan0; ip -6 addr add 2001:db8:100::1/64 dev wan0 nodad
        ip link add br0 type bridge forward_delay 0; ip link set br0 up
        ip addr add 192.168.1.1/24 dev br0; ip -6 addr add 2001:db8:1::1/64 dev br0 nodad
        sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
        nft "table ip nat { chain post { type nat hook postrouting priority srcnat; oifname wan0 masquerade; }; }"'
    join gw lan0 lan eth0
    join gw lan1 host eth0
    in_node gw sh -e -c 'ip link set lan0 master br0; ip link set lan1 master br0'
    in_node lan sh -e -c 'ip addr add 192.168.1.50/24 dev eth0; ip route add default via 192.168.1.1
        ip -6 addr add 2001:db8:1::50/64 dev eth0 nodad; ip -6 route add default via 2001:db8:1::1'
    ip addr add 192.168.1.2/24 dev eth0
    ip route add default via 192.168.1.1
    ip -6 addr add 2001:db8:1::2/64 dev eth0 nodad
    ip -6 route add default via 2001:db8:1::1
    join host eth1 office eth0 203.0.113.2/24
    in_node office sh -e -c 'ip addr add 203.0.113.50/24 dev eth0; ip route add default via 203.0.113.2'
    ip link add brother type bridge forward_delay 0
    ip addr add 10.77.0.1/24 dev brother
    ip link set brother up
    echo "nameserver 192.168.1.1" >/etc/resolv.conf
    for node in inet gw lan office host; do watch "$node"; done
    serve inet tcp/80 tcp/443 tcp/25 udp/123
    serve gw tcp/80 tcp/22
    serve lan tcp/22 tcp/80 tcp/445 udp/137
    serve office tcp/22 tcp/80 tcp/445 udp/137
    serve host tcp/22 tcp/631 tcp/8080 udp/123 udp/5353
    lab_dns
    # Conntrack's sysctls appear with its first use; here it was used before anyone takes a snapshot.
    nft 'table ip lab_warm { chain c { type nat hook postrouting priority srcnat; masquerade; }; }; delete table ip lab_warm'
    for node in 192.168.1.1 192.168.1.50 203.0.113.50 198.51.100.10; do # and the neighbours are known
        wait_until 10 ping -c1 -W1 "$node"
    done
}
lab_dns() {
    background inet dns dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces \
        --listen-address=198.51.100.53 --user=root --edns-packet-max=1232 \
        --host-record=www.example.net,198.51.100.10,2001:db8:100::10,300 --cname=alias.example.net,www.example.net \
        --host-record=rebind.example.net,192.168.1.50 --auth-zone=example.net --auth-server=ns.example.net \
        "$(lab_big_txt)"
    background gw dns dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces \
        --listen-address=192.168.1.1 --user=root --server=198.51.100.53 --host-record=nas.lan,192.168.1.50
    wait_until 10 dig +short +time=1 +tries=1 @192.168.1.1 www.example.net
}
lab_big_txt() {
    printf -- '--txt-record=big.example.net'
    for part in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do printf ',%s%0196d' "part" "$part"; done
}
topology_bridge() {
    LAB_MODE=bridge LAB_SEGMENT=virbr10
    topology
}
topology_iface() {
    LAB_MODE=iface LAB_SEGMENT=enp6s0
    topology
    node_add switch
    in_node switch sh -e -c 'ip link add br0 type bridge forward_delay 0; ip link set br0 up'
    join host enp6s0 switch up0
    in_node switch ip link set up0 master br0
}

# --- guests ------------------------------------------------------------------------------------------------------------

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

# --- vmrouter, and the router that stops nothing -----------------------------------------------------------------------

: "${LAB_READY:=serving}"
lab_sanitizers() { # a report of a sanitizer fails the test, whatever the exit status was
    if grep -qE 'ERROR: (Address|Leak)Sanitizer|runtime error:' "$1"; then
        fail "no sanitizer report"
        grep -nE -A25 'ERROR: (Address|Leak)Sanitizer|runtime error:' "$1" | head -60
    fi
}
lab_ready() { lab_gone "$VMROUTER_PID" || tail -n +"$1" "$LAB/vmrouter.log" | grep -qE "$LAB_READY"; }
start_vmrouter() {
    local from
    touch "$LAB/vmrouter.log"
    from=$(($(wc -l <"$LAB/vmrouter.log") + 1))
    [ -x "$VMROUTER" ] || { echo "no program $VMROUTER" && exit 1; }
    "$VMROUTER" "$@" >>"$LAB/vmrouter.log" 2>&1 &
    VMROUTER_PID=$!
    if ! wait_until 15 lab_ready "$from" || lab_gone "$VMROUTER_PID"; then
        fail "vmrouter $* serves within 15 s"
        exit 1
    fi
    ok "vmrouter $* serves"
}
log_has() { grep -qE -- "$1" "$LAB/vmrouter.log"; }
stop_vmrouter() {
    local signal=${1:-TERM} status=0 pid=$VMROUTER_PID
    VMROUTER_PID=""
    kill "-$signal" "$pid" 2>/dev/null || true
    if ! wait_until 15 lab_dead "$pid"; then
        fail "vmrouter ends within 15 s of SIG$signal"
        kill -KILL "$pid"
    fi
    wait "$pid" 2>/dev/null || status=$?
    [ "$signal" = KILL ] || expect_equal "vmrouter ends with status 0 after SIG$signal" 0 "$status"
    lab_sanitizers "$LAB/vmrouter.log"
}
lab_dead() { [ ! -e "/proc/$1" ] || grep -q '^State:.*zombie' "/proc/$1/status"; }
run_vmrouter() {
    local wanted=$1 status=0
    shift
    timeout -k 5 20 "$VMROUTER" "$@" >"$LAB/out" 2>&1 || status=$?
    if [ "$status" = "$wanted" ]; then ok "vmrouter $* ends with status $wanted"; else
        fail "vmrouter $* ends with status $status, wanted $wanted"
        head -30 "$LAB/out"
    fi
    lab_sanitizers "$LAB/out"
}

start_control() {
    step "a plain router without vmrouter"
    LAB_CONTROL_WAS=$(sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding | tr -d ' ')
    LAB_CONTROL_MADE=no
    if [ ! -e "/sys/class/net/$LAB_SEGMENT" ]; then
        ip link add "$LAB_SEGMENT" type bridge forward_delay 0
        LAB_CONTROL_MADE=yes
    fi
    ip addr add 192.168.100.1/24 dev "$LAB_SEGMENT"
    ip -6 addr add 2001:db8:99::1/64 dev "$LAB_SEGMENT" nodad
    ip link set "$LAB_SEGMENT" up
    sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ip -6 route replace default via 2001:db8:1::1
    nft 'table inet control { chain post { type nat hook postrouting priority srcnat;
        ip saddr 192.168.100.0/24 ip daddr != 192.168.100.0/24 masquerade
        ip6 saddr 2001:db8:99::/64 ip6 daddr != 2001:db8:99::/64 masquerade; }; }'
}
stop_control() {
    local setting
    nft delete table inet control
    for setting in $LAB_CONTROL_WAS; do sysctl -qw "$setting"; done
    ip addr del 192.168.100.1/24 dev "$LAB_SEGMENT"
    ip -6 addr del 2001:db8:99::1/64 dev "$LAB_SEGMENT"
    [ "$LAB_CONTROL_MADE" = no ] || ip link delete "$LAB_SEGMENT"
    conntrack -F >/dev/null 2>&1 || true
}

# --- probes ------------------------------------------------------------------------------------------------------------

lab_token() { TOKEN=tok$(od -An -N6 -tx1 /dev/urandom | tr -d ' \n'); }
# Sends; sets TOKEN, LAB_TOKENS (a regular expression of what to look for) and LAB_ANSWER.
lab_send() { # FROM PROTO ADDRESS [PORT] [options]
    local from=$1 said
    shift
    lab_token
    said=$(in_node "$from" timeout 20 python3 -I "$LAB/repo/tests/netns/probe.py" send "$TOKEN" "$@" 2>&1) ||
        said="refused probe failed: $said"
    LAB_ANSWER=$(tail -1 <<<"$said")
    LAB_TOKENS=$TOKEN$(grep -o '^isn=[0-9a-f]*' <<<"$said" | sed 's/^/|/' | tr -d '\n' || true)
}
lab_seen() { grep -E " ($LAB_TOKENS)\$" "$LAB/watch/$1" | grep -E "^($2) "; } # NODE HOW
lab_arrival() { if [ "$1" = host ]; then echo delivered; else echo 'in|delivered'; fi; }
lab_probe() { # FROM PROTO TARGET ADDRESS [PORT] [options]: sends, and sets LAB_WHAT
    local from=$1 proto=$2 target=$3 address=$4
    shift 4
    LAB_WHAT="$from to $target $address $proto${1:+ $*}"
    lab_send "$from" "$proto" "$address" "$@"
}
expect_arrive() {
    lab_probe "$@"
    if wait_until 1 lab_seen "$3" "$(lab_arrival "$3")"; then ok "arrives: $LAB_WHAT"; else
        fail "arrives: $LAB_WHAT ($LAB_ANSWER)"
    fi
}
expect_reach() {
    lab_probe "$@"
    if ! wait_until 1 lab_seen "$3" "$(lab_arrival "$3")"; then
        fail "reaches: $LAB_WHAT: never seen there ($LAB_ANSWER)"
    elif [ "${2#ip:}" = "$2" ] && [ "${LAB_ANSWER#answer}" = "$LAB_ANSWER" ]; then
        fail "reaches: $LAB_WHAT: arrived, but no answer came back ($LAB_ANSWER)"
    else
        ok "reaches: $LAB_WHAT"
    fi
}
lab_leaks() { lab_seen host out | grep -vE "^out ($LAB_SEGMENT|vnet[0-9]+) "; }
expect_blocked() {
    lab_probe "$@" --wait 0.5
    lab_blocked "blocked: $LAB_WHAT" "$1" "$3"
}
expect_refused() {
    lab_probe "$@"
    if [ "${LAB_ANSWER#refused}" != "$LAB_ANSWER" ]; then lab_blocked "refused: $LAB_WHAT" "$1" "$3"; else
        fail "refused: $LAB_WHAT: the sender heard nothing but $LAB_ANSWER"
    fi
}
lab_blocked() { # TEXT FROM TARGET
    sleep 0.2 # a packet crosses the lab in microseconds; this is for the watchers
    if [ "$2" != host ] && ! lab_seen "$2" out >/dev/null; then
        fail "$1: the probe never left $2 ($LAB_ANSWER), so this proves nothing"
    elif lab_seen "$3" "$(lab_arrival "$3")"; then
        fail "$1: arrived (above)"
    elif [ "$2" != host ] && lab_leaks; then
        fail "$1: left the host (above)"
    elif [ "${LAB_ANSWER#answer}" != "$LAB_ANSWER" ]; then
        fail "$1: somebody answered: $LAB_ANSWER"
    else
        ok "$1"
    fi
}
send_frame() {
    local from=$1
    shift
    lab_token
    LAB_TOKENS=$TOKEN
    in_node "$from" python3 -I "$LAB/repo/tests/netns/probe.py" frame "$TOKEN" "$@" >/dev/null
}
expect_seen() { # NODE [HOW] TEXT
    local how
    [ $# = 3 ] && how=$2 || how=$(lab_arrival "$1")
    if wait_until 1 lab_seen "$1" "$how"; then ok "${!#}"; else fail "${!#}: not seen by $1 ($how)"; fi
}
expect_unseen() {
    local how
    [ $# = 3 ] && how=$2 || how=$(lab_arrival "$1")
    sleep 0.2
    if lab_seen "$1" "$how"; then fail "${!#}: seen by $1 (above)"; else ok "${!#}"; fi
}
source_seen() { lab_seen "$1" "$(lab_arrival "$1")" | awk 'NR == 1 { sub(":[0-9]+$", "", $4); print $4 }'; }

# --- the machine, before and after -------------------------------------------------------------------------------------

# Lines of `sysctl -a` that change by themselves: counters of the kernel, random numbers, and sizes that follow them.
LAB_VOLATILE='^(kernel\.(random|ns_last_pid|pty\.nr|tainted|hostname|sched_)|fs\.(dentry-state|file-nr|inode-nr|inode-state|quota|'
LAB_VOLATILE+='aio-nr|mqueue)|net\.netfilter\.nf_conntrack_count|kernel\.keys\.|vm\.stat|dev\.cdrom|user\.|debug\.)'
# What counts down or up in `ip -d link`: the bridge's timers; what follows the carrier of the guests.
LAB_TICKS='s/(hello|tcn|topology_change|gc)_timer +[0-9.]+//g; s/(valid|preferred)_lft [^ ]*//g; s/ linkdown//; s/topology_change [0-9]+//g'
LAB_TICKS+='; s/topology_change_detected [0-9]+//g'

snapshot_machine() {
    {
        echo "== nft" && nft -s list ruleset
        echo "== links" && ip -d link | sed -E "$LAB_TICKS"
        echo "== addresses" && ip addr | sed -E "$LAB_TICKS" | grep -v '^ *$'
        echo "== routes 4" && ip -4 route show table all | sed -E "$LAB_TICKS" | sort
        # The kernel's own entries for multicast and the age of a route say nothing about who set it.
        echo "== routes 6" && ip -6 route show table all | sed -E "$LAB_TICKS; s/expires [0-9]+sec//" | sort
        echo "== rules" && ip -4 rule && ip -6 rule
        # States come and go by themselves; addresses that somebody put there do not.
        echo "== neighbours" && ip neigh show nud permanent && ip -4 neigh show nud all |
            awk '/lladdr/ && !/NOARP/ { print $1, $2, $3, $4, $5 }' | sort
        echo "== tc" && tc qdisc | sort
        local link
        for link in /sys/class/net/*; do
            tc filter show dev "${link##*/}" 2>/dev/null || true
            tc filter show dev "${link##*/}" ingress 2>/dev/null || true
        done
        echo "== bridge" && bridge -d link | sed -E "$LAB_TICKS" && bridge vlan && bridge fdb | grep -E 'permanent|static' | sort
        echo "== sysctl" && sysctl -a 2>/dev/null | grep -vE "$LAB_VOLATILE"
        echo "== /run" && find /run -path /run/netns -prune -o -printf '%p %y %m %u %s\n' | sort
    } >"$1"
}
expect_same_machine() {
    if diff -U1 "$1" "$2" >"$LAB/machine.diff"; then ok "the machine is as it was found"; else
        fail "the machine is as it was found"
        head -80 "$LAB/machine.diff"
    fi
}
