#!/bin/bash
# The four-way DHCP exchange, durable before the ACK, beside dnsmasq; in a network namespace of its own.
#   tests/bench/dhcp_service.sh path/to/dhcp_service_bench [FOLDER]      FOLDER: on the disk to measure (default: a temporary one)
# Time is per exchange, with a lease to be written for each; CPU is the server's alone, user and system, per exchange.
[ "$VMROUTER_BENCH_INSIDE" ] || exec env VMROUTER_BENCH_INSIDE=1 unshare -n "$0" "$@"
bench=$(realpath "$1")
scratch=$(mktemp -d -p "${2:-${TMPDIR:-/tmp}}")
trap 'kill "$server" 2>/dev/null; rm -rf "$scratch"' EXIT
ip link set lo up
ip link add near type veth peer name far
ip addr add 10.9.0.1/16 dev near
ip link set near up && ip link set far up

used() { awk '{ sum += $1 } END { printf "%d", sum / 1000 }' /proc/"$server"/task/*/schedstat; } # CPU of all its threads, us
start() { "$@" 2>>"$scratch/errors" & server=$!; sleep 0.5; }
stop() { kill "$server"; wait "$server" 2>/dev/null; rm -rf "${scratch:?}"/*; }
measure() { # TITLE COUNT WINDOW: everybody is known, and was last here more than a second ago, or a renewal would need no record
    "$bench" load "$2" "$2" 16 >/dev/null
    sleep 1.5
    local before
    before=$(used)
    printf '%-40s' "$1"
    "$bench" load "$2" "$2" "$3"
    awk -v cpu="$(($(used) - before))" -v n="$2" 'BEGIN { printf ", CPU %.1f us\n", cpu / n }'
}

for window in 1 16 64; do
    start "$bench" serve "$scratch"
    measure "vmrouter, $window at once" 10000 $window
    stop
done
start "$bench" serve "$scratch" 50000
measure "vmrouter, 50000 leases, 16 at once" 10000 16
stop
if command -v dnsmasq >/dev/null; then
    start dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --interface=near --bind-interfaces --no-ping --user=root \
        --pid-file= --dhcp-authoritative --dhcp-range=10.9.0.2,10.9.255.250,1h --dhcp-lease-max=60000 --dhcp-leasefile="$scratch/leases" --quiet-dhcp
    measure "dnsmasq, 16 at once" 2000 16
    stop
fi
