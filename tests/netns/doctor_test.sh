#!/bin/bash
# `doctor` names each obstacle, where it is and what to do; without it, it is silent.
#
#     inet --- gw --- host --- virbr10 --- d1, d2, a second DHCP server
#                        `---- enp6s0 (a spare port)
. "$(dirname "$0")/lib.sh"

topology_bridge
join host enp6s0 office spare0

. "$LAB_DIR/doctor.sh"
program() { # NAME WORD...: something that runs under that name
    cp /bin/bash "$LAB/$1"
    background host "$1" "$LAB/$1" -c 'sleep 300; :' "$@"
}
gone() { kill "$1" && wait_until 5 lab_gone "$1"; }
here=(--bridge virbr10)

step "nothing is in the way, and no instance runs"
silent
run_vmrouter 0 doctor "${here[@]}"
expect_match "it says so" "nothing is in the way" "$(cat "$LAB/out")"

step "the machine, before anything is started"
background host taken53 dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --user=root --port=53
pid53=$LAB_BACKGROUND
background host taken67 socat UDP4-RECVFROM:67,reuseaddr PIPE
pid67=$LAB_BACKGROUND
wait_until 5 sh -c 'ss -uln | grep -q ":53 " && ss -uln | grep -q ":67 "'
cp /etc/resolv.conf "$LAB/resolv"
rm /etc/resolv.conf && ln -s /run/nowhere/stub.conf /etc/resolv.conf
mkdir -p /var/lib/vmrouter/virbr10/leases
echo "52:54:00:zz:34:56,192.168.100.300" >/var/lib/vmrouter/virbr10/hostsfile
iptables -P FORWARD DROP
iptables -t raw -A PREROUTING -m rpfilter --invert -j DROP
nft 'table inet strict { chain early { type filter hook forward priority -150; policy drop; }; }'
ip link add vpn0 type veth peer name vpn1
ip addr add 10.99.0.1/24 dev vpn0
ip link set vpn0 up
ip link set vpn1 up
ip route add default dev vpn0 table 52
ip rule add from 192.168.1.2 fwmark 0x80000/0xff0000 lookup 52 priority 5270
look 1 "${here[@]}"
named "a wildcard on port 53, by program and pid" port_53 "dnsmasq \(pid $pid53\) holds 0.0.0.0:53"
named "somebody on port 67" port_67 "socat \(pid $pid67\) holds 0.0.0.0:67"
named "a resolv.conf that leads nowhere" resolv_conf "/etc/resolv.conf -> /run/nowhere/stub.conf"
named "a line of the hosts file" hosts_file "hostsfile:1"
named "a leases file that is none" files "no plain file.*/var/lib/vmrouter/virbr10/leases"
named "a policy that vmrouter will get through" firewall "gets through when it starts.*ip filter FORWARD.*policy drop"
named "a chain that drops before ours" firewall "inet strict early"
named "a reverse path check in raw PREROUTING" reverse_path "ip raw PREROUTING: rpfilter (DROP|drop) \\(handle [0-9]+\\)"
named "a VPN's routing rule before ours" policy_routing "vpn0.*ip rule 5270"
gone "$pid53"
gone "$pid67"
iptables -P FORWARD ACCEPT
iptables -t raw -F
nft delete table inet strict
ip rule del priority 5270
rm -r /var/lib/vmrouter/virbr10

background host other67 socat UDP4-RECVFROM:67,reuseaddr,so-bindtodevice=brother PIPE
wait_until 5 sh -c 'ss -uln | grep -q ":67 "'
rm /etc/resolv.conf && : >/etc/resolv.conf
ip route del default
mkdir -p /var/lib/vmrouter/virbr10 && mount -t tmpfs -o size=4k full /var/lib/vmrouter/virbr10
head -c 4096 /dev/zero >/var/lib/vmrouter/virbr10/filler
look 1 "${here[@]}"
named "an empty resolv.conf" resolv_conf "no name server"
named "no route to the internet" uplink "no route to the internet"
named "a full disk" files "disk is full.*/var/lib/vmrouter/virbr10"
expect_equal "a port 67 that is held to another interface is in nobody's way" "" "$(grep port_67 <<<"$FOUND" || true)"
gone "$LAB_BACKGROUND"
ip route add default via 192.168.1.1
mount -o remount,ro /var/lib/vmrouter/virbr10
echo "nameserver 192.168.1.77" >/etc/resolv.conf
cat >"$LAB/vpn.toml" <<<$'[network]\nbridge = "virbr10"\n[firewall]\nuplink = ["wg0"]'
look 1 --config "$LAB/vpn.toml"
named "a read-only folder" files "read-only"
named "a dead upstream" upstream "no DNS upstream answers.*192.168.1.77"
named "a kill-switch whose VPN is down" uplink_missing "kill-switch.*wg0"
umount /var/lib/vmrouter/virbr10
echo "nameserver 192.168.100.1" >/etc/resolv.conf
ip link set vpn1 down
cat >"$LAB/loop.toml" <<<$'[network]\nbridge = "virbr10"\naddress = "192.168.100.1/24"\n[firewall]\nuplink = ["vpn0"]\n[[firewall.forward]]\nlisten = "tcp/0.0.0.0:2222"\nguest = "192.168.100.10"\nport = 22'
program firewalld
pid=$LAB_BACKGROUND
mkdir -p /etc/firewalld && echo "StrictForwardPorts=yes" >/etc/firewalld/firewalld.conf
look 1 --config "$LAB/loop.toml"
named "an upstream that is ourselves" resolver_loop "resolv.conf: 192.168.100.1"
named "an uplink without carrier" uplink_down "without carrier.*vpn0"
named "firewalld's StrictForwardPorts" strict_forward_ports "StrictForwardPorts.*/etc/firewalld/firewalld.conf"
gone "$pid"
ip link delete vpn0
cp "$LAB/resolv" /etc/resolv.conf
look 1 --iface eth0
named "the uplink as a segment" segment "eth0"
cat >"$LAB/absent.toml" <<<$'[network]\ninterface = "enp9s9"'
look 1 --config "$LAB/absent.toml"
named "an interface that is not there" segment_missing 'not there.*enp9s9'
cat >"$LAB/lan.toml" <<<$'[network]\nbridge = "virbr10"\naddress = "192.168.1.200/24"'
look 1 --config "$LAB/lan.toml"
named "the LAN's own network as the segment" address "192.168.1.200/24.*eth0"
cat >"$LAB/wide.toml" <<<$'[network]\nbridge = "virbr10"\naddress = "10.77.0.129/25"'
look 1 --config "$LAB/wide.toml"
named "a network inside a wider one" address_overlap "10.77.0.0/24"
cat >"$LAB/bad.toml" <<<$'[network]\nbrigde = "virbr10"'
run_vmrouter 2 doctor --config "$LAB/bad.toml"
printf '#!/bin/sh\nexec python3 -I "%s" nftables "%s" "$@"\n' "$LAB_DIR/without.py" "$VMROUTER" >"$LAB/without-nftables"
chmod +x "$LAB/without-nftables"
real=$VMROUTER VMROUTER=$LAB/without-nftables
look 1 "${here[@]}"
named "a kernel without nftables" kernel "nf_tables"
VMROUTER=$real
silent "${here[@]}"

step "with an instance"
start_vmrouter "${here[@]}"
guest_add d1
guest_dhcp d1 udhcpc
guest_add d2
iptables -P FORWARD DROP # vmrouter gets through by itself
wait_until 5 sh -c 'iptables -S FORWARD | grep -q mark'
silent
iptables -P FORWARD ACCEPT
nft 'table inet strict { chain early { type filter hook input priority -150; policy drop; }; }'
bridge link set dev "$(guest_port d1)" isolated on
ip link set "$(guest_port d2)" down
sysctl -qw net.ipv4.conf.all.proxy_arp=1
ip link set eth0 mtu 1400
program dhclient virbr10
pid=$LAB_BACKGROUND
program NetworkManager
manager=$LAB_BACKGROUND
program systemd-networkd
networkd=$LAB_BACKGROUND
mkdir "$LAB/bin"
printf '#!/bin/sh\n[ "$*" != "-t -f GENERAL.DEVICE,GENERAL.STATE device show" ] || printf "GENERAL.DEVICE:virbr10\\nGENERAL.STATE:100 (connected)\\n"\n' \
    >"$LAB/bin/nmcli"
printf '#!/bin/sh\necho " 11 virbr10 bridge routable configured"\n' >"$LAB/bin/networkctl"
chmod +x "$LAB/bin/nmcli" "$LAB/bin/networkctl"
node_add rogue
join host vnet90 rogue eth0
ip link set vnet90 master virbr10
in_node rogue ip addr add 192.168.100.99/24 dev eth0
background rogue dnsmasq dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --user=root --interface=eth0 --bind-interfaces \
    --dhcp-range=192.168.100.200,192.168.100.210,1h --no-ping --dhcp-leasefile=/run/leases
wait_until 5 in_node rogue sh -c 'ss -uln | grep -q ":67 "'
mount -t overlay -o "lowerdir=$LAB/bin:/usr/bin" bin /usr/bin # vmrouter looks for programs there and nowhere else
look 1
umount -l /usr/bin # a program of before is still busy there
named "a chain before ours on input" firewall "inet strict early"
named "a port that is isolated" port_isolation "$(guest_port d1)"
named "a port that is down" port_down "$(guest_port d2)"
named "a setting of the all branch" sysctl_all "proxy_arp"
named "an uplink with a smaller MTU" mtu "1400.*eth0"
named "a DHCP client on the segment" rival "dhclient.*pid $pid"
named "NetworkManager" network_manager "virbr10"
named "systemd-networkd" networkd "virbr10"
named "a second DHCP server" dhcp_server "192.168.100.99"
for one in "$pid" "$manager" "$networkd"; do gone "$one"; done
ip link delete vnet90
node_delete rogue
nft delete table inet strict
bridge link set dev "$(guest_port d1)" isolated off
ip link set "$(guest_port d2)" up
sysctl -qw net.ipv4.conf.all.proxy_arp=0
ip link set eth0 mtu 1500
silent
kill -STOP "$VMROUTER_PID"
sysctl -qw net.ipv4.conf.virbr10.forwarding=0 net.ipv4.conf.eth0.forwarding=0
ip addr del 192.168.100.1/24 dev virbr10
ip link set virbr10 down
nft delete table inet vmrouter_virbr10
ip link set virbr10 type bridge stp_state 1 forward_delay 1500
look 1
named "spanning tree with its long delay" forward_delay "30 s.*virbr10"
named "an instance that is stopped" instance_silent "stopped by a signal.*pid $VMROUTER_PID"
named "forwarding off on the segment" forwarding 'net.ipv4.conf.virbr10.forwarding'
named "forwarding off on the uplink" forwarding 'net.ipv4.conf.eth0.forwarding'
named "our address is gone" address_missing "virbr10 192.168.100.1/24"
named "the bridge is down" segment_down "virbr10"
named "our rules are gone" rules_missing "tables are not there"
sysctl -qw net.ipv4.conf.virbr10.forwarding=1 net.ipv4.conf.eth0.forwarding=1
ip link set virbr10 up
ip addr add 192.168.100.1/24 broadcast 192.168.100.255 dev virbr10
kill -CONT "$VMROUTER_PID"
wait_until 5 nft list table inet vmrouter_virbr10
without_stp() { [ "$(cat /sys/class/net/virbr10/bridge/{stp_state,forward_delay} | xargs)" = "0 0" ]; }
wait_until 5 without_stp
silent

step "one guest"
silent --guest d1
look 1 --guest nobody
named "a name that nobody knows" guest_silent "nobody of this name"
look 1 --guest 52:54:00:99:99:99
named "a MAC that was never heard" guest_silent "no DHCP message"
ip link set "$(guest_port d1)" nomaster
look 1 --guest d1
named "its port was taken off the bridge" guest_link "not on the bridge any more.*$(guest_port d1)"
ip link set "$(guest_port d1)" master virbr10
in_node d1 ip link set eth0 down
look 1 --guest "$(guest_mac d1)"
named "its interface is down" guest_link "nobody is at the other end"
in_node d1 ip link set eth0 up
in_node d1 ip addr flush dev eth0
look 1 --guest "$(guest_mac d1)"
named "it has lost its address" guest_arp "does not answer"
echo "$(guest_mac d2),ignore" >/var/lib/vmrouter/virbr10/hostsfile
wait_until 5 log_has "1 reservation"
in_node d2 timeout 3 udhcpc -f -n -q -i eth0 -t 1 -T 1 >/dev/null 2>&1 || true
look 1 --guest "$(guest_mac d2)"
named "its DISCOVER is ignored" guest_unanswered "DISCOVER got no answer"
rm /var/lib/vmrouter/virbr10/hostsfile
guest_delete d1
guest_delete d2
look 0
named "no guest at all" no_ports "virbr10"
look 1 --guest web
named "a guest of an empty bridge" guest_link "no port is on the bridge"
stop_vmrouter KILL

step "what a killed instance left"
look 1 "${here[@]}"
named "its record" leftover "/run/vmrouter/virbr10.changes"
look 1 --guest d1 "${here[@]}"
named "a guest has nobody to ask" not_running "no vmrouter runs"
run_vmrouter 0 down
silent "${here[@]}"

step "for people"
ip route del default
run_vmrouter 1 doctor "${here[@]}"
expect_match "severity, sentence, where and cure" "^broken this machine has no route to the internet where: ip route cure: connect it" "$(tr -s '\n ' ' ' <"$LAB/out")"
chmod 755 "$LAB"
setpriv --reuid=65534 --regid=65534 --clear-groups "$VMROUTER" doctor >"$LAB/out" 2>&1 || true
expect_match "without root it says what to do" "sudo" "$(cat "$LAB/out")"
