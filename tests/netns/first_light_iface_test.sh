#!/bin/bash
# One command, and a device on a spare port has the internet and nothing else; afterwards the machine is as it was.
#
#     inet --- gw --- host --- enp6s0 === switch --- g1 (udhcpc)
#               |       |                      `--- g2 (dhclient)
#              lan    office                   `--- g3 (dhcpcd)
#                                              `--- g4 (static)
. "$(dirname "$0")/lib.sh"

topology_iface
# shellcheck source=SCRIPTDIR/first_light.sh
. "$LAB_DIR/first_light.sh"
snapshot_machine "$LAB/pristine"
control_walk
snapshot_machine "$LAB/before"
expect_same_machine "$LAB/pristine" "$LAB/before"

start_vmrouter --iface enp6s0
first_light
stop_vmrouter TERM
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"
