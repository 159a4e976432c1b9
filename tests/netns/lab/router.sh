# shellcheck shell=bash disable=SC2034,SC2154
# vmrouter, and the router that stops nothing. Part of lib.sh, which documents it.

: "${LAB_READY:=READY}"
lab_sanitizers() { # FILE [FROM_LINE]: a report of a sanitizer fails the test, whatever the exit status was
    local said
    said=$(tail -n "+${2:-1}" "$1" | grep -E -A25 'ERROR: (Address|Leak)Sanitizer|runtime error:' | cut -c1-200 | head -60) || true
    if [ -n "$said" ]; then
        fail "no sanitizer report"
        echo "$said"
    fi
}
lab_ready() { lab_gone "$VMROUTER_PID" || tail -n +"$1" "$LAB/vmrouter.log" | grep -qE "$LAB_READY"; }
start_vmrouter() {
    touch "$LAB/vmrouter.log"
    LAB_FROM=$(($(wc -l <"$LAB/vmrouter.log") + 1))
    [ -x "$VMROUTER" ] || { echo "no program $VMROUTER" && exit 1; }
    # A shell starts its background jobs with SIGINT ignored; a terminal does not.
    env --default-signal=INT,QUIT "$VMROUTER" "$@" >>"$LAB/vmrouter.log" 2>&1 &
    VMROUTER_PID=$!
    if ! wait_until 15 lab_ready "$LAB_FROM" || lab_gone "$VMROUTER_PID"; then
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
    { wait "$pid" || status=$?; } 2>/dev/null # the shell would report that it was killed
    [ "$signal" = KILL ] || expect_equal "vmrouter ends with status 0 after SIG$signal" 0 "$status"
    lab_sanitizers "$LAB/vmrouter.log" "$LAB_FROM"
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

plan_script() { # FILE ARGUMENT...: what `plan` prints, a script without a fault
    local file=$1
    shift
    run_vmrouter 0 plan "$@"
    cp "$LAB/out" "$file"
    check "shellcheck has nothing to say" shellcheck --severity=style "$file"
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
    # Addresses first: what the kernel joined for them because it forwarded, it leaves only while it forwards.
    ip addr del 192.168.100.1/24 dev "$LAB_SEGMENT"
    ip -6 addr del 2001:db8:99::1/64 dev "$LAB_SEGMENT"
    for setting in $LAB_CONTROL_WAS; do sysctl -qw "$setting"; done
    [ "$LAB_CONTROL_MADE" = no ] || ip link delete "$LAB_SEGMENT"
    conntrack -F >/dev/null 2>&1 || true
}
