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
# PROGRAMS that are not installed on the machine
#   lab_packages NAME...                lays packages that tests/run.sh fetched into build/lab-packages over /usr, /etc and /var/lib of this
#                                       test's machine (first thing in a test, before any node); skips the test when one is not there
#   lab_user NAME [UID]                 a system user and group, as a package's installation would make
#
# NODES
#   node_add NAME...                    new nodes: network, mount and UTS namespace, own /etc /run /var/lib
#   in_node NAME COMMAND...             runs COMMAND there (NAME `host`: here); `ip -n NAME ...` works too
#   join NODE DEV NODE DEV [ADDRESS]    a veth pair between two nodes (or host), both ends up; ADDRESS is for the first end
#   node_delete NAME                    ends its processes, deletes it
#   background NODE WHAT COMMAND...     runs until the node is deleted; output in $LAB/NODE-WHAT.log, its pid in $LAB_BACKGROUND
#   serve NODE tcp/22 udp/123 ...       echo services there
#   watch NODE...                       notes tokens seen there (topology and guest_add do this for every node, and the host)
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
#   plan_script FILE ARGUMENT...        the script that `plan ARGUMENT...` prints, into FILE; shellcheck must find nothing in it
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
#   snapshot_quick FILE                 only what vmrouter itself changes, in a tenth of the time
#   expect_same_machine FILE FILE
#
# OTHER PROGRAMS, the real ones
#   with_ufw, with_firewalld, with_docker, with_network_manager, with_networkd     lay their packages over this machine, with what
#                                       their installation would do; start_firewalld, stop_firewalld, start_docker, ...
#   container_add NAME ADDRESS          a node on docker0
#   start_systemd, in_systemd COMMAND...     the real systemd in a PID namespace, for units; its files are this machine's
#   expect_service GUEST WHEN, expect_isolation GUEST     what a guest must have beside them, and must not
#   expect_passes WHEN "FAMILY TABLE CHAIN"...            our rules in chains of others are exactly in these
#   expect_iptables WHEN                the administrator's iptables works with ours in place
#
# REPORTING
#   step TEXT                           says what comes next
#   ok TEXT, fail TEXT                  note a result          check TEXT COMMAND...      by COMMAND's status
#   expect_equal TEXT WANTED FOUND      expect_match TEXT REGEX FOUND
#   wait_until SECONDS COMMAND...       polls (status 1 when time is up)
#   skip REASON                         ends the test as skipped (77); run as root that needs a line in tests/netns/may_skip
#   The test fails when an expectation failed, a command failed, or time is up (LAB_LIMIT seconds, default 500);
#   then the log of vmrouter and the state of the machine are printed.

set -eEuo pipefail
LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB_REPO=${LAB_DIR%/tests/netns}
VMROUTER=${VMROUTER:-$LAB_REPO/build/dev/src/vmrouter}
[ "${VMROUTER#/}" = "$VMROUTER" ] || [ ! -x "$VMROUTER" ] || VMROUTER=$(realpath "$VMROUTER")
: "${LAB_STAGE:=outside}" "${LAB_LIMIT:=500}"

# --- entering ----------------------------------------------------------------------------------------------------------

lab_outside() {
    # A user namespace of one user would not do: dnsmasq and dhcpcd change to users of their own.
    [ "$(id -u)" = 0 ] || { echo "skipped: not root (sudo $0)" && exit 77; }
    LAB=$(mktemp -d "${TMPDIR:-/tmp}/vmrouter-lab.XXXXXX")
    export LAB LAB_STAGE=init LAB_LIMIT VMROUTER
    exec unshare --net --mount --pid --ipc --uts --fork --kill-child --mount-proc --propagation private \
        -- bash "$(realpath "$0")" "$@"
}

# A private copy of a folder that is small enough to copy.
lab_own_copy() {
    mkdir "$LAB/copy.$$"
    mount -t tmpfs -o mode=755 lab "$LAB/copy.$$"
    cp -a "$1/." "$LAB/copy.$$/"
    mount --move "$LAB/copy.$$" "$1"
    rmdir "$LAB/copy.$$"
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
    # systemd's programs want an identity, which a bare machine lacks; without one systemd enables every service that is there.
    [ -s /etc/machine-id ] || echo 0123456789abcdef0123456789abcdef >/etc/machine-id
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
    exit "$((LAB_FAILED != 0))" # a bare exit in an EXIT trap has the status from before the trap
}
trap 'lab_finish' EXIT
lab_error() { # a command failed that nobody expected to fail: where, and who called
    local status=$? depth
    [ "$BASH_SUBSHELL" = 0 ] || return 0 # inside $(): whoever takes its result judges
    echo "$(lab_time) NOT OK - status $status of: $BASH_COMMAND" >&2
    for ((depth = 1; depth < ${#FUNCNAME[@]} - 1; depth++)); do
        echo "        ${FUNCNAME[depth]} called at ${BASH_SOURCE[depth + 1]##*/}:${BASH_LINENO[depth]}" >&2
    done
}
trap 'lab_error' ERR
trap 'echo "NOT OK - stopped (time is up?)"; exit 124' TERM
[ -z "${LAB_TRACE:-}" ] || set -x

. "$LAB_DIR/lab/packages.sh"
. "$LAB_DIR/lab/programs.sh"
. "$LAB_DIR/lab/systemd.sh"
. "$LAB_DIR/lab/nodes.sh"
. "$LAB_DIR/lab/network.sh"
. "$LAB_DIR/lab/guests.sh"
. "$LAB_DIR/lab/router.sh"
. "$LAB_DIR/lab/probes.sh"
. "$LAB_DIR/lab/machine.sh"
