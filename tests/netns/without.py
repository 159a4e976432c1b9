#!/usr/bin/env python3
"""Runs a command on a kernel that lacks something: `without.py nftables COMMAND...`.

A seccomp filter makes socket(AF_NETLINK, *, NETLINK_NETFILTER) fail with EPROTONOSUPPORT, as a kernel built without
nfnetlink does. The filter stays for the command and its children.
"""
import ctypes
import os
import platform
import struct
import sys

SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
AF_NETLINK, NETLINK_NETFILTER, EPROTONOSUPPORT = 16, 12, 93
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
NUMBER, ARGUMENT_0, ARGUMENT_2 = 0, 16, 32  # offsets in struct seccomp_data (little-endian low words)
ALLOW, ERRNO = 0x7FFF0000, 0x00050000

PROGRAM = [
    (LOAD, 0, 0, NUMBER), (JUMP_EQUAL, 0, 5, SOCKET),
    (LOAD, 0, 0, ARGUMENT_0), (JUMP_EQUAL, 0, 3, AF_NETLINK),
    (LOAD, 0, 0, ARGUMENT_2), (JUMP_EQUAL, 0, 1, NETLINK_NETFILTER),
    (RETURN, 0, 0, ERRNO | EPROTONOSUPPORT),
    (RETURN, 0, 0, ALLOW),
]


def main(what, command):
    if what != "nftables":
        sys.exit(__doc__)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in PROGRAM))
    program = struct.pack("HxxxxxxP", len(PROGRAM), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
        sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
