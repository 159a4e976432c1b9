#!/bin/bash
# The real dockerd beside vmrouter, in both orders. A container is a node on docker0, its rules are dockerd's.
#
#   inet --- gw --- host --+-- virbr10 --- g1
#                          +-- docker0 --- c1 172.17.0.2
. "$(dirname "$0")/lib.sh"
with_docker
topology_bridge
# dockerd sets the policy first and makes DOCKER-USER later; a rule that came in between stands in FORWARD, and serves there.
one_pass() { passes_are "ip filter DOCKER-USER" || passes_are "ip filter FORWARD"; }
expect_pass() { # WHEN
    if wait_until 5 one_pass; then ok "$1: one rule of ours"; else
        fail "$1: there should be one rule of ours, is: $(passes | tr '\n' ' ')"
    fi
}
forwarding() { sysctl -n net.ipv4.ip_forward; }
expect_container() { # WHEN
    step "$1: the container's network"
    expect_reach c1 tcp inet 198.51.100.10 80
}
expect_apart() { # guests and containers
    expect_blocked g1 tcp c1 172.17.0.2 80
    expect_blocked c1 tcp g1 "$(guest_address g1)" 80
}

step "vmrouter first, Docker second"
expect_equal "ip_forward is off" 0 "$(forwarding)"
start_vmrouter --bridge virbr10
guest_add g1
guest_dhcp g1 udhcpc
serve g1 tcp/80
expect_equal "ip_forward stays off" 0 "$(forwarding)"
start_docker
expect_match "dockerd found ip_forward off, so it drops what is not its own" '^-P FORWARD DROP' "$(iptables -S FORWARD)"
expect_equal "dockerd switched ip_forward on" 1 "$(forwarding)"
expect_pass "after Docker came"
expect_service g1 "after Docker came"
expect_bridged g1 "beside Docker"
container_add c1 172.17.0.2
expect_container "with vmrouter"
# A published port as dockerd's `-p 8088:80` writes it: the LAN's packets are forwarded again, now that Docker wants it so.
publish() { # -A or -D
    iptables -t nat "$1" DOCKER ! -i docker0 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.17.0.2:80
    iptables "$1" DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
}
publish -A
expect_published() { # WHEN: what the container saw tells that it was the container
    step "$1: a published port of the container"
    expect_reach lan tcp c1 192.168.1.2 8088
}
expect_published "with vmrouter"
expect_apart

step "Docker goes on working"
check "docker network create" docker network create one
expect_pass "after a network was made"
expect_service g1 "after a network was made"
check "docker network rm" docker network rm one
expect_iptables "beside Docker"
expect_pass "after iptables-restore"
iptables -F
expect_passes "after iptables -F" "ip filter FORWARD"
expect_service g1 "after iptables -F"
stop_docker
start_docker
expect_service g1 "after a restart of Docker"
expect_container "after a restart of Docker"

step "vmrouter stops, Docker stays"
guest_delete g1
stop_vmrouter
expect_passes "after the stop"
expect_equal "ip_forward stays on" 1 "$(forwarding)"
expect_container "after vmrouter's stop"
publish -A
expect_published "after vmrouter's stop"

step "Docker first, vmrouter second"
snapshot_machine "$LAB/before"
start_vmrouter --bridge virbr10
expect_passes "at start" "ip filter DOCKER-USER"
guest_add g1
guest_dhcp g1 udhcpc
serve g1 tcp/80
expect_service g1 "beside Docker"
expect_apart
expect_container "beside vmrouter"
guest_delete g1
stop_vmrouter KILL
run_vmrouter 0 down
expect_passes "after vmrouter down"
expect_container "after vmrouter down"
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"
stop_docker
