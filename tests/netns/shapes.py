#!/usr/bin/env python3
"""Compares a JSON document (stdin) with its shape in ARCHITECTURE.md, "The control socket": shapes.py ARCHITECTURE.md NAME.
`events` is for what `monitor --json` prints: each line with its kind's row of the table.

Prints what is undocumented and what is documented and not there; status 1 then. An empty list says nothing about its items."""
import json
import re
import sys


def section(path):
    return open(path, encoding="utf-8").read().split("\n## The control socket\n")[1].split("\n## ")[0].splitlines()


def shapes(path):
    """name -> tokens; a shape goes on in lines that are indented further."""
    found, name = {}, None
    for line in section(path):
        if match := re.match(r"    (\w+) +([\[{].*)", line):
            name = match[1]
            found[name] = match[2]
        elif name and re.match(r"     +\S", line):
            found[name] += " " + line.strip()
        else:
            name = None
    return {name: re.findall(r"[\[\]{}]|[\w*]+\??", text) for name, text in found.items()}


def parse(tokens):
    """("{" or "[", {key: shape or None})."""
    kind, keys = tokens.pop(0), {}
    while tokens[0] not in "]}":
        key = tokens.pop(0)
        keys[key] = parse(tokens) if tokens[0] in "[{" else None
    tokens.pop(0)
    return kind, keys


def compare(shape, value, place):
    kind, keys = shape
    if value is None:
        return
    if not isinstance(value, dict if kind == "{" else list):
        yield f"{place} is no {'object' if kind == '{' else 'list'}"
        return
    for one in [value] if kind == "{" else value:
        if not keys or not isinstance(one, dict):
            if keys or isinstance(one, (dict, list)):
                yield f"{place} holds {type(one).__name__}"
            continue
        if "*" in keys:
            for key, inner in one.items():
                yield from compare(keys["*"], inner, f"{place}.{key}")
            continue
        known = {key.rstrip("?"): inner for key, inner in keys.items()}
        for key in one.keys() - known.keys():
            yield f"{place}.{key} is not documented"
        for key in keys:
            if not key.endswith("?") and key not in one:
                yield f"{place}.{key} is documented and not there"
        for key in one.keys() & known.keys():
            if known[key]:
                yield from compare(known[key], one[key], f"{place}.{key}")
            elif isinstance(one[key], (dict, list)):
                yield f"{place}.{key} is no plain value"


def compare_events(path, lines):
    """Every kind has `time` and `event`; those about a guest its name, address and mac."""
    kinds = {}
    for line in section(path):
        if match := re.match(r"\| `(\w+)` \| (.*) \|$", line):
            kinds[match[1]] = {word for part in re.findall(r"`([^`]+)`", match[2]) for word in part.split()}
    for line in lines:
        event = json.loads(line)
        kind = event.get("event")
        if kind not in kinds:
            yield f"the event {kind} is not documented"
            continue
        about_guest = {"guest", "address", "mac"} if "guest" in event else set()
        for key in event.keys() ^ (kinds[kind] | {"time", "event"} | about_guest):
            yield f"{kind}.{key} is {'not documented' if key in event else 'documented and not there'}"


if sys.argv[2] == "events":
    found = sorted(set(compare_events(sys.argv[1], sys.stdin)))
    print("\n".join(found))
    sys.exit(1 if found else 0)
tokens = shapes(sys.argv[1])[sys.argv[2]]
differences = sorted(set(compare(parse(tokens), json.load(sys.stdin), sys.argv[2])))
print("\n".join(differences))
sys.exit(1 if differences else 0)
