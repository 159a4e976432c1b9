#!/usr/bin/env python3
"""Reads a log of `strace -f -y` and prints the system calls that change the machine or the record of changes, one a line:
CALL NUMBER KIND, where NUMBER counts the calls of that name in the first thread (as strace's inject=CALL:when=NUMBER
does) and KIND says what is changed, without numbers and names that differ from call to call.

    kill_points.py LOG              every one
    kill_points.py LOG OTHER...     one of each kind that the other logs do not have, from all parts of the life
"""

import re
import sys

CHANGES = {"sendmsg", "sendto", "write", "openat", "bind", "ftruncate", "rename", "unlink", "unlinkat", "rmdir", "mkdir", "chmod"}
MESSAGE = re.compile(r"nlmsg_type=([A-Z0-9_<|a-z]+)")
PLAIN_FILES = re.compile(r"^(/tmp/.*\.log|/memfd:.*|pipe:.*|anon_inode:.*|socket:.*|/dev/.*)$")


def kind_of_path(path):
    """The same word for all settings, all temporary files ... of a sort."""
    if path.startswith("/proc/sys/"):
        return "setting"
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
        if "ERESTART" in arguments:  # the kernel was busy, and asks to be called again
            continue
        kind = kind_of(call, arguments)
        if kind is not None:
            yield call, counts[call], kind


def read(path):
    with open(path, encoding="utf-8", errors="replace") as log:
        return list(points(log))


def one_of_each(every, others):
    """In order; which of a kind is another one from kind to kind."""
    seen = {(call, kind) for path in others for call, _, kind in read(path)}
    kinds = {}
    for point in every:
        if (point[0], point[2]) not in seen:
            kinds.setdefault((point[0], point[2]), []).append(point)
    chosen = [group[at * 5 % len(group)] for at, group in enumerate(kinds.values())]
    return [point for point in every if point in chosen]


def main():
    every = read(sys.argv[1])
    for call, number, kind in one_of_each(every, sys.argv[2:]) if len(sys.argv) > 2 else every:
        print(call, number, kind.replace(" ", "_"))


main()
