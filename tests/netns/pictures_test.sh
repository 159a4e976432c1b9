#!/bin/bash
# The pictures of README.md, tests/data/pictures/*.svg, are what the program shows today: commands run on a terminal of 100
# columns, their output is rendered, and its text compared with that of the picture, but for numbers and spaces.
#
#   LAB_PICTURES=tests/data/pictures bash tests/netns/pictures_test.sh      draws them anew
#
#     inet --- gw --- host --- virbr10 --- web, db
. "$(dirname "$0")/lib.sh"
pictures=$LAB_REPO/tests/data/pictures

on_terminal() { # COMMAND...: its output on a terminal
    SHELL=/bin/bash TERM=xterm-256color script -qc "stty cols ${columns:-100} rows 60; $*" /dev/null </dev/null
}
is_offered() { vmrouter --help | grep "^  $1 " >/dev/null; }
# Numbers, times and what depends on them differ from run to run; the words do not. Of the table of `verify` the first columns
# count: how many refusals come before the limit depends on the machine.
words() {
    awk -F '  +' -v fields="${fields:-99}" '{ for (i = 1; i <= NF && i <= fields; i++) printf "%s ", $i; print "" }' |
        sed -E 's/[0-9a-f]{2}(:[0-9a-f]{2}){5}/MAC/g; s/([0-9]+[dhms] ?)+/T /g; s/[0-9]+(\.[0-9]+)*/N/g; s/N [kKMG]?i?B/SIZE/g; s/ now\b/ T ago/g
            s/ +/ /g; s/^ //; s/ $//; /^$/d'
}
draw() { python3 -I "$LAB_REPO/tests/picture.py" "$@"; }
show() { # NAME "SHOWN" COMMAND...: one picture
    local name=$1 shown=$2
    shift 2
    is_offered "$(cut -d' ' -f2 <<<"$shown")" || return 0
    {
        echo "\$ $shown"
        on_terminal "$@" | sed '/the clock is not synchronised/,+2d' # that is up to the machine that draws
    } >"$LAB/$name.txt"
    draw <"$LAB/$name.txt" >"$LAB/$name.svg"
    [ -z "${LAB_PICTURES:-}" ] || cp "$LAB/$name.svg" "$LAB_REPO/$LAB_PICTURES/"
    if diff <(draw --text <"$pictures/$name.svg" | words) <(draw --text <"$LAB/$name.svg" | words) >"$LAB/diff"; then
        ok "$name.svg is what \`$shown\` shows"
    else
        fail "$name.svg is not what \`$shown\` shows (draw it anew: see the head of this test)"
        cat "$LAB/diff"
    fi
}
what_happens() { # while `monitor` looks on; ends it when it has shown the last of it
    wait_until 20 test -s "$LAB/monitor.pid" || return 0
    sleep 1
    in_node web curl -s -m5 http://www.example.net/ >/dev/null || true
    in_node web curl -s -m2 http://192.168.1.50:445/ >/dev/null || true
    wait_until 20 grep -q ':445' "$LAB/monitor.txt" || true
    kill -INT "$(cat "$LAB/monitor.pid")"
}

topology_bridge
start_vmrouter --config "$LAB_REPO/conf/vm.toml"
guest_add web
guest_add db
guest_dhcp web udhcpc
guest_dhcp db udhcpc
in_node web curl -s -m5 http://www.example.net/ >/dev/null
expect_blocked web tcp lan 192.168.1.50 22
expect_blocked web tcp host 192.168.100.1 22
wait_until 5 grep -q "$(guest_mac db)" /var/lib/vmrouter/virbr10/leases
mkdir "$LAB/bin" && ln -s "$VMROUTER" "$LAB/bin/vmrouter"
export PATH=$LAB/bin:$PATH

if is_offered status; then
    step "colours on a terminal only, and never with NO_COLOR"
    escape=$'\e'
    expect_match "a terminal" "$escape" "$(on_terminal vmrouter leases)"
    expect_equal "a terminal with NO_COLOR" "" "$(NO_COLOR=1 on_terminal vmrouter leases | grep -F "$escape" || true)"
    expect_equal "a pipe" "" "$(vmrouter leases | grep -F "$escape" || true)"
fi

step "pictures"
show status "vmrouter status" vmrouter status
what_happens &
show monitor "vmrouter monitor" "echo \$\$ >$LAB/monitor.pid; exec vmrouter monitor"
wait "$!"
step "something in the way: a firewall that drops before us, a DHCP client on the bridge, a port with a smaller MTU"
sysctl -qw net.bridge.bridge-nf-call-iptables=0 2>/dev/null || true
nft 'table inet hardening { chain early { type filter hook forward priority -150; policy drop; }; }'
cp /bin/bash "$LAB/dhclient" && background host dhclient "$LAB/dhclient" -c 'sleep 300; :' dhclient virbr10
ip link set "$(guest_port db)" mtu 1280 && ip link set virbr10 mtu 1500
show doctor "vmrouter doctor" vmrouter doctor
nft delete table inet hardening
kill "$LAB_BACKGROUND"
ip link set "$(guest_port db)" mtu 1500

columns=170 fields=3 show verify "vmrouter verify" vmrouter verify --target www.example.net --rebind rebind.example.net
ok "what this version does not offer has no picture"
