#!/usr/bin/env python3
"""Reads a log of `strace -f -y` and prints the system calls that change the machine or the record of changes, one a line:
CALL NUMBER KIND, where NUMBER counts the calls of that name in the first thread (as strace's inject=CALL:when=NUMBER
does) and KIND says what is changed, without numbers and names that differ from call to call.

    kill_points.py LOG [first]      first: of each kind the first one and the last one only
"""

import re
import sys

CHANGES = {"sendmsg", "sendto", "write", "openat", "bind", "ftruncate", "rename", "unlink", "unlinkat", "rmdir", "mkdir", "chmod"}
MESSAGE = re.compile(r"nlmsg_type=([A-Z0-9_<|a-z]+)")
PLAIN_FILES = re.compile(r"^(/tmp/.*\.log|/memfd:.*|pipe:.*|anon_inode:.*|socket:.*|/dev/.*)$")


def kind_of_path(path):
    """The same word for all settings, all temporary files ... of a sort."""
    if path.startswith("/proc/sys/"):
        return "setting-" + path.rsplit("/", 1)[1]
    return re.sub(r"^/(run|var/lib)/vmrouter/(virbr10|enp6s0)", r"/\1/vmrouter/NAME", path)


def kind_of_message(line):
    """What a netlink message asks for, or None when it only reads."""
    types = [one.replace("NFNL_SUBSYS_", "").replace("<<8|", ".") for one in MESSAGE.findall(line)]
    if any(one.startswith("NFNL_MSG_BATCH") for one in types):
        return "nft-batch"
    changes = [one for one in types if re.search(r"NEW|DEL|SET", one) and "GET" not in one]
    return "+".join(sorted(set(changes))) or None


def kind_of(call, arguments):
    """None: this call changes nothing that lasts."""
    if call not in CHANGES:
        return None
    if call in ("sendmsg", "sendto"):
        return kind_of_message(arguments)
    if call == "write":
        path = re.match(r"\d+<([^>]*)>", arguments)
        if path is None or PLAIN_FILES.match(path.group(1)):
            return None
        return kind_of_path(path.group(1))
    if call == "openat":
        path = re.search(r'"([^"]*)"', arguments)
        return kind_of_path(path.group(1)) if path and "O_CREAT" in arguments else None
    if call == "bind":
        return "socket-file" if "AF_UNIX" in arguments and 'sun_path="' in arguments else None
    if call == "ftruncate":
        return "size"
    paths = re.findall(r'"([^"]*)"', arguments)
    if not paths or "EEXIST" in arguments or "ENOENT" in arguments:
        return None
    return kind_of_path(paths[-1])


def points(log):
    """(CALL, NUMBER, KIND) in order."""
    counts, first = {}, None
    for line in log:
        match = re.match(r"(\d+) +([a-z0-9_]+)\((.*)", line)
        if match is None:
            continue
        thread, call, arguments = match.groups()
        first = first or thread
        if thread != first:
            continue
        counts[call] = counts.get(call, 0) + 1
        kind = kind_of(call, arguments)
        if kind is not None:
            yield call, counts[call], kind


def ends_of_kinds(every):
    """The first and the last of each kind, in order."""
    ends = {}
    for at, (call, _, kind) in enumerate(every):
        begin, _ = ends.get((call, kind), (at, at))
        ends[call, kind] = (begin, at)
    return [every[at] for at in sorted({at for pair in ends.values() for at in pair})]


def main():
    with open(sys.argv[1], encoding="utf-8", errors="replace") as log:
        every = list(points(log))
    for call, number, kind in ends_of_kinds(every) if sys.argv[2:] == ["first"] else every:
        print(call, number, kind.replace(" ", "_"))


main()
