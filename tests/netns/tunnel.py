#!/usr/bin/env python3
"""tunnel.py NAME NODE PEER: a point-to-point device NAME here whose other end is the device PEER of network namespace NODE.

Both are TUN devices, like a VPN's: no Ethernet, no ARP, no gateway."""
import fcntl
import os
import select
import struct
import sys

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def device(name):
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def enter(namespace):
    import ctypes
    with open(namespace) as other:
        if ctypes.CDLL(None, use_errno=True).setns(other.fileno(), CLONE_NEWNET) != 0:
            sys.exit(f"cannot enter {namespace}")


name, node, peer = sys.argv[1:]
here = device(name)
enter(f"/run/netns/{node}")
there = device(peer)
print("open", flush=True)
while True:
    for ready in select.select([here, there], [], [])[0]:
        try:
            os.write(there if ready == here else here, os.read(ready, 65536))
        except OSError:  # the other end is down
            pass
