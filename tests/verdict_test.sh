#!/bin/bash
# tests/verdict.py: what counts as passed, failed and skipped.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

results() { # FILE NAME=STATUS...
    local file=$work/$1 one
    shift
    {
        echo '<testsuite>'
        for one in "$@"; do echo "<testcase name=\"${one%=*}\" status=\"${one#*=}\"><system-out>skipped: no tool</system-out></testcase>"; done
        echo '</testsuite>'
    } >"$file"
}
expect() { # TEXT REGEX ARGUMENT...: what verdict.py says
    local text=$1 regex=$2 said
    shift 2
    said=$(python3 -I "$here/verdict.py" "$@")
    if grep -qE -- "$regex" <<<"$said"; then echo "ok - $text"; else echo "NOT OK - $text: nothing matches '$regex' in '$said'" && failed=1; fi
}

echo 'netns.c  the kernel has no such device' >"$work/may_skip"
results first netns.a=run netns.b=fail netns.c=notrun unit.d=fail
expect "passed, failed and skipped are counted" '^counts 1 2 1$' "$work/first" "$work/may_skip"
expect "a failed one is named" '^FAILED: netns\.b$' "$work/first" "$work/may_skip"
results again netns.b=run unit.d=fail
expect "one that passes alone counts as passed" '^counts 2 1 1$' "$work/first" "$work/may_skip" "$work/again"
expect "... and is named" '^UNSTABLE: netns\.b ' "$work/first" "$work/may_skip" "$work/again"
expect "one that fails alone, too, is failed" '^FAILED: unit\.d$' "$work/first" "$work/may_skip" "$work/again"
results skipped netns.b=notrun
expect "one that is skipped when alone is failed" '^counts 1 2 1$' "$work/first" "$work/may_skip" "$work/skipped"
: >"$work/may_skip"
if [ "$(id -u)" = 0 ]; then
    expect "as root nothing is skipped without a reason" '^counts 1 3 0$' "$work/first" "$work/may_skip"
fi
exit $failed
