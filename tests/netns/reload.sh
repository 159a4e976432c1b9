# shellcheck shell=bash disable=SC2034,SC2154
# What the tests of reloads share: the configuration is written anew with other keys, and read by the running vmrouter; an open
# connection, a cached answer and a lease that it does not concern stay.
#
#     the network of lib.sh; virbr10 with g1 (DHCP) and g2 (192.168.100.200, serves tcp/22)
. "$(dirname "$0")/lib.sh"

F=/etc/vmrouter/vm.toml
# configure SECTION LINES SECTION LINES...: the file with the base keys and these
configure() {
    local network='bridge = "virbr10"' firewall='' dhcp='' dns='' rest=''
    while [ $# -gt 0 ]; do
        case $1 in
            network) network+=$'\n'$2 ;;
            address) network+=$'\n'"address = \"$2\"" ;;
            firewall) firewall+=$'\n'$2 ;;
            dhcp) dhcp+=$'\n'$2 ;;
            dns) dns+=$'\n'$2 ;;
            rest) rest+=$'\n'$2 ;;
        esac
        shift 2
    done
    printf '[network]\n%s\n[firewall]%s\n[dhcp]%s\n[dns]%s\n%s\n' "$network" "$firewall" "$dhcp" "$dns" "$rest" >"$F"
}
SOCKET=/run/vmrouter/virbr10.sock
ask() { # COMMAND: the answer of the control socket
    printf '{"command": "%s"}\n' "$1" | socat -t 20 - "UNIX-CONNECT:$SOCKET" 2>&1
}
reload() { # WHAT SECTION LINES...: reloads through the control socket, which answers when it is done
    local what=$1 answer
    shift
    configure "$@"
    answer=$(ask reload)
    if [ "$answer" = '{"ok":true,"result":null}' ]; then ok "reload: $what"; else fail "reload: $what: $answer"; fi
}
refused() { # WHAT REGEX: the file as it is now is refused
    local answer
    answer=$(ask reload)
    expect_match "refused: $1" "$2" "$answer"
}
option() { # CODE NAME: what a DHCP client of g2 is told, as udhcpc puts it into the environment
    in_node g2 udhcpc -n -q -f -i eth0 -t 5 -T 1 -O "$1" -s "$LAB/env.sh" 2>&1 | grep "^$2=" | tail -1 | cut -d= -f2- | tr -d "'"
}
is_silent() { # GUEST [OPTION...]: a client there is told nothing
    in_node "$1" udhcpc -n -q -f -i eth0 -t 1 -T 1 "${@:2}" -s "$LAB/env.sh" >"$LAB/silent.log" 2>&1 || true
    ! grep -q '^ip=' "$LAB/silent.log"
}
dig1() { in_node g1 dig +short +time=2 +tries=1 @192.168.100.1 "$@"; }
dns_counter() { # NAME, or NUMBER for the questions that this upstream was asked
    ask status | python3 -I -c 'import json, sys
dns = json.load(sys.stdin)["result"]["dns"]
print(dns["upstreams"][int(sys.argv[1])]["queries"] if sys.argv[1].isdigit() else dns[sys.argv[1]])' "$1"
}
forwarded_by() { # COMMAND...: how many questions go to upstreams meanwhile
    local before
    before=$(dns_counter forwarded)
    "$@" >/dev/null 2>&1 || true
    echo $(($(dns_counter forwarded) - before))
}
cache_holds() { expect_equal "$1: the cached answer is still there" 0 "$(forwarded_by dig1 www.example.net)"; }
hold_flow() { # NAME: an open connection of g1
    background g1 "$1" python3 -I "$LAB/repo/tests/netns/session.py" 198.51.100.10 80 15
    wait_until 5 grep -q heard "$LAB/g1-$1.log"
}
flow_goes_on() { # NAME WHEN
    local heard
    expect_equal "$2: the open connection is not cut" "" "$(grep cut "$LAB/g1-$1.log" || true)"
    heard=$(wc -l <"$LAB/g1-$1.log")
    check "$2: the open connection goes on" wait_until 10 sh -c "[ \$(wc -l <'$LAB/g1-$1.log') -gt $heard ]"
}

topology_bridge
snapshot_machine "$LAB/before"
mkdir -p /etc/vmrouter
printf '#!/bin/sh\nset\n' >"$LAB/env.sh" && chmod +x "$LAB/env.sh"
configure
start_vmrouter --config "$F"
guest_add g1
guest_add g2
serve g2 tcp/22
guest_dhcp g1 udhcpc
guest_static g2 192.168.100.200/24 192.168.100.1
G1=$(guest_address g1)
hold_flow flow
dig1 www.example.net >/dev/null
