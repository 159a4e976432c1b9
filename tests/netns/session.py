#!/usr/bin/env python3
"""session.py ADDRESS PORT [PATIENCE]: holds a TCP connection to an echo service open, a word every tenth of a second.

Prints `heard` for every answer and `cut WHY` when the connection is reset or nothing was heard for three seconds."""
import socket
import sys
import time

try:
    session = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
    session.settimeout(float(sys.argv[3]) if len(sys.argv) > 3 else 3)
    while True:
        session.sendall(b"word\n")
        print("heard" if session.recv(4096) else "cut closed", flush=True)
        time.sleep(0.1)
except OSError as error:
    print("cut", error, flush=True)
