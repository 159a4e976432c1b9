#!/usr/bin/env python3
"""Who may know whom: reads the #include lines and complains about those that cross a layer the wrong way.

The floor (src/base) knows itself. The siblings (conf, dhcp, dns, firewall, src/link) know themselves and the floor, never each
other. The roof (the rest of src) knows everybody. A core (what the CMake targets *_core compile, and every header of ours
that this includes) touches nothing of the world: no Asio, no sockets, no files, no clock, no logging.

  layers.py           check; status 1 and a line FILE:LINE for each offence
  layers.py --cores   print the files of the cores
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIBLINGS = ("conf", "dhcp", "dns", "firewall", "src/link")
FLOOR = "src/base"
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')

WORLD_HEADERS = re.compile(
    r"^(asio|spdlog|fmt|sys/(socket|ioctl|epoll|stat|mman|un|time|uio|wait|signalfd|timerfd|eventfd)|netinet/|net/|arpa/|linux/|"
    r"netlink/|nftables/|ares|unistd|fcntl|poll|netdb|signal|fstream|iostream|filesystem|thread|mutex|ctime|time\.h|cstdio|stdio|"
    r"random$)")
WORLD_OF_OURS = ("src/base/log.hpp", "src/base/file.hpp", "src/base/random.cpp")
WORLD_CALLS = re.compile(r"(_clock::now|\bstd::time\(|\bgettimeofday\(|\bgetenv\(|\bstd::rand\(|\bgetrandom\()")


def layer(path):
    for name in (*SIBLINGS, FLOOR):
        if path.startswith(name + "/"):
            return name
    return "roof" if path.startswith("src/") else "tests"


def includes(path):
    for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found.group(1), found.group(2)


def sources():
    for folder in ("src", "conf", "dhcp", "dns", "firewall"):
        for path in sorted((ROOT / folder).rglob("*.[ch]pp")):
            yield str(path.relative_to(ROOT))


def cores():
    """Sources of the targets *_core, and what of ours they include."""
    commands = json.loads((ROOT / "build/dev/compile_commands.json").read_text())
    wait = [str(pathlib.Path(c["file"]).relative_to(ROOT)) for c in commands if "_core.dir/" in c["command"]]
    found = set()
    while wait:
        path = wait.pop()
        if path not in found:
            found.add(path)
            wait += [quoted for _, quoted, _ in includes(path) if quoted and (ROOT / quoted).is_file()]
    return sorted(found)


def layer_offences():
    for path in sources():
        own = layer(path)
        for number, quoted, _ in includes(path):
            if not quoted:
                continue
            if not (ROOT / quoted).is_file():
                yield f'{path}:{number}: "{quoted}": includes of ours are written from the repository root'
            elif own != "roof" and layer(quoted) not in (own, FLOOR):
                yield f"{path}:{number}: {own} must not know {quoted} ({layer(quoted)})"


def core_offences():
    for path in cores():
        for number, quoted, angled in includes(path):
            if quoted in WORLD_OF_OURS or (angled and WORLD_HEADERS.match(angled)):
                yield f"{path}:{number}: a core must not include {quoted or angled}"
        if layer(path) == FLOOR:
            continue  # the clock's own header is where the world begins
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            call = WORLD_CALLS.search(line.split("//")[0])
            if call:
                yield f"{path}:{number}: a core must not call {call.group(1)} (time and randomness are passed in)"


def main():
    if "--cores" in sys.argv:
        print("\n".join(cores()))
        return 0
    offences = [*layer_offences(), *core_offences()]
    print("\n".join(offences), end="\n" if offences else "")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
