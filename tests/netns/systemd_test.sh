#!/bin/bash
# vmrouter.service and vmrouter@.service under the real systemd, with everything that the units forbid: notification, status,
# reload, watchdog, restart, levels in the journal; the program does all its work within those limits.
#
#   systemd (process 1) --- vmrouter.service --- virbr10 --- g1
. "$(dirname "$0")/lib.sh"
start_systemd
topology_bridge
cp "$VMROUTER" /usr/sbin/vmrouter
cp "$LAB/repo/conf/vmrouter.service" "$LAB/repo/conf/vmrouter@.service" /etc/systemd/system
mkdir -p /etc/vmrouter /etc/systemd/system/vmrouter{,@}.service.d
cp "$LAB/repo/conf/vm.toml" /etc/vmrouter/vm.toml
# The leak detector of the build under test wants to attach to the program, which the unit forbids.
printf '[Service]\nEnvironment=ASAN_OPTIONS=detect_leaks=0\n' |
    tee /etc/systemd/system/vmrouter.service.d/lab.conf >/etc/systemd/system/vmrouter@.service.d/lab.conf

service() { in_systemd systemctl "$@" vmrouter; }
property() { service show --value -p "$1"; }
has_property() { [ "$(property "$1")" = "$2" ]; }
journal() { in_systemd journalctl -u vmrouter -o cat "$@"; }
in_journal() { journal "${@:2}" | grep -qE -- "$1"; }
expect_status() { # TEXT
    if wait_until 5 has_property StatusText "$1"; then ok "status: $1"; else fail "status should be '$1', is '$(property StatusText)'"; fi
}

step "the units are clean and expose little"
in_systemd systemctl daemon-reload
check "systemd-analyze verify" sh -c 'test -z "$(systemd-analyze verify --man=no "$@" 2>&1 | tee /dev/stderr)"' verify \
    /etc/systemd/system/vmrouter.service /etc/systemd/system/vmrouter@one.service
for unit in vmrouter.service vmrouter@.service; do
    check "exposure of $unit below 3.6" systemd-analyze security --offline=yes --threshold=36 "$LAB/repo/conf/$unit"
done

step "start"
iptables -P FORWARD DROP
snapshot_machine "$LAB/before"
check "systemctl start" service start
expect_equal "it is active" active "$(service is-active)"
pid=$(property MainPID)
expect_status "virbr10 192.168.100.1/24: 0 guests, uplink eth0"
guest_add g1
guest_dhcp g1 udhcpc
expect_status "virbr10 192.168.100.1/24: 1 guest, uplink eth0"
expect_service g1 "within the unit's limits"
expect_isolation g1
expect_passes "within the unit's limits" "ip filter FORWARD"
check "networkd is told within the unit's limits" grep -q virbr10 /run/systemd/network/00-vmrouter-virbr10.network
limits=$(in_systemd cat "/proc/$pid/status")
expect_match "no new privileges" '^NoNewPrivs:\s*1' "$limits"
expect_match "system calls are filtered" '^Seccomp:\s*2' "$limits"
check "the file system is read-only" sh -c '! nsenter --target "$0" --mount --pid -- nsenter --target "$1" --mount touch /usr/x' "$SYSTEMD_PID" "$pid"
check "a tap is made" in_systemd /usr/sbin/vmrouter tap tap0 --user root
expect_equal "it is on the bridge" virbr10 "$(basename "$(readlink /sys/class/net/tap0/master)")"
expect_equal "nothing was refused" "" "$(journal -p warning)"

step "status follows the uplink"
ip route del default
expect_status "virbr10 192.168.100.1/24: 1 guest, no uplink"
ip route add default via 192.168.1.1
expect_status "virbr10 192.168.100.1/24: 1 guest, uplink eth0"

step "reload, with a good file and with a broken one"
check "systemctl reload" service reload
wait_until 5 in_journal 'RELOAD done' || fail "the journal tells of the reload"
expect_equal "it is active after a reload" active "$(service is-active)"
expect_status "virbr10 192.168.100.1/24: 1 guest, uplink eth0"
echo 'nonsense = 1' >>/etc/vmrouter/vm.toml
service reload
if wait_until 5 in_journal 'nonsense' -p err; then ok "the journal has the error as an error"; else fail "the journal has the error as an error"; fi
expect_equal "it is active all the same" active "$(service is-active)"
expect_service g1 "after a bad reload"
if in_journal 'SERVE bridge' -p notice; then fail "information has its own level"; else ok "information has its own level"; fi
cp "$LAB/repo/conf/vm.toml" /etc/vmrouter/vm.toml

step "killed, it is back with its guests"
kill -KILL "$(in_systemd cat "/proc/$pid/status" | awk '/^NSpid:/ { print $2 }')" 2>/dev/null || in_systemd kill -KILL "$pid"
wait_until 10 has_property NRestarts 1 || fail "it is restarted"
wait_until 10 has_property ActiveState active || fail "it is active again"
expect_status "virbr10 192.168.100.1/24: 1 guest, uplink eth0"
expect_service g1 "after a kill"

step "hung, the watchdog ends it and it is back"
printf '[Service]\nWatchdogSec=1\n' >/etc/systemd/system/vmrouter.service.d/watchdog.conf
in_systemd systemctl daemon-reload
check "systemctl restart" service restart
expect_service g1 "after a restart"
sleep 1.5 # longer than the watchdog waits
expect_equal "fed in time, the watchdog does nothing" 0 "$(property NRestarts)"
in_systemd kill -STOP "$(property MainPID)"
wait_until 15 has_property NRestarts 1 || fail "the watchdog restarts it"
wait_until 10 has_property ActiveState active || fail "it is active again"
check "the journal names the watchdog" wait_until 5 in_journal 'Watchdog timeout'
expect_service g1 "after the watchdog"

step "stop"
guest_delete g1
check "systemctl stop" service stop
expect_equal "it is inactive" inactive "$(service is-active || true)"
snapshot_machine "$LAB/after"
sed -i '/^\/run /d; /^\/run\//d' "$LAB/before" "$LAB/after" # systemd's own
expect_same_machine "$LAB/before" "$LAB/after"
expect_equal "nothing is left to undo" "" "$(ls /run/vmrouter)"

step "a wrong file is told and not tried again and again"
echo 'nonsense = 1' >/etc/vmrouter/vm.toml
if service start 2>/dev/null; then fail "a wrong file does not start"; else ok "a wrong file does not start"; fi
expect_equal "its exit status" 2 "$(property ExecMainStatus)"
expect_equal "it is not restarted" failed "$(property ActiveState)"

step "the template, one instance a segment"
printf '[network]\nbridge = "virbr11"\n' >/etc/vmrouter/one.toml
check "systemctl start vmrouter@one" in_systemd systemctl start vmrouter@one
expect_match "its status" '^virbr11 ' "$(in_systemd systemctl show --value -p StatusText vmrouter@one)"
check "systemctl stop vmrouter@one" in_systemd systemctl stop vmrouter@one
check "its bridge is gone" sh -c '! ip link show virbr11'
