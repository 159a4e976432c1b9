#!/bin/bash
# The completions of every shell, asked by the shells themselves: bash, zsh and fish complete commands, options and values.
#
#   no network but three interfaces, of which one is a bridge; the files of an instance that has two leases
. "$(dirname "$0")/lib.sh"
lab_packages zsh fish

ip link add enp6s0 type veth peer name eth0
ip link add virbr10 type bridge
mkdir -p /run/vmrouter /var/lib/vmrouter/virbr10 "$LAB/here/sub"
touch /run/vmrouter/virbr10.changes /run/vmrouter/virbr10.lock "$LAB/here/vm.toml" "$LAB/here/two words.toml"
cat >/var/lib/vmrouter/virbr10/leases <<'EOF'
1790000000 52:54:00:00:00:01 192.168.100.11 web *
1790000000 52:54:00:00:00:02 192.168.100.12 * *
1790000000 52:54:00:00:00:03 192.168.100.13 $(touch${IFS}/tmp/hostile) *
EOF
mkdir "$LAB/bin" && ln -s "$VMROUTER" "$LAB/bin/vmrouter"
export PATH=$LAB/bin:$PATH
cd "$LAB/here"
for shell in bash zsh fish; do
    vmrouter completions "$shell" >"$LAB/completions.$shell"
done

is_offered() { vmrouter ${2:+"$2"} --help | grep "^  $1 " >/dev/null; }

# What is expected, of every shell. Run twice: once to collect the lines for zsh, which is asked for all of them at once, because
# its start takes most of a second.
expectations() {
    say "commands"
    all=$(vmrouter --help | sed -n '/^Commands/,/^$/s/^  \([a-z-]*\) .*/\1/p')
    [ "$(wc -w <<<"$all")" -ge 5 ] || fail "--help lists its commands: $all"
    # shellcheck disable=SC2086
    expect_candidates "vmrouter " $all
    expect_candidates "vmrouter che" check
    expect_candidates "vmrouter --config vm.toml che" check
    expect_candidates "vmrouter completions " bash zsh fish

    say "options"
    expect_candidates "vmrouter --lease-t" --lease-time
    expect_candidates "vmrouter down --inst" --instance
    expect_candidates "vmrouter plan vm.toml --form" --format
    expect_candidates "vmrouter down --config vm.toml --int" --interface
    expect_candidates "vmrouter leases --lan" # not an option of this command
    expect_among "vmrouter check --" --config --lan --bridge --help

    say "values"
    expect_candidates "vmrouter --lan " allow block
    expect_candidates "vmrouter --lan=" allow block
    expect_candidates "vmrouter --lan=al" allow
    expect_candidates "vmrouter plan --format " nft recipe sh text
    expect_candidates "vmrouter --iface e" enp6s0 eth0
    expect_candidates "vmrouter --bridge " virbr10
    expect_candidates "vmrouter down --instance " virbr10
    expect_candidates "vmrouter --address " auto
    expect_candidates "vmrouter --mtu 1500 che" check # 1500 was a value
    expect_candidates "vmrouter check --conf" --config
    expect_candidates "vmrouter check vm" vm.toml
    expect_candidates "vmrouter --config vm" vm.toml

    say "lists go on after a comma"
    expect_candidates "vmrouter --uplink en" enp6s0
    expect_candidates "vmrouter --uplink eth0,en" enp6s0
    expect_candidates "vmrouter --uplink=eth0,en" enp6s0

    say "guests, and nothing that a guest could have made up"
    if is_offered doctor; then
        expect_candidates "vmrouter doctor --guest w" web
        expect_among "vmrouter doctor --guest " web
        expect_candidates "vmrouter doctor --guest 52:54:" 52:54:00:00:00:02
    fi
    if is_offered drop leases; then
        expect_candidates "vmrouter leases " drop pin
        expect_candidates "vmrouter leases dr" drop
        expect_candidates "vmrouter leases drop " 192.168.100.11 192.168.100.12 192.168.100.13
        expect_candidates "vmrouter leases drop --inst" --instance
    fi
}

# Each prints the candidates for the end of LINE, one a line.
complete_bash() { # what bash does when TAB is pressed
    # shellcheck disable=SC2016
    bash --norc -c '
        . "$1"
        COMP_LINE=$2 COMP_POINT=${#2} COMP_TYPE=9 COMP_KEY=9
        read -ra COMP_WORDS <<<"${COMP_LINE//=/ = }"
        [[ $COMP_LINE != *[[:space:]] ]] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _vmrouter vmrouter "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
        printf "%s\n" "${COMPREPLY[@]}"' - "$LAB/completions.bash" "$1"
}
complete_zsh() { awk -F '\t' -v line="$1" '$1 == line { print $2 }' "$LAB/zsh.candidates"; }
complete_fish() { fish --no-config -c "source $LAB/completions.fish; complete -C '$1'" | cut -f1; }

# bash is told what to put after the last '=' or ':' of the word, fish the whole word; zsh takes a list's entries one by one.
bare() { # LINE: candidates without what the line has already
    local given=${1##* }
    given=${given%"${given##*[=,:]}"}
    while IFS= read -r candidate; do
        candidate=${candidate#"$given"}
        echo "${candidate#"${given##*=}"}"
    done | sort
}
expect_candidates() { # LINE WANTED...: exactly these, from each shell
    local line=$1 shell found wanted
    shift
    wanted=$(printf '%s\n' "$@" | bare "$line")
    for shell in bash zsh fish; do
        found=$("complete_$shell" "$line" | bare "$line")
        expect_equal "$shell: $line<TAB>" "$(tr '\n' ' ' <<<"$wanted")" "$(tr '\n' ' ' <<<"$found")"
    done
}
expect_among() { # LINE WANTED...: these are among them
    local line=$1 shell missing
    shift
    for shell in bash zsh fish; do
        missing=$(comm -23 <(printf '%s\n' "$@" | sort) <("complete_$shell" "$line" | sort) | tr '\n' ' ')
        expect_equal "$shell: $line<TAB> has $*" "" "$missing"
    done
}
(
    say() { :; }
    expect_candidates() { echo "$1"; }
    expect_among() { echo "$1"; }
    expectations
) >"$LAB/lines"
python3 -I "$LAB_DIR/tab.py" zsh "$LAB/completions.zsh" <"$LAB/lines" >"$LAB/zsh.candidates"
say() { step "$@"; }
expectations
check "a hostile name in the leases file was not run" test ! -e /tmp/hostile

step "a key press in each shell, on a terminal"
for shell in bash zsh fish; do
    expect_equal "$shell: vmrouter chec<TAB> becomes the command" "vmrouter check " \
        "$(python3 -I "$LAB_DIR/tab.py" line "$shell" "$LAB/completions.$shell" "vmrouter chec")"
done
