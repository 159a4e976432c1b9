#!/bin/bash
# The DNS service beside dnsmasq and beside a responder that does nothing, in a network namespace of its own.
#   cmake --preset release -DVMROUTER_TESTS=ON && cmake --build --preset release --target dns_bench
#   tests/bench/dns.sh build/release/tests/dns_bench
# CPU seconds (user, system) are those of the server alone; instructions are callgrind's, user space only.
[ "$VMROUTER_BENCH_INSIDE" ] || exec env VMROUTER_BENCH_INSIDE=1 unshare -n "$0" "$@"
bench=$(realpath "$1")
ip link set lo up
scratch=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; rm -rf "$scratch"' EXIT

cpu() { awk '{ printf "user %.2f s, system %.2f s", $14 / 100, $15 / 100 }' "/proc/$1/stat"; }
start() { "$@" 2>>"$scratch/errors" & server=$!; pids+=("$server"); sleep 0.3; }
stop() { kill "$1"; wait "$1" 2>/dev/null; }
# measure TITLE PORT COUNT NAMES WINDOW: loads the server in $server
measure() {
    printf '%-34s %s' "$1" "$("$bench" load 127.0.66.1 "$2" "$3" "$4" "$5")"
    printf '  [%s]\n' "$(cpu "$server")"
}

"$bench" stub 5399 & pids+=($!)
"$bench" stub 5398 200 & pids+=($!)
sleep 0.2

echo "cached, 1000 names, 64 at once"
start "$bench" bare 5300; measure "  bare responder" 5300 300000 1000 64; stop $server
start "$bench" serve 5301 5399; "$bench" load 127.0.66.1 5301 2000 1000 32 >/dev/null
measure "  vmrouter" 5301 300000 1000 64; stop $server
if command -v dnsmasq >/dev/null; then
    dnsmasq_options=(--keep-in-foreground --no-resolv --no-hosts --bind-interfaces --conf-file=/dev/null --listen-address=127.0.66.1
                     --pid-file= --cache-size=10000 --dns-forward-max=20000 --user=root)
    start dnsmasq "${dnsmasq_options[@]}" --port=5302 --server=127.0.0.1#5399
    "$bench" load 127.0.66.1 5302 2000 1000 32 >/dev/null
    measure "  dnsmasq" 5302 300000 1000 64; stop $server
fi

echo "forwarded, every name new"
for window in 1 32 1000; do
    start "$bench" serve 5303 5399; measure "  vmrouter, $window at once" 5303 20000 0 $window; stop $server
done
command -v dnsmasq >/dev/null && for window in 1 32 1000; do
    start dnsmasq "${dnsmasq_options[@]}" --port=5304 --server=127.0.0.1#5399
    measure "  dnsmasq, $window at once" 5304 20000 0 $window; stop $server
done

echo "forwarded to an upstream that takes 200 ms"
for window in 1000 10000; do
    start "$bench" serve 5305 5398; measure "  vmrouter, $window at once" 5305 20000 0 $window
    printf '%-34s peak %s KiB\n' "" "$(awk '/VmHWM/ { print $2 }' /proc/$server/status)"; stop $server
done
command -v dnsmasq >/dev/null && for window in 1000 10000; do
    start dnsmasq "${dnsmasq_options[@]}" --port=5306 --server=127.0.0.1#5398
    measure "  dnsmasq, $window at once" 5306 20000 0 $window; stop $server
done

echo "over TCP"
for pipeline in 100 1; do
    count=$((pipeline == 1 ? 5000 : 100000))
    start "$bench" serve 5307 5399; "$bench" load 127.0.66.1 5307 100 100 32 >/dev/null
    printf '%-34s %s' "  vmrouter, $pipeline a connection" "$("$bench" tcp 127.0.66.1 5307 $count $pipeline)"
    printf '  [%s]\n' "$(cpu "$server")"; stop $server
done

if command -v valgrind >/dev/null; then
    echo "instructions in user space (callgrind: twice as many queries less once)"
    instructions() { # PORT COUNT NAMES COMMAND...
        local port=$1 count=$2 names=$3; shift 3
        valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>"$scratch/valgrind" & server=$!; pids+=("$server")
        sleep 3
        "$bench" load 127.0.66.1 "$port" "$count" "$names" 32 >/dev/null
        kill $server; wait $server 2>/dev/null
        sed -n 's/.*Collected : *//p' "$scratch/valgrind"
    }
    per_query() { # TITLE PORT NAMES COMMAND...
        local title=$1 port=$2 names=$3; shift 3
        local one two
        one=$(instructions "$port" 10000 "$names" "$@")
        two=$(instructions "$port" 20000 "$names" "$@")
        printf '%-34s %d a query\n' "$title" $(((two - one) / 10000))
    }
    per_query "  vmrouter, cached" 5310 100 "$bench" serve 5310 5399
    per_query "  vmrouter, forwarded" 5311 0 "$bench" serve 5311 5399
    command -v dnsmasq >/dev/null && per_query "  dnsmasq, cached" 5312 100 dnsmasq "${dnsmasq_options[@]}" --port=5312 --server=127.0.0.1#5399
    command -v dnsmasq >/dev/null && per_query "  dnsmasq, forwarded" 5313 0 dnsmasq "${dnsmasq_options[@]}" --port=5313 --server=127.0.0.1#5399
fi
cat "$scratch/errors" | grep -v '^user' | sort | uniq -c | sort -rn | head -5
