#!/usr/bin/env python3
"""Lets the timer by which vmrouter hears of a sleep run out: `wake.py PID`. The end of a sleep cancels it, which nothing but setting
the clock of the whole machine could do in a test."""

import ctypes
import os
import sys

PIDFD_GETFD = 438
TIMER_ABSTIME = 1


class Timerspec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("interval", "interval_ns", "seconds", "nanoseconds")]


def main():
    pid = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    folder = f"/proc/{pid}/fd"
    timers = []
    for fd in os.listdir(folder):
        if os.readlink(f"{folder}/{fd}") != "anon_inode:[timerfd]":
            continue
        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as info:
            if "clockid: 0" in info.read().splitlines():  # the wall clock's
                timers.append(int(fd))
    if len(timers) != 1:
        sys.exit(f"{len(timers)} timers of the wall clock in {pid}")
    copy = libc.syscall(PIDFD_GETFD, os.pidfd_open(pid), timers[0], 0)
    if copy < 0:
        sys.exit(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    if libc.timerfd_settime(copy, TIMER_ABSTIME, ctypes.byref(Timerspec(0, 0, 1, 0)), None) != 0:
        sys.exit(f"timerfd_settime: {os.strerror(ctypes.get_errno())}")


main()
