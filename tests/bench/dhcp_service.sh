#!/bin/bash
# The four-way DHCP exchange, durable before the ACK, beside dnsmasq; in a network namespace of its own.
#   tests/bench/dhcp_service.sh path/to/dhcp_service_bench [FOLDER]      FOLDER: on the disk to measure (default: a temporary one)
# Time is per exchange; CPU is the server's alone, user and system, per exchange.
[ "$VMROUTER_BENCH_INSIDE" ] || exec env VMROUTER_BENCH_INSIDE=1 unshare -n "$0" "$@"
bench=$(realpath "$1")
scratch=$(mktemp -d -p "${2:-${TMPDIR:-/tmp}}")
trap 'kill "$server" 2>/dev/null; rm -rf "$scratch"' EXIT
ip link set lo up
ip link add near type veth peer name far
ip addr add 10.9.0.1/16 dev near
ip link set near up && ip link set far up

ticks() { awk -v f="$1" '{ print $f }' "/proc/$server/stat"; }
start() { "$@" 2>>"$scratch/errors" & server=$!; sleep 0.5; }
stop() { kill "$server"; wait "$server" 2>/dev/null; rm -rf "${scratch:?}"/*; }
measure() { # TITLE COUNT GUESTS WINDOW
    "$bench" load "$3" "$3" 16 >/dev/null # everybody is known from here on
    local user system
    user=$(ticks 14) system=$(ticks 15)
    printf '%-40s' "$1"
    "$bench" load "$2" "$3" "$4"
    awk -v u="$(($(ticks 14) - user))" -v s="$(($(ticks 15) - system))" -v n="$2" \
        'BEGIN { printf ", CPU %.1f us user + %.1f us system\n", u * 10000 / n, s * 10000 / n }'
}

for window in 1 16 64; do
    start "$bench" serve "$scratch"
    measure "vmrouter, $window at once" 20000 200 $window
    stop
done
start "$bench" serve "$scratch" 50000
measure "vmrouter, 50000 leases, 16 at once" 20000 200 16
stop
if command -v dnsmasq >/dev/null; then
    start dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --interface=near --bind-interfaces --no-ping --user=root \
        --pid-file= --dhcp-authoritative --dhcp-range=10.9.0.2,10.9.255.250,1h --dhcp-lease-max=60000 --dhcp-leasefile="$scratch/leases" --quiet-dhcp
    measure "dnsmasq, 16 at once" 2000 200 16
    stop
fi
