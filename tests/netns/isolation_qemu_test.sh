#!/bin/bash
# Real user-mode guests: QEMU with its own network stack (`-netdev user`), under emulation, whose guest is iPXE with a script; and
# pasta (passt) with a process in it. Each runs twice at the same time, as a user that [[usermode]] confines and as one that it
# does not, which is the control: what the second reaches, nothing but our rules keeps from the first.
#
#     inet --- gw --- host: QEMU of uid 4242 (confined), QEMU of uid 4343 (not); services on all of its addresses
#              |  \--- eth1 --- office 203.0.113.50
#              lan 192.168.1.50
. "$(dirname "$0")/lib.sh"
lab_packages qemu-system-x86 ipxe-qemu passt

topology
printf '[[usermode]]\nuser = 4242\n' >"$LAB/user.toml"
start_vmrouter --config "$LAB/user.toml"

# What the guest tries, each a page; it says on its serial line how each went.
mkdir "$LAB/tftp"
{
    echo '#!ipxe'
    while read -r name url; do
        printf 'imgfetch --name page %s && echo RESULT %s reached || echo RESULT %s failed\nimgfree\n' "$url" "$name" "$name"
    done <<'PAGES'
internet-by-name http://www.example.net/
internet http://198.51.100.10/
internet-ipv6 http://[2001:db8:100::10]/
lan http://192.168.1.50/
router http://192.168.1.1/
office http://203.0.113.50/
loopback http://10.0.2.2:8080/
host http://192.168.1.2:8080/
bridge http://10.77.0.1:8080/
lan-ipv6 http://[2001:db8:1::50]/
host-ipv6 http://[2001:db8:1::2]:8080/
loopback-ipv6 http://[2001:db8:77::2]:8080/
PAGES
    printf 'echo RESULT end\n:wait\nsleep 1\ngoto wait\n'
} >"$LAB/tftp/script.ipxe"
chmod 755 "$LAB" && chmod -R a+rX "$LAB/tftp"

as() { # UID COMMAND...
    local uid=$1
    shift
    setpriv "--reuid=$uid" "--regid=$uid" --clear-groups -- "$@"
}
qemu() { # UID: its guest's wire is in UID.pcap, its serial line in UID.serial, hostfwd on port UID, VNC on 5900 + UID - 4200
    local uid=$1
    mkdir "$LAB/$uid" && chown "$uid" "$LAB/$uid"
    background host "qemu$uid" setpriv "--reuid=$uid" "--regid=$uid" --clear-groups -- qemu-system-x86_64 -machine pc,accel=tcg,graphics=off \
        -m 64 -nodefaults -vga none -display none -serial "file:$LAB/$uid/serial" -boot n -vnc "0.0.0.0:$((uid - 4200))" \
        -netdev "user,id=n,ipv6-net=2001:db8:77::/64,tftp=$LAB/tftp,bootfile=/script.ipxe,hostfwd=tcp::$uid-:80" \
        -device e1000,netdev=n,romfile=/usr/lib/ipxe/qemu/pxe-e1000.rom \
        -object "filter-dump,id=d,netdev=n,file=$LAB/$uid/pcap"
}
results() { tr -d '\r' <"$LAB/$1/serial" | grep -aoE "RESULT [a-z0-9-]+ ?(reached|failed)?" | sort -u; }
ended() { results "$1" | grep -q 'RESULT end'; }
result() { # UID NAME
    results "$1" | sed -n "s/RESULT $2 //p"
}

step "two QEMU guests boot iPXE and try their script"
qemu 4242
qemu 4343
for uid in 4343 4242; do
    if wait_until 90 ended $uid; then ok "the guest of $uid went through its script"; else
        fail "the guest of $uid went through its script"
        tail -c 2000 "$LAB/$uid/serial" "$LAB/host-qemu$uid.log"
    fi
done
for name in internet-by-name internet internet-ipv6; do
    for uid in 4343 4242; do expect_equal "$name, uid $uid" reached "$(result $uid $name)"; done
done
for name in lan router office loopback host bridge lan-ipv6 host-ipv6 loopback-ipv6; do
    expect_equal "the control: $name, uid 4343" reached "$(result 4343 $name)"
    expect_equal "$name, uid 4242" failed "$(result 4242 $name)"
done
expect_equal "the LAN saw the control's connection alone" 1 "$(grep -cE '^in eth0 tcp .* 192\.168\.1\.50:80 isn' "$LAB/watch/lan")"
check "what was refused is told" log_has 'BLOCK usermode tcp \[2001:db8:1::50\]:80'

step "what comes from outside"
banner() { timeout 3 bash -c "exec 3<>/dev/tcp/$1/$((5900 + 4242 - 4200)); head -c 3 <&3" 2>/dev/null || true; }
expect_equal "VNC greets the host's loopback" RFB "$(banner 127.0.0.1)"
expect_equal "VNC greets the LAN" RFB "$(in_node lan bash -c "$(declare -f banner); banner 192.168.1.2")"
check "a connection from the LAN to hostfwd is accepted" in_node lan timeout 3 bash -c 'exec 3<>/dev/tcp/192.168.1.2/4242'
arrived() { tcpdump -n -r "$LAB/4242/pcap" 'tcp[tcpflags] & tcp-syn != 0 and dst port 80 and dst host 10.0.2.15' 2>/dev/null | grep -q .; }
check "and goes on to the guest" wait_until 5 arrived

step "pasta: a process behind it"
mount -t tmpfs lab /dev/net && mknod /dev/net/tun c 10 200 && chmod 666 /dev/net/tun # as on a desktop, whatever this machine has
page() { # UID URL: whether a page comes through a pasta of that user
    setpriv "--reuid=$1" "--regid=$1" --clear-groups -- timeout 5 pasta --config-net -- curl -gs -m1 "$2" >"$LAB/page" 2>&1 && grep -q 'you are' "$LAB/page"
}
for uid in 4343 4242; do check "pasta of $uid: the internet" page $uid http://198.51.100.10/; done
for url in http://192.168.1.50/ http://203.0.113.50/ http://10.77.0.1:8080/ 'http://[2001:db8:1::50]/'; do
    check "the control: pasta of 4343: $url" page 4343 "$url"
    if page 4242 "$url"; then fail "pasta of 4242: $url"; else ok "pasta of 4242 does not reach $url"; fi
done
