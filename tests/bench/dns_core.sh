#!/bin/sh
# Instructions that one query costs in the core: callgrind counts two runs, the difference is the loop alone.
#   tests/bench/dns_core.sh [BUILD_FOLDER]      (default build/bench: a release build with its tests; made when missing)
set -eu
build=${1:-build/bench}
[ -f "$build/build.ninja" ] || cmake --preset release -B "$build" -DVMROUTER_TESTS=ON >/dev/null
cmake --build "$build" --target dns_core_bench >/dev/null
bench=$build/tests/dns_core_bench

count() { # operation count -> instructions
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

for operation in cached cached_edns guest reverse hidden; do
    few=$(count "$operation" 10000)
    many=$(count "$operation" 20000)
    printf '%-12s %6d instructions each\n' "$operation" $(((many - few) / 10000))
done
"$bench" forward 200000
"$bench" listed 1000000
