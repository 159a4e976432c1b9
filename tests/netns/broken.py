#!/usr/bin/env python3
"""Breaks something while vmrouter holds still, and prints what `status` says about it: `broken.py SOCKET PID COMMAND`.

The question is sent before the damage is done, so that it is answered before vmrouter has read what the kernel tells
about the damage, and nothing is mended yet. Prints the items of health that are not well, one a line: WHAT: DETAIL."""

import json
import os
import signal
import socket
import subprocess
import sys
import time


def ask(stream):
    stream.write(b'{"command": "status"}\n')
    stream.flush()


def health(stream):
    answer = json.loads(stream.readline())
    return [f'{one["what"]}: {one["detail"]}' for one in answer["result"]["health"] if not one["ok"]]


def is_stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "T"


def main():
    path, pid, command = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(path)
    with connection, connection.makefile("rwb") as stream:
        ask(stream)
        before = health(stream)
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(1000):
                if is_stopped(pid):
                    break
                time.sleep(0.005)
            ask(stream)
            subprocess.run(["bash", "-e", "-c", command], check=True)
        finally:
            os.kill(pid, signal.SIGCONT)
        print("\n".join(["before: " + one for one in before] + health(stream)))


main()
