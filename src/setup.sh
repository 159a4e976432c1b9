# shellcheck shell=bash disable=SC2034
# What src/run.sh and tests/run.sh share: which Debian packages are needed, how they are installed, how a preset is built.
# Sourced; sets `repo`. Everything here says what it does, and is silent for 20 seconds at most.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
repo_owner=$(stat -c %u "$repo")

# To compile, and to run what was compiled.
build_packages=(
    g++ cmake ninja-build pkg-config
    libasio-dev libc-ares-dev libcap-ng-dev libcli11-dev libfmt-dev libncurses-dev libnftables-dev
    libnl-3-dev libnl-route-3-dev libnl-nf-3-dev libpcap-dev libseccomp-dev libspdlog-dev libtomlplusplus-dev nlohmann-json3-dev
)

# To test: the frameworks, what checks the sources, and the real clients and servers of the lab.
test_packages=(
    catch2 clang-format clang-tidy shellcheck python3 python3-toml
    mandoc groff-base man-db bsdextrautils libxml2-utils
    iproute2 procps util-linux iputils-ping iputils-arping curl strace tcpdump
    udhcpc isc-dhcp-client dhcpcd-base dnsmasq-base bind9-dnsutils
    nftables iptables bridge-utils conntrack ethtool socat dbus-daemon dbus-system-bus-common tmux
)

# Programs that the lab runs and that must not be installed on anybody's machine for a test, since they bring services that take
# the machine over: unpacked, each with what it depends on, below build/lab-packages (see fetch_lab_packages).
lab_packages=(
    qemu-system-x86 ipxe-qemu passt isc-dhcp-relay
    ufw firewalld docker.io network-manager ifupdown systemd systemd-resolved prometheus tshark libvirt-clients libvirt-daemon
    zsh fish
)

say() { echo "[$(basename "$0")] $*"; }
die() {
    echo "[$(basename "$0")] $*" >&2
    exit 1
}

# Runs COMMAND and shows what it says: every line of interest at once, of ninja's, CTest's and apt's progress one line in three
# seconds, and a sign of life when it is silent.
with_progress() { # WHAT COMMAND...
    local what=$1 line shown=-9 status
    shift
    local from pid began=$SECONDS
    exec {from}< <("$@" 2>&1 </dev/null)
    pid=$!
    while true; do
        if IFS= read -r -t "${silence:-20}" -u "$from" line; then
            case $line in
                *"netns."*Passed* | *" Test "*Failed* | *" Test "*Skipped*) ;;
                "["*/*"] "* | *" Test "*Passed* | Get:* | Unpacking\ * | Selecting\ * | Preparing\ * | "Setting up "*)
                    [ $((SECONDS - shown)) -ge 3 ] || continue
                    shown=$SECONDS
                    ;;
                "(Reading database"* | "Internal ctest"* | *"   Start "* | "") continue ;;
            esac
            echo "$line"
        else
            status=$?
            [ "$status" -gt 128 ] || break # the end of its output
            echo "  ... $what, $((SECONDS - began)) s so far"
        fi
    done
    exec {from}<&-
    status=0
    wait "$pid" || status=$?
    return "$status"
}

packages_missing() { # PACKAGE...: prints those that are not installed
    local installed
    installed=$(dpkg-query --show --showformat '${db:Status-Abbrev} ${Package}\n' 2>/dev/null | awk '/^.i/ { print $2 }')
    printf '%s\n' "$@" | grep -vxF "$installed" || true
}

install_packages() { # PACKAGE...
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "this is not Debian: install what these Debian 12 packages hold by your system's means: $*"
        return 0
    fi
    local missing
    mapfile -t missing < <(packages_missing "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        die "missing packages; as root: apt-get install --no-install-recommends ${missing[*]}"
    fi
    say "installing ${#missing[@]} packages: ${missing[*]}"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    with_progress "apt-get update" "${apt[@]}" update || say "apt-get update failed; trying with the lists that are there"
    with_progress "apt-get install" "${apt[@]}" install -y --no-install-recommends "${missing[@]}" ||
        die "apt-get could not install: ${missing[*]}
  hint: vmrouter is made for Debian 12 (bookworm); this is $(. /etc/os-release && echo "$PRETTY_NAME")"
}

# The packages of the lab, each as a tree build/lab-packages/NAME with all that it depends on and the machine has not installed;
# `lab_packages NAME` in a lab test lays it over that test's own /usr and /etc. Nothing is installed. Needs no root. What
# cannot be fetched is said, and its test says that it is skipped.
fetch_lab_packages() { # PACKAGE...
    local store=$repo/build/lab-packages name
    command -v dpkg-deb >/dev/null && command -v apt-get >/dev/null || return 0
    as_owner mkdir -p "$store"
    for name in "$@"; do
        [ ! -e "$store/$name/.complete" ] || continue
        say "fetching $name for the lab (unpacked in build/lab-packages, not installed)"
        with_progress "fetching $name" fetch_lab_package "$store" "$name" || say "could not fetch $name; its tests are skipped"
    done
}
fetch_lab_package() { # STORE PACKAGE
    local root=$1/$2 debs=$1/$2.debs list package file folder
    list=$(apt-get install --simulate --no-install-recommends "$2") || { echo "$list" && return 1; }
    mapfile -t list < <(awk '/^Inst / { print $2 }' <<<"$list")
    [ "${#list[@]}" -gt 0 ] || list=("$2") # it is installed here; its tree then holds the same
    rm -rf "$root" "$debs" && mkdir "$debs"
    # The machine has /bin and /lib as links into /usr, and so has the tree.
    mkdir -p "$root"/{etc,usr/bin,usr/sbin,usr/lib,usr/lib64} && ln -s usr/bin usr/sbin usr/lib usr/lib64 "$root"
    (cd "$debs" && apt-get -o Acquire::Retries=3 -o APT::Sandbox::User=root -q download "${list[@]}") || return 1
    for package in "${list[@]}"; do
        for file in "$debs/${package%%:*}"_*.deb; do
            echo "unpacking ${file##*/}"
            dpkg-deb --fsys-tarfile "$file" | tar -x --keep-directory-symlink --no-same-owner -C "$root" || return 1
        done
    done
    for folder in "$root" "$root/etc" "$root/usr"; do chmod 755 "$folder"; done
    rm -rf "$debs"
    touch "$root/.complete"
}

# In a user's checkout the compiler runs as that user, also under sudo: root leaves nothing behind that the user cannot change.
as_owner() {
    if [ "$(id -u)" = 0 ] && [ "$repo_owner" != 0 ] && "${owner[@]}" test -w "$repo"; then "${owner[@]}" "$@"; else "$@"; fi
}
owner=(setpriv "--reuid=$repo_owner" "--regid=$(stat -c %g "$repo")" --clear-groups)
give_back_build() {
    [ "$(id -u)" != 0 ] || [ "$repo_owner" = 0 ] || [ ! -d "$repo/build" ] ||
        find "$repo/build" -uid 0 -exec chown --no-dereference "$repo_owner:$(stat -c %g "$repo")" {} +
}

# A compiler with sanitizers and Asio takes about 1.2 GB.
build_jobs() {
    local cpus fit
    cpus=$(nproc)
    fit=$(awk '/^MemAvailable/ { print int($2 / 1200000) }' /proc/meminfo)
    [ "$fit" -ge 1 ] || fit=1
    echo "$((fit < cpus ? fit : cpus))"
}

build() { # PRESET TARGET...
    local preset=$1 folder="$repo/build/$1" jobs
    shift
    give_back_build
    # CMake refuses a folder that was configured elsewhere (a checkout that was moved or copied).
    if [ -f "$folder/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$repo" "$folder/CMakeCache.txt"; then
        say "build/$preset was configured for another folder: starting anew"
        rm -rf "$folder"
    fi
    if [ ! -f "$folder/build.ninja" ]; then
        say "configuring build/$preset"
        with_progress configuring as_owner cmake --preset "$preset" -S "$repo" --log-level=NOTICE || die "cmake failed"
    fi
    jobs=$(build_jobs)
    say "building build/$preset ($jobs at a time; the first time takes some minutes)"
    with_progress building as_owner cmake --build "$folder" --parallel "$jobs" --target "$@" || die "the build failed"
}
