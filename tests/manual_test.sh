#!/bin/bash
# The manual pages as the build made them: readers render them without a complaint, and what is printed has every command,
# option and exit status that the program knows.
#
#   tests/manual_test.sh [BUILD_FOLDER]
set -euo pipefail
build=${1:-$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../build/dev}
vmrouter=$build/src/vmrouter
pages=$build/src/manual
text=$(mktemp -d)
trap 'rm -rf "$text"' EXIT
failed=0
fail() {
    echo "NOT OK: $*"
    failed=1
}

for page in vmrouter.8 vmrouter.toml.5; do
    said=$(mandoc -Tlint -Wwarning "$pages/$page") || fail "mandoc complains about $page: $said"
    said=$(groff -mdoc -ww -Tutf8 "$pages/$page" 2>&1 >/dev/null) || true
    [ -z "$said" ] || fail "groff complains about $page: $said"
    mandoc -Tascii -O width=100 "$pages/$page" | col -bx >"$text/$page"
    MANPAGER=cat MANWIDTH=100 man -l "$pages/$page" >"$text/$page.man" 2>"$text/complaints" || fail "man -l $page"
    [ ! -s "$text/complaints" ] || fail "man -l $page: $(cat "$text/complaints")"
    grep -q '^NAME' "$text/$page.man" || fail "man -l $page prints no page"
done

section() { awk -v begin="^ *$1\$" '$0 ~ begin { on = 1; next } on && /^(   )?[a-zA-Z]/ { exit } on' "$text/vmrouter.8"; }

# What --help says itself: the options, and the commands.
options_of() { "$vmrouter" "$@" --help | sed '/^Instead of/,$d' | grep -oE '^ +(-[a-z], )?--[a-z-]+(, --[a-z-]+)*' | grep -oE -- '--[a-z-]+'; }
for option in $("$vmrouter" --help | grep -oE '^ +(-[a-z], )?--[a-z-]+(, --[a-z-]+)*' | grep -oE -- '--[a-z-]+'); do
    grep -q -- "^ *[-a-z, ]*$option" "$text/vmrouter.8" || fail "vmrouter(8) lacks $option"
done
commands=$("$vmrouter" --help | sed -n '/^Commands/,/^$/s/^  \([a-z-]*\) .*/\1/p')
[ -n "$commands" ] || fail "--help lists no commands"
for command in $commands; do
    section "$command" >"$text/section"
    [ -s "$text/section" ] || fail "vmrouter(8) has no section $command"
    for option in $(options_of "$command"); do
        grep -q -- "$option" "$text/section" || fail "vmrouter(8) lacks $option of $command"
    done
done
for status in 0 1 2; do
    section "EXIT STATUS" | grep -qE "^ +$status  " || fail "vmrouter(8) lacks the exit status $status"
done

# The examples of vmrouter.toml(5) are configurations.
for number in 1 2; do
    awk -v number="$number" '/^EXAMPLES/ { on = 1 } /^SEE/ { on = 0 } on && /^ *\[network\]/ { seen++ } on && seen == number && /^(           |$)/' \
        "$text/vmrouter.toml.5" >"$text/$number.toml"
    "$vmrouter" check "$text/$number.toml" >"$text/said" 2>&1 || fail "example $number of vmrouter.toml(5): $(cat "$text/said")"
done

[ "$failed" = 0 ] && echo "ok: both pages"
exit "$failed"
