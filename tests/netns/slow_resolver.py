#!/usr/bin/env python3
"""slow_resolver.py ADDRESS PORT DELAY: answers every question over UDP with 198.51.100.10, TTL 1, DELAY seconds later."""
import socket
import sys
import threading

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], int(sys.argv[2])))
print("serving", flush=True)
while True:
    query, peer = server.recvfrom(4096)
    end = query.index(b"\0", 12) + 5
    answer = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end] + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + bytes((198, 51, 100, 10))
    threading.Timer(float(sys.argv[3]), server.sendto, (answer, peer)).start()
