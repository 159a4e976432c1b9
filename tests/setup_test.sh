#!/bin/bash
# src/setup.sh with stand-ins for apt-get and dpkg-query: what is installed when, and what is said.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
export work
failed=0

expect() { # TEXT REGEX FOUND
    if grep -qE -- "$2" <<<"$3"; then echo "ok - $1"; else echo "NOT OK - $1: nothing matches '$2' in '$3'" && failed=1; fi
}
stand_in() { # NAME: a program whose text is on stdin
    { echo '#!/bin/sh' && cat; } >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}
with_setup() { # COMMANDS: what a script that sources setup.sh says, and its status
    local status=0
    PATH=$work/bin:$PATH bash -euo pipefail -c ". '$here/../src/setup.sh'; $1" script 2>&1 || status=$?
    echo "status $status"
}
stand_in dpkg-query <<<'printf "ii  g++\nii  cmake\nrc  udhcpc\nhi  held\n"'
stand_in apt-get <<<'echo "$@" >>"$work/apt"'
stand_in id <<<'echo 0'

said=$(with_setup 'install_packages g++ cmake held')
expect "nothing is missing, nothing is said" '^status 0$' "$said"
expect "... and apt-get is not run" '^none$' "$(cat "$work/apt" 2>/dev/null || echo none)"

said=$(with_setup 'install_packages g++ udhcpc catch2')
expect "what is missing is named (a removed package is missing)" 'installing 2 packages: udhcpc catch2$' "$said"
expect "the lists are read" 'update$' "$(head -1 "$work/apt")"
expect "only what is missing is installed, without questions" 'install -y --no-install-recommends udhcpc catch2$' "$(tail -1 "$work/apt")"

stand_in id <<<'echo 1000'
said=$(with_setup 'install_packages udhcpc')
expect "without root: what to type" 'as root: apt-get install --no-install-recommends udhcpc' "$said"
expect "without root: status 1" '^status 1$' "$said"

stand_in id <<<'echo 0'
stand_in apt-get <<<'echo "E: Unable to locate package"; exit 100'
said=$(with_setup 'install_packages udhcpc')
expect "apt-get's own words are shown" '^E: Unable to locate' "$said"
expect "a failed installation names the packages" 'could not install: udhcpc' "$said"
expect "a failed installation ends the script" '^status 1$' "$said"

# Packages of the lab: a tree each, complete or not there at all.
mkdir -p "$work/tree/usr/bin" "$work/tree/lib" && touch "$work/tree/usr/bin/tool" "$work/tree/lib/library"
tar -C "$work/tree" -cf "$work/tool.tar" .
stand_in apt-get <<'EOF'
case $* in
    *--simulate*) printf 'Inst tool (1 Debian [amd64])\nConf tool (1 Debian [amd64])\n' ;;
    *download*) [ ! -e "$work/offline" ] || { echo "E: no network" && exit 100; }; touch tool_1_amd64.deb ;;
esac
EOF
stand_in dpkg-deb <<<'cat "$work/tool.tar"'
touch "$work/offline"
said=$(with_setup 'repo=$work; fetch_lab_packages tool; ls build/lab-packages/tool/.complete "$work/build/lab-packages/tool/.complete"')
expect "what cannot be fetched is said" 'could not fetch tool; its tests are skipped' "$said"
expect "... and leaves nothing that looks complete" "cannot access '$work/build/lab-packages/tool/.complete'" "$said"
rm "$work/offline"
said=$(with_setup 'repo=$work; fetch_lab_packages tool')
expect "a package of the lab is unpacked" '^tool$' "$(ls "$work/build/lab-packages/tool/usr/bin")"
expect "... /lib is a link into /usr" '^library$' "$(ls "$work/build/lab-packages/tool/usr/lib")"
expect "... and is fetched once" '^status 0$' "$(with_setup 'repo=$work; fetch_lab_packages tool' | head -1)"

said=$(with_setup 'silence=1; with_progress "thinking" sleep 2.5')
expect "silence is broken" 'thinking, [12] s so far' "$said"
said=$(with_setup 'with_progress "x" sh -c "echo [1/9] a; echo [2/9] b; echo problem; exit 3" || echo "gave $?"')
expect "progress is thinned out" '^\[1/9\] a$' "$said"
expect "... what is no progress is shown" '^problem$' "$said"
expect "... the second line of progress is not" '^no$' "$(grep -q '2/9' <<<"$said" && echo yes || echo no)"
expect "the status is the command's" '^gave 3$' "$said"
expect "at least one job" '^[1-9][0-9]*$' "$(with_setup build_jobs)"
exit "$failed"
