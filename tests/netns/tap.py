#!/usr/bin/env python3
"""A guest on a tap, as QEMU sees one: what the kernel says about the checksum of each frame is in the header before it.

  tap.py exchange TAP MAC [offload] [broadcast]   DISCOVER and REQUEST; prints a line for each reply
  tap.py listen TAP MAC ADDRESS [offload]         answers ARP for ADDRESS; prints a line for each UDP datagram to port 68
  tap.py wire TAP FILE DEVICE                     holds TAP open, as QEMU does, and carries its frames to and from DEVICE, which it makes in
                                                  the network namespace FILE: a guest with a stack of its own

With `offload` the guest has a card that completes checksums (virtio): it sends its own frames unfinished, and the kernel
may hand it such. Without, it has none (e1000, PXE firmware). A line is

  OFFER 192.168.100.23 to 52:54:00:00:00:01 flags=0 ip=ok udp=ok

where flags=1 (VIRTIO_NET_HDR_F_NEEDS_CSUM) means that whoever reads the bytes and does not complete them finds udp=WRONG.
The bytes are judged as they lie, as firmware and clients with packet sockets do.
"""
import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import sys
import time

TUNSETIFF, TUNSETOFFLOAD, TUN_F_CSUM = 0x400454CA, 0x400454D0, 1
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
NEEDS_CSUM = 1
HEADER = 10  # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
NAMES = {2: "OFFER", 5: "ACK", 6: "NAK"}
BROADCAST = b"\xff" * 6


def folded(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[:len(data) & ~1])) + (data[-1] << 8 if len(data) & 1 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def open_tap(name, offload):
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM if offload else 0)
    return tap


def message(kind, mac, xid, broadcast, options):
    fixed = struct.pack("!BBBBIHH16x", 1, 1, 6, 0, xid, 0, 0x8000 if broadcast else 0) + mac + bytes(10 + 192)
    return (fixed + b"\x63\x82\x53\x63" + bytes([53, 1, kind]) + options + b"\xff").ljust(300, b"\0")


def frame(mac, payload, offload):
    length = 8 + len(payload)
    source, target = bytes(4), b"\xff" * 4
    pseudo = source + target + struct.pack("!BBH", 0, 17, length)
    udp = struct.pack("!HHHH", 68, 67, length, 0) + payload
    # Unfinished: the sum of the pseudo header only, to be completed by a device that may never see the frame.
    checksum = folded(pseudo) if offload else 0xFFFF - folded(pseudo + udp)
    udp = udp[:6] + struct.pack("!H", checksum) + udp[8:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, 17, 0) + source + target
    ip = ip[:10] + struct.pack("!H", 0xFFFF - folded(ip)) + ip[12:]
    header = struct.pack("=BBHHHH", NEEDS_CSUM, 0, 34, 0, 34, 6) if offload else bytes(HEADER)
    return header + BROADCAST + mac + b"\x08\x00" + ip + udp


def options_of(payload):
    found, at = {}, 240
    while at + 1 < len(payload) and payload[at] != 255:
        if payload[at] == 0:
            at += 1
            continue
        found[payload[at]] = payload[at + 2:at + 2 + payload[at + 1]]
        at += 2 + payload[at + 1]
    return found


def describe(data):
    """(line, payload) of a UDP datagram to port 68, or None."""
    flags, ethernet = data[0], data[HEADER:]
    if len(ethernet) < 42 or ethernet[12:14] != b"\x08\x00" or ethernet[23] != 17:
        return None
    ip = ethernet[14:14 + struct.unpack("!H", ethernet[16:18])[0]]
    header, udp = ip[:(ip[0] & 15) * 4], ip[(ip[0] & 15) * 4:]
    if struct.unpack("!H", udp[2:4])[0] != 68:
        return None
    pseudo = ip[12:20] + struct.pack("!BBH", 0, 17, len(udp))
    judged = "none" if udp[6:8] == b"\0\0" else "ok" if folded(pseudo + udp) == 0xFFFF else "WRONG"
    payload = udp[8:]
    kind = NAMES.get((options_of(payload).get(53) or b"\0")[0], "DATA") if len(payload) > 240 else "DATA"
    address = socket.inet_ntoa(payload[16:20]) if kind != "DATA" else "-"
    to = ":".join(f"{byte:02x}" for byte in ethernet[:6])
    ip_sum = "ok" if folded(header) == 0xFFFF else "WRONG"
    return f"{kind} {address} to {to} flags={flags} ip={ip_sum} udp={judged}", payload


def replies(tap, seconds):
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if not select.select([tap], [], [], left)[0]:
            return
        yield os.read(tap, 4096)


def exchange(tap, mac, offload, broadcast):
    xid, asked = int.from_bytes(os.urandom(4), "big"), b""
    for kind, wanted in ((1, "OFFER"), (3, "ACK")):
        for _ in range(5):  # a port may be deaf for a moment, and packets may be lost
            os.write(tap, frame(mac, message(kind, mac, xid, broadcast, asked), offload))
            found = None
            for data in replies(tap, 2):
                found = describe(data)
                if found and struct.unpack("!I", found[1][4:8])[0] == xid and found[0].startswith(wanted):
                    break
                found = None
            if found:
                break
        else:
            sys.exit(f"no {wanted}")
        print(found[0], flush=True)
        asked = bytes([50, 4]) + found[1][16:20] + bytes([54, 4]) + options_of(found[1])[54]


def listen(tap, mac, address):
    ours = socket.inet_aton(address)
    print("listening", flush=True)
    for data in replies(tap, 60):
        ethernet = data[HEADER:]
        if ethernet[12:14] == b"\x08\x06" and ethernet[20:22] == b"\0\1" and ethernet[38:42] == ours:
            answer = ethernet[22:28] + mac + ethernet[12:20] + b"\0\2" + mac + ours + ethernet[22:32]
            os.write(tap, bytes(HEADER) + answer)
        elif found := describe(data):
            print(found[0], flush=True)


def wire(name, file, device):
    def attach(device):
        tap = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TAP | IFF_NO_PI))
        return tap

    host = attach(name)
    with open(file, encoding="ascii") as space:
        if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), 0) != 0:
            sys.exit(os.strerror(ctypes.get_errno()))
    guest = attach(device)
    print("wired", flush=True)
    while True:
        for end in select.select([host, guest], [], [])[0]:
            try:
                os.write(guest if end == host else host, os.read(end, 65536))
            except OSError as error:  # an end that is down loses frames; one that is gone ends the wire
                if error.errno == errno.EBADFD:
                    sys.exit("the tap is gone")


def main():
    if sys.argv[1] == "wire":
        wire(*sys.argv[2:])
    what, name, mac, *rest = sys.argv[1:]
    tap, hardware = open_tap(name, "offload" in rest), bytes.fromhex(mac.replace(":", ""))
    if what == "exchange":
        exchange(tap, hardware, "offload" in rest, "broadcast" in rest)
    else:
        listen(tap, hardware, rest[0])


main()
