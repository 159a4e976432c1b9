#!/bin/bash
# Builds and runs the tests:
#
#   sudo ./tests/run.sh                        everything
#   ./tests/run.sh unit                        what begins with `unit` (names: check.X, unit.MODULE, fuzz.X, netns.X)
#   sudo ./tests/run.sh netns.first_light      ... or with this; several names may be given
#
# Installs the packages that are missing, builds the preset dev (sanitizers on, warnings are errors), checks the sources and
# runs CTest. The last line is `N passed, N failed, N skipped`; the exit status is 0 when nothing failed. As root nothing may
# be skipped but what tests/netns/may_skip names, with its reason.
set -euo pipefail
# shellcheck source=SCRIPTDIR/../src/setup.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../src/setup.sh"

began=$SECONDS
wanted=("$@")
passed=0 failed=0 skipped=0
most_again=3 # failed tests that are run a second time; more are no accident

selected() { # NAME: does a filter name it (or a part of it)?
    [ "${#wanted[@]}" -gt 0 ] || return 0
    local filter
    for filter in "${wanted[@]}"; do
        if [[ $1 == "$filter"* || $filter == "$1".* ]]; then return 0; fi
    done
    return 1
}

run_checks() {
    local name
    for name in $("$repo/tests/check.sh" --list); do
        selected "check.$name" || continue
        if with_progress "check.$name" "$repo/tests/check.sh" "$name"; then passed=$((passed + 1)); else
            say "FAILED: check.$name"
            failed=$((failed + 1))
        fi
    done
}

run_ctest() { # JOBS CTEST_ARGUMENT...
    local folder=$repo/build/dev filter results=$repo/build/dev/results.xml jobs=$1
    shift
    local arguments=(--test-dir "$folder" --output-on-failure --no-tests=ignore --parallel "$jobs" --output-junit "$results" "$@")
    if [ "${#wanted[@]}" -gt 0 ]; then
        filter=$(printf '|%s' "${wanted[@]//./\\.}")
        arguments+=(--tests-regex "^(${filter:1})")
    fi
    rm -f "$results"
    with_progress testing ctest "${arguments[@]}" || true # the verdict is in the results
    [ -f "$results" ] || return 0
    # Several tests at once may starve one another on a busy machine: what a few of them say alone is what counts.
    local again=() failures
    failures=$(grep -c '<failure' "$results" || true)
    if [ "$failures" -gt 0 ] && [ "$failures" -le "$most_again" ]; then
        again=("$repo/build/dev/again.xml")
        rm -f "${again[@]}"
        say "once more, alone: $failures of the tests"
        with_progress "testing again" ctest --test-dir "$folder" --rerun-failed --output-on-failure --output-junit "${again[0]}" || true
        [ -f "${again[0]}" ] || again=()
    fi
    local counts more_passed more_failed more_skipped
    counts=$(python3 -I "$repo/tests/verdict.py" "$results" "$repo/tests/netns/may_skip" "${again[@]}")
    grep -v '^counts' <<<"$counts" || true
    read -r _ more_passed more_failed more_skipped < <(grep '^counts' <<<"$counts")
    passed=$((passed + more_passed)) failed=$((failed + more_failed)) skipped=$((skipped + more_skipped))
}

install_packages "${build_packages[@]}" "${test_packages[@]}"
! selected netns || fetch_lab_packages "${lab_packages[@]}"
trap give_back_build EXIT
build dev all
run_checks
if [ "$(printf '%s\n' "${wanted[@]}" | grep -vc '^check')" -gt 0 ]; then # not when only checks were asked for
    say "running the tests"
    run_ctest "$(nproc)" --label-exclude netns
    run_ctest "$(($(nproc) * 2))" --label-regex netns # they mostly wait, each in namespaces of its own
fi
if [ $((passed + failed + skipped)) = 0 ]; then
    say "no test is named like: $*"
    failed=1
fi
say "$((SECONDS - began)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
