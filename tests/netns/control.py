#!/usr/bin/env python3
"""control.py INSTANCE EXPRESSION: asks a running vmrouter for its status and evaluates a Python expression of it (`status`).

Prints the expression's value."""
import json
import socket
import sys

instance, expression = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as control:
    control.settimeout(5)
    control.connect(f"/run/vmrouter/{instance}.sock")
    control.sendall(b'{"command": "status"}\n')
    answer = b""
    while not answer.endswith(b"\n"):
        answer += control.recv(65536)
status = json.loads(answer)
print(eval(expression, {"status": status.get("result", status)}))
