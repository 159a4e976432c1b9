# shellcheck shell=bash disable=SC2034,SC2154
# Nodes: network namespaces with a file system of their own. Part of lib.sh, which documents it.

node_add() {
    local name
    for name in "$@"; do lab_node "$name"; done
    for name in "$@"; do
        wait_until 10 test -e "$LAB/node/$name"
        ip netns attach "$name" "${LAB_PID[$name]}"
    done
}
lab_node() {
    local name=$1
    # shellcheck disable=SC2016
    LAB_STAGE=node unshare --net --mount --uts --propagation private -- bash -c '
        set -e
        '"$(declare -f lab_own_copy lab_empty)"'
        hostname "$1"
        lab_own_copy /etc
        lab_empty
        echo "$1" >/etc/hostname; echo "127.0.0.1 localhost $1" >/etc/hosts; rm -f /etc/resolv.conf; : >/etc/resolv.conf
        mount -t sysfs -o nosuid,nodev,noexec sysfs /sys 2>/dev/null || true
        ip link set lo up
        sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 2>/dev/null || true
        : >"$LAB/node/$1"
        exec sleep infinity' node "$name" &
    LAB_PID[$name]=$!
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
background() { # NODE WHAT COMMAND...
    local name=$1 what=$2
    shift 2
    local enter=()
    [ "$name" = host ] || enter=(nsenter --target "${LAB_PID[$name]}" --net --mount --uts --)
    "${enter[@]}" "$@" >"$LAB/$name-$what.log" 2>&1 & # no function here: $! must be the command itself
    LAB_BACKGROUND=$!
    LAB_BUSY[$name]="${LAB_BUSY[$name]:-} $LAB_BACKGROUND"
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
    lab_serve "$@"
    wait_until 10 grep -q serving "$LAB/$1-serve.log"
}
lab_serve() {
    local name=$1
    shift
    rm -f "$LAB/$name-serve.log" # of a node of that name that is gone
    background "$name" serve python3 -I "$LAB/repo/tests/netns/probe.py" serve "$@"
}
watch() {
    local name
    for name in "$@"; do
        background "$name" watch python3 -I "$LAB/repo/tests/netns/probe.py" watch "$LAB/watch/$name"
    done
    for name in "$@"; do wait_until 10 grep -q watching "$LAB/watch/$name"; done
}
