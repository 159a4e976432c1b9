#!/bin/bash
# `doctor` on machines that lack something: a clock, bridges, connection tracking; and what is wrong with a port.
#
#     inet --- gw --- host --- virbr10 --- d1
. "$(dirname "$0")/lib.sh"
. "$LAB_DIR/doctor.sh"

topology_bridge
here=(--bridge virbr10)
real=$VMROUTER
gcc -shared -fPIC -Wall -Wextra -Werror -o "$LAB/lacking.so" "$LAB_DIR/lacking.c" -ldl
lacking() { # WHAT: from here on the program is on such a machine
    VMROUTER=$LAB/lacking-$1
    printf '#!/bin/sh\nLACKING=%s LD_PRELOAD="%s" ASAN_OPTIONS="verify_asan_link_order=0:$ASAN_OPTIONS" exec "%s" "$@"\n' \
        "$1" "$LAB/lacking.so" "$real" >"$VMROUTER"
    chmod +x "$VMROUTER"
}

step "the machine"
silent "${here[@]}"
lacking nothing
silent "${here[@]}"
lacking clock
look 1 "${here[@]}"
named "a clock that was never set" clock "stands before 2024.*system clock.*set it"
lacking bridge
look 1 "${here[@]}"
named "a kernel without bridges" kernel "bridges: .*modprobe bridge"
lacking conntrack
look 1 "${here[@]}"
named "a kernel without connection tracking" kernel "connection tracking: "
expect_equal "and of nothing else it is said" 1 "$(grep -c '^kernel |' <<<"$FOUND")"
VMROUTER=$real

step "a captive portal, as NetworkManager sees it"
cp /bin/bash "$LAB/NetworkManager"
background host manager "$LAB/NetworkManager" -c 'sleep 300; :'
mkdir "$LAB/bin"
portal() { # ANSWER
    printf '#!/bin/sh\n[ "$1 $2" != "networking connectivity" ] || echo %s\n' "$1" >"$LAB/bin/nmcli"
    chmod +x "$LAB/bin/nmcli"
}
portal portal
mount -t overlay -o "lowerdir=$LAB/bin:/usr/bin" bin /usr/bin # vmrouter looks for programs there and nowhere else
look 1 "${here[@]}"
named "a captive portal" captive_portal "NetworkManager: portal.*log in with a browser"
umount -l /usr/bin
portal full
mount -t overlay -o "lowerdir=$LAB/bin:/usr/bin" bin /usr/bin
silent "${here[@]}"
umount -l /usr/bin

step "a port"
start_vmrouter "${here[@]}"
guest_add d1
port=$(guest_port d1)
silent
ip link set "$port" mtu 1280
look 1
named "a port with a smaller MTU" mtu "a port takes smaller packets \\(1280\\) than the segment \\(1500\\).*$port.*ip link set $port mtu 1500"
ip link set "$port" mtu 1500
in_node d1 ip link set eth0 down
look 0
named "a port without carrier" port_no_carrier "nobody is at the other end of a port.*$port.*start the VM"
in_node d1 ip link set eth0 up
look 0
expect_equal "not any more" "" "$(grep port_no_carrier <<<"$FOUND" || true)"
silent
stop_vmrouter TERM
