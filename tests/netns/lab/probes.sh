# shellcheck shell=bash disable=SC2034,SC2154
# Probes: what counts is what the target saw. Part of lib.sh, which documents it.

lab_token() { TOKEN=tok$(od -An -N6 -tx1 /dev/urandom | tr -d ' \n'); }
# With LAB_UID the probe runs as that user. Sends; sets TOKEN, LAB_TOKENS (a regular expression of what to look for) and LAB_ANSWER.
lab_send() { # FROM PROTO ADDRESS [PORT] [options]
    local from=$1 said as=()
    shift
    lab_token
    [ -z "${LAB_UID:-}" ] || as=(setpriv "--reuid=$LAB_UID" "--regid=$LAB_UID" --clear-groups
        "--inh-caps=+net_raw,+net_admin" "--ambient-caps=+net_raw,+net_admin")
    said=$(in_node "$from" "${as[@]}" timeout 20 python3 -I "$LAB/repo/tests/netns/probe.py" send --wait "${LAB_WAIT:-1}" "$TOKEN" "$@" 2>&1) ||
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
    if wait_until 5 lab_seen "$3" "$(lab_arrival "$3")"; then ok "arrives: $LAB_WHAT"; else
        fail "arrives: $LAB_WHAT ($LAB_ANSWER)"
    fi
}
expect_reach() {
    lab_probe "$@"
    if ! wait_until 5 lab_seen "$3" "$(lab_arrival "$3")"; then
        fail "reaches: $LAB_WHAT: never seen there ($LAB_ANSWER)"
    elif [ "${2#ip:}" = "$2" ] && [ "${LAB_ANSWER#answer}" = "$LAB_ANSWER" ]; then
        fail "reaches: $LAB_WHAT: arrived, but no answer came back ($LAB_ANSWER)"
    else
        ok "reaches: $LAB_WHAT"
    fi
}
lab_leaks() { lab_seen host out | grep -vE "^out ($LAB_SEGMENT|vnet[0-9]+) "; }
expect_blocked() {
    LAB_WAIT=0.5 lab_probe "$@"
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
    if wait_until 5 lab_seen "$1" "$how"; then ok "${!#}"; else fail "${!#}: not seen by $1 ($how)"; fi
}
expect_unseen() {
    local how
    [ $# = 3 ] && how=$2 || how=$(lab_arrival "$1")
    sleep 0.2
    if lab_seen "$1" "$how"; then fail "${!#}: seen by $1 (above)"; else ok "${!#}"; fi
}
source_seen() { lab_seen "$1" "$(lab_arrival "$1")" | awk 'NR == 1 { sub(":[0-9]+$", "", $4); print $4 }'; }
