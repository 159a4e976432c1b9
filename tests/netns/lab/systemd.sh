# shellcheck shell=bash disable=SC2034,SC2154
# The real systemd as process 1 of a PID namespace within the lab, in the network of the host. Part of lib.sh, which documents it.

start_systemd() {
    lab_packages systemd
    # Only what a test asks for is started, nothing of the machine's own is touched: /dev, /tmp and most of /proc/sys are
    # private or read-only in there.
    rm -rf /etc/fstab /etc/systemd/system/*.wants
    ln -sf /dev/null /etc/systemd/system/nftables.service
    printf '[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\n' >/etc/systemd/journald.conf
    mkdir -p "$LAB/cgroup"
    mount -t cgroup2 none "$LAB/cgroup" || skip "no cgroup2 file system"
    LAB_CGROUP=$LAB/cgroup/vmrouter-lab-$$-$RANDOM
    mkdir "$LAB_CGROUP" || skip "no cgroup of its own for systemd"
    trap 'lab_status=$?; stop_systemd; (exit $lab_status); lab_finish' EXIT
    # shellcheck disable=SC2016
    bash -c 'echo $$ >"$1/cgroup.procs" && exec unshare --mount --cgroup --pid --ipc --fork --kill-child --mount-proc -- bash -c "$2"' \
        systemd "$LAB_CGROUP" '
        set -e
        for folder in /lib/systemd/system/*.wants /tmp /var/tmp; do mount -t tmpfs -o mode=1777 lab "$folder"; done
        mount --bind /proc/sys /proc/sys && mount --bind /proc/sys/net /proc/sys/net
        mount -o remount,ro,bind /proc/sys
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        mkdir /tmp/dev && mount -t tmpfs -o mode=755 lab /tmp/dev && cd /tmp/dev
        for node in null zero full random urandom tty; do : >"$node" && mount --bind "/dev/$node" "$node"; done
        mkdir net && : >net/tun && mount --bind /dev/net/tun net/tun
        mkdir pts shm mqueue hugepages && ln -s /proc/self/fd fd && ln -s pts/ptmx ptmx && mount -t devpts -o newinstance devpts pts
        cd / && mount --move /tmp/dev /dev
        printf "[Unit]\nDescription=lab\nDefaultDependencies=no\nRequires=systemd-journald.service\n" >/etc/systemd/system/lab.target
        exec env -i PATH="$PATH" container=lab /lib/systemd/systemd --unit=lab.target --log-target=journal --show-status=no' \
        >"$LAB/systemd.log" 2>&1 &
    LAB_SYSTEMD_START=$!
    wait_until 10 lab_systemd_known && wait_until 20 in_systemd systemctl is-active lab.target ||
        { cat "$LAB/systemd.log" && fail "systemd starts" && exit 1; }
}
lab_systemd_known() { SYSTEMD_PID=$(pgrep -P "$LAB_SYSTEMD_START" -f /lib/systemd/systemd); }
in_systemd() { nsenter --target "$SYSTEMD_PID" --mount --pid --cgroup --ipc -- "$@"; }
stop_systemd() {
    [ -n "${LAB_CGROUP:-}" ] || return 0
    in_systemd journalctl -o short-monotonic >"$LAB/journal.log" 2>&1 || true
    [ "$LAB_FAILED" = 0 ] || tail -40 "$LAB/journal.log"
    kill -KILL "$LAB_SYSTEMD_START" 2>/dev/null || true # the kernel ends what is in its PID namespace
    wait "$LAB_SYSTEMD_START" 2>/dev/null || true
    local try
    for try in 1 2 3 4 5 6 7 8 9 10; do
        find "$LAB_CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null && break
        sleep 0.1
    done
    LAB_CGROUP=""
}
