# shellcheck shell=bash disable=SC2034,SC2154
# What the tests of `doctor` share.
#
#   look WANTED_STATUS ARGUMENT...   one look; each finding has a cure; named and unnamed are about it
#   named TEXT ID REGEX              the finding ID is there, and its line "id | what | where | cure" matches
#   silent ARGUMENT...               the control: nothing but notes is found

findings() { # of the document in $LAB/json, but for notes unless `notes` is given: "id | what | where | cure"
    python3 -I - "$LAB/json" "${1:-}" <<'END'
import json, sys
for one in json.load(open(sys.argv[1]))["findings"]:
    if one["severity"] != "note" or sys.argv[2]:
        print(one["id"], "|", one["what"], "|", one["where"], "|", one["cure"])
END
}
ask() { # WANTED_STATUS ARGUMENT...
    local wanted=$1 status=0
    shift
    timeout -k 5 30 "$VMROUTER" doctor --json "$@" >"$LAB/json" 2>"$LAB/said" || status=$?
    [ "$status" = "$wanted" ] || {
        fail "doctor $* ends with status $status, wanted $wanted"
        cat "$LAB/json" "$LAB/said"
    }
    lab_sanitizers "$LAB/said"
}
look() { # WANTED_STATUS ARGUMENT...: one look; what follows is about it
    ask "$@"
    FOUND=$(findings notes)
    if grep -E '\| *$' <<<"$FOUND"; then fail "$*: each finding has a cure"; fi
}
named() { # TEXT ID REGEX
    expect_match "named: $1" "$3" "$(grep "^$2 |" <<<"$FOUND" || true)"
}
silent() { # ARGUMENT...: the control
    ask 0 "$@"
    expect_equal "silent without it ($*)" "" "$(findings)"
}
