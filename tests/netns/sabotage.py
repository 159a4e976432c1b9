#!/usr/bin/env python3
"""Takes one rule of vmrouter's tables away at a time, asks a waiting `vmrouter verify --repeat`, and puts the rules back.

  sabotage.py VMROUTER PID      PID is the running vmrouter, which is stopped meanwhile

Prints a line for each rule: "by packets: FAMILY CHAIN: RULE" when a probe turned red, "read back: ..." when only the comparison
of the rules did, "MISSED: ..." when nothing did (status 1)."""
import json
import os
import re
import signal
import subprocess
import sys

program, pid = sys.argv[1], int(sys.argv[2])
table = "vmrouter_virbr10"
families = ("inet", "bridge", "arp")


def nft(*words, text=None):
    command = ["nft", *words] if text is None else ["nft", "-f", "-"]
    return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout


# Names are not asked for: the program that would answer is stopped.
verify = subprocess.Popen([program, "verify", "--target", "198.51.100.10", "--rebind", "", "--wait", "0.1", "--repeat", "--json"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def red():
    """The rows that are surprises now."""
    document = json.loads(verify.stdout.readline())
    return {(row["group"], row["tried"]) for row in document["rows"] if row["result"] == "surprise"}


def again():
    verify.stdin.write("\n")
    verify.stdin.flush()
    return red()


def settled(known=frozenset()):
    """What stays red: a busy machine may answer too late once."""
    found = again() - known
    for _ in range(4):
        if not found:
            break
        found &= again() - known
    return found


red()
assert not settled(), "surprises before anything was done"
os.kill(pid, signal.SIGSTOP)
before = again() & again() & again()  # a busy machine may answer too late once
print("surprises while the program is stopped:", before)
assert not [row for row in before if row[0] not in ("DNS", "this machine")], before

# The chains that end a packet's way are all made alike; three of them stand for the others, unless SABOTAGE=all.
ENDS = re.compile(r"vm_(drop|refuse)_")
EXAMPLES = ("vm_refuse_lan", "vm_refuse_host", "vm_drop_spoofed")


def wanted(chain):
    return os.environ.get("SABOTAGE") == "all" or not ENDS.match(chain) or chain in EXAMPLES


counts = {"by packets": 0, "read back": 0, "MISSED": 0}
for family in families:
    whole = nft("-s", "list", "table", family, table)
    restore = f"delete table {family} {table}\n{whole}"
    chain = None
    places = []
    for line in nft("-s", "-a", "list", "table", family, table).splitlines():
        words = line.split()
        if line.startswith("\tchain "):
            chain = words[1]
        elif line == "\t}":
            chain = None
        elif chain and "# handle" in line and not words[0] == "type":
            places.append((chain, sum(place[0] == chain for place in places), line.strip().rsplit(" # handle", 1)[0]))
    for chain, index, rule in places:
        if not wanted(chain):
            continue
        handles = [line.rsplit(" ", 1)[1] for line in nft("-s", "-a", "list", "chain", family, table, chain).splitlines()
                   if "# handle" in line and not re.match(r"\s*(table|chain|type) ", line)]
        nft("delete", "rule", family, table, chain, "handle", handles[index])
        now = again() - before
        if [row for row in now if row[0] != "read back"]:
            now &= again() - before
        nft(text=restore)
        if [row for row in now if row[0] != "read back"]:  # what stays red with the rule in its place says nothing about it
            now -= {row for row in again() - before if row[0] != "read back"}
        how = "by packets" if [row for row in now if row[0] != "read back"] else "read back" if now else "MISSED"
        counts[how] += 1
        print(f"{how}: {family} {chain}: {rule}   {sorted(now)[:3]}", flush=True)
for setting, value in (("conf.virbr10.arp_ignore", "0"), ("conf.virbr10.proxy_arp", "1"), ("conf.virbr10.rp_filter", "0")):
    was = subprocess.run(["sysctl", "-n", f"net.ipv4.{setting}"], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["sysctl", "-qw", f"net.ipv4.{setting}={value}"], check=True)
    now = again() - before
    counts["by packets" if [row for row in now if row[0] != "read back"] else "read back" if now else "MISSED"] += 1
    print(f"setting {setting}={value}:   {sorted(now)[:3]}")
    subprocess.run(["sysctl", "-qw", f"net.ipv4.{setting}={was}"], check=True)
guard = subprocess.run("ip rule | grep prohibit | head -1 | cut -d: -f2-", shell=True, check=True, capture_output=True, text=True).stdout
subprocess.run("ip rule del priority 100 " + guard, shell=True, check=True)
now = again() - before
counts["read back" if now else "MISSED"] += 1
print(f"routing rule:   {sorted(now)}")
subprocess.run("ip rule add priority 100 " + guard, shell=True, check=True)
after = {row for row in settled(before) if row[0] == "read back"}
assert not after, f"not everything was put back: {after}"
verify.stdin.close()
verify.wait(20)
print(f"{sum(counts.values())} rules: {counts['by packets']} seen by packets, {counts['read back']} only by reading back, "
      f"{counts['MISSED']} missed")
sys.exit(1 if counts["MISSED"] or not counts["by packets"] else 0)
