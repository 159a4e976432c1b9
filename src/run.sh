#!/bin/bash
# From a fresh Debian 12 to a running router:
#
#   sudo ./src/run.sh                     a bridge for VMs, as conf/vm.toml says
#   sudo ./src/run.sh --iface enp6s0      a device on a spare Ethernet port
#   ./src/run.sh check my.toml            any other command of vmrouter; those that need no root work without
#
# Installs the packages that are missing, builds what has changed, and becomes vmrouter with the given arguments.
set -euo pipefail
# shellcheck source=SCRIPTDIR/setup.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/setup.sh"

case ${1:-} in
    -h | --help) # before anything is installed or built, this script's own
        if [ ! -x "$repo/build/release/src/vmrouter" ]; then
            sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
        fi
        ;;
esac

install_packages "${build_packages[@]}"
build release vmrouter
[ "$#" -gt 0 ] || set -- --config "$repo/conf/vm.toml"
if [ "$(id -u)" != 0 ]; then
    say "not root: serving guests needs root (bridge, firewall, ports 53 and 67): sudo $0 $*"
fi
say "starting vmrouter $*"
exec "$repo/build/release/src/vmrouter" "$@"
