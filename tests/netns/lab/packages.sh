# shellcheck shell=bash disable=SC2034,SC2154
# Programs of Debian packages that are not installed. Part of lib.sh, which documents it.

LAB_PACKAGES=${LAB_PACKAGES:-$LAB_REPO/build/lab-packages}
lab_packages() {
    local name over=""
    for name in "$@"; do
        [ -e "$LAB_PACKAGES/$name/.complete" ] || skip "the package $name is not in $LAB_PACKAGES (tests/run.sh fetches it)"
        over+=$LAB_PACKAGES/$name/usr:
    done
    # Mounted from a short path without the characters that separate a mount's options.
    mkdir -p "$LAB/packages"
    mount --bind "$LAB_PACKAGES" "$LAB/packages"
    over=${over//"$LAB_PACKAGES"/"$LAB/packages"}
    # Writable, for what a package's own installation would still do.
    mkdir -p "$LAB/over/upper" "$LAB/over/work"
    mount -t overlay -o "lowerdir=$over/usr,upperdir=$LAB/over/upper,workdir=$LAB/over/work" lab-packages /usr ||
        skip "this kernel has no overlay file system"
    for name in "$@"; do
        cp -a --no-preserve=ownership "$LAB_PACKAGES/$name/etc/." /etc/
        [ ! -d "$LAB_PACKAGES/$name/var/lib" ] || cp -a --no-preserve=ownership "$LAB_PACKAGES/$name/var/lib/." /var/lib/
    done
    hash -r
}
lab_user() {
    getent group "$1" >/dev/null || groupadd --system "$1"
    getent passwd "$1" >/dev/null ||
        useradd --system --gid "$1" --no-create-home --shell /usr/sbin/nologin ${2:+--uid "$2"} "$1"
}
