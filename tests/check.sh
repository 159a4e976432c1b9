#!/bin/bash
# Checks of the sources that no test program makes.
#
#   tests/check.sh            all;  tests/check.sh NAME... some;  tests/check.sh --list their names
#
#   format    clang-format would change nothing
#   scripts   shellcheck has nothing to say; tests can be executed
#   layers    every file includes only what its layer may know, and the cores touch nothing of the world
#   headers   each header compiles alone
#   tidy      clang-tidy on the cores (a file again only when it, or what it includes, has changed)
#
# headers and tidy need build/dev (tests/run.sh makes it).
set -euo pipefail
cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/.."
checks=(format scripts layers headers tidy)

sources() { find src dhcp dns firewall conf tests -name '*.cpp' -o -name '*.hpp' | sort; }

check_format() { sources | xargs clang-format --dry-run -Werror; }

check_scripts() {
    local script status=0 # errexit does not hold in here: the caller asks for our status
    mkdir -p build/dev/scripts
    find .ci src tests -name '*.sh' -o -path .ci/run | sort | xargs -P "$(nproc)" -n 1 bash tests/check.sh --script || status=1
    for script in tests/netns/*_test.sh; do
        [ -x "$script" ] || { echo "$script is not executable (chmod +x)" && status=1; }
    done
    return "$status"
}

script_one() { # FILE: again only when it, or what it may source, has changed
    local stamp
    stamp=build/dev/scripts/$(cat .shellcheckrc "$1" src/setup.sh tests/netns/lib.sh tests/netns/lab/*.sh tests/netns/first_light.sh tests/bench/*.sh | sha256sum | cut -c1-32)
    [ ! -e "$stamp" ] || return 0
    shellcheck --severity=warning "$1" && touch "$stamp"
}

check_layers() { python3 -I tests/layers.py; }

check_headers() {
    local said status=0
    said=$(cmake --build build/dev --parallel "$(nproc)" --target header_check 2>&1) || status=$?
    grep -vE '^(ninja: no work|\[)' <<<"$said" || true
    return "$status"
}

check_tidy() {
    mkdir -p build/dev/tidy
    python3 -I tests/layers.py --cores | grep 'cpp$' | xargs -P "$(nproc)" -n 1 bash tests/check.sh --tidy
}
tidy_one() { # FILE: a stamp is named after the content of everything that the verdict depends on
    local stamp
    stamp=build/dev/tidy/$({
        cat .clang-tidy
        g++ -std=c++20 -I. -MM "$1" | tr -d '\\' | tr ' ' '\n' | grep -E 'pp$' | xargs cat
    } | sha256sum | cut -c1-32)
    [ ! -e "$stamp" ] || return 0
    echo "tidy $1"
    # What clang itself says does not count: g++ compiles this code, and clang 14 does not know all of its C++20.
    local said
    said=$(clang-tidy --quiet -p build/dev "$1" 2>/dev/null) || true
    ! grep -E -A3 '(error|warning): .*\[(bugprone|performance|readability)-' <<<"$said" || return 1
    touch "$stamp"
}

case ${1:-} in
    --list) printf "%s\n" "${checks[@]}" && exit ;;
    --script) script_one "$2" && exit 0 || exit 1 ;;
    --tidy) tidy_one "$2" && exit 0 || exit 1 ;;
esac
[ "$#" -gt 0 ] || set -- "${checks[@]}"
status=0
for check in "$@"; do
    if "check_$check"; then echo "ok: $check"; else echo "NOT OK: $check" && status=1; fi
done
exit "$status"
