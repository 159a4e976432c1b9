#!/usr/bin/env python3
"""status.py VMROUTER INSTANCE EXPRESSION: evaluates a Python expression of `vmrouter status --json` (`status`), and prints its value."""
import json
import subprocess
import sys

program, instance, expression = sys.argv[1:]
said = subprocess.run([program, "status", "--json", "--instance", instance], capture_output=True, text=True, check=False)
if not said.stdout:
    sys.exit(said.stderr)
print(eval(expression, {"status": json.loads(said.stdout)}))
