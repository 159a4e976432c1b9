#!/bin/sh
# Instructions that a new guest's exchange and a renewal (three packets in, three out) cost in the protocol core, with few
# and with many leases: callgrind counts two runs, the difference is the packets alone. Then the same in nanoseconds.
#   tests/bench/dhcp.sh [BUILD_FOLDER]      (default build/release; builds dhcp_bench there)
set -eu
build=${1:-build/release}
cmake --build "$build" --target dhcp_bench >/dev/null
bench=$build/tests/dhcp_bench

count() { # leases exchanges -> instructions
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "--toggle-collect=*measured_packet*" "$bench" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

for leases in 50 50000; do
    few=$(count "$leases" 1000)
    many=$(count "$leases" 3000)
    printf '%6d leases: %d instructions for an exchange and a renewal\n' "$leases" $(((many - few) / 2000))
done
"$bench"
