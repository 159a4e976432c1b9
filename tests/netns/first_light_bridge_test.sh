#!/bin/bash
# One command, and guests on a bridge have the internet and nothing else; afterwards the machine is as it was.
#
#     inet --- gw --- host --- virbr10 --- vnet1 g1 (udhcpc)
#               |       |            `---- vnet2 g2 (dhclient)
#              lan    office         `---- vnet3 g3 (dhcpcd)
#                                    `---- vnet4 g4 (static)
. "$(dirname "$0")/lib.sh"

topology_bridge
# shellcheck source=SCRIPTDIR/first_light.sh
. "$LAB_DIR/first_light.sh"
snapshot_machine "$LAB/pristine"
control_walk
snapshot_machine "$LAB/before"
expect_same_machine "$LAB/pristine" "$LAB/before"

start_vmrouter --config "$LAB_REPO/conf/vm.toml"
first_light
stop_vmrouter TERM
snapshot_machine "$LAB/after"
expect_same_machine "$LAB/before" "$LAB/after"
