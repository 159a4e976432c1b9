# shellcheck shell=bash disable=SC2034,SC2154
# The machine, before and after. Part of lib.sh, which documents it.

# Lines of `sysctl -a` that change by themselves: counters of the kernel, random numbers (tcp_fastopen_key is drawn when the
# first TCP socket listens), and sizes that follow them.
LAB_VOLATILE='^(kernel\.(random|ns_last_pid|pty\.nr|tainted|hostname|sched_)|fs\.(dentry-state|file-nr|inode-nr|inode-state|quota|'
LAB_VOLATILE+='aio-nr|mqueue)|net\.netfilter\.nf_conntrack_count|kernel\.keys\.|vm\.stat|dev\.cdrom|user\.|debug\.|net\.ipv4\.tcp_fastopen_key)'
# What counts down or up in `ip -d link`: the bridge's timers; what follows the carrier of the guests.
LAB_TICKS='s/[a-z_]+_timer +[0-9.]+//g; s/(valid|preferred)_lft [^ ]*//g; s/ linkdown//; s/topology_change [0-9]+//g'
LAB_TICKS+='; s/topology_change_detected [0-9]+//g'

snapshot_machine() {
    {
        echo "== nft" && nft -s list ruleset
        echo "== links" && ip -d link | sed -E "$LAB_TICKS"
        echo "== addresses" && ip addr | sed -E "$LAB_TICKS" | grep -v '^ *$'
        echo "== routes 4" && ip -4 route show table all | sed -E "$LAB_TICKS" | sort
        # The kernel's own entries for multicast and the age of a route say nothing about who set it.
        echo "== routes 6" && ip -6 route show table all | sed -E "$LAB_TICKS; s/expires [0-9]+sec//" | sort
        echo "== rules" && ip -4 rule && ip -6 rule
        # States come and go by themselves; addresses that somebody put there do not.
        echo "== neighbours" && ip neigh show nud permanent && ip -4 neigh show nud all |
            awk '/lladdr/ && !/NOARP/ { print $1, $2, $3, $4, $5 }' | sort
        echo "== tc" && tc qdisc | sort
        local link
        for link in /sys/class/net/*; do
            tc filter show dev "${link##*/}" 2>/dev/null || true
            tc filter show dev "${link##*/}" ingress 2>/dev/null || true
        done
        echo "== bridge" && bridge -d link | sed -E "$LAB_TICKS" && bridge vlan && bridge fdb | grep -E 'permanent|static' | sort
        echo "== sysctl" && sysctl -a 2>/dev/null | grep -vE "$LAB_VOLATILE"
        echo "== /run" && find /run -path /run/netns -prune -o -printf '%p %y %m %u %s\n' | sort
    } >"$1"
}
snapshot_quick() { # what vmrouter itself changes, in a tenth of the time: for tests with many rounds
    {
        nft -s list ruleset
        ip -d link | sed -E "$LAB_TICKS"
        ip addr | sed -E "$LAB_TICKS"
        ip route show table all | grep -v '^broadcast' | sed -E "$LAB_TICKS" | sort
        ip -6 route show table all | grep -vE 'fe80|ff00|multicast' | sed -E "$LAB_TICKS; s/expires [0-9]+sec//" | sort
        ip rule
        grep -H . /proc/sys/net/ipv[46]/conf/*/* 2>/dev/null | grep -vE 'stable_secret|mc_forwarding'
        find /run -path /run/netns -prune -o -print | sort
    } >"$1" 2>/dev/null || true
}
expect_same_machine() {
    if diff -U1 "$1" "$2" >"$LAB/machine.diff"; then ok "the machine is as it was found"; else
        fail "the machine is as it was found"
        head -80 "$LAB/machine.diff"
    fi
}
