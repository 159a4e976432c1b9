#!/usr/bin/env python3
"""Takes one rule of vmrouter's tables away at a time, asks a waiting `vmrouter verify --repeat`, and puts the rules back.

  sabotage.py VMROUTER PID PART PARTS FILE      PID is the running vmrouter, which is stopped meanwhile; of the rules, every
                                                PARTSth from the PARTth; what was seen goes into FILE
  sabotage.py FILE...                           what all parts have seen

The second prints a line for each rule: "by packets: FAMILY CHAIN: RULE" when a probe turned red, "with its like: ..." when one did as soon as
the other rules that shut the same way were gone too, "read back: ..." when only the comparison of the rules did, "MISSED: ..." when
nothing did (status 1). Rules that only count or log are no guards; SABOTAGE=all takes them too."""
import json
import os
import re
import signal
import subprocess
import sys

table = "vmrouter_virbr10"
families = ("inet", "bridge", "arp")


def by_packets(rows):
    return {row for row in rows if row[0] != "read back"}


def told(path):
    """What a part has seen: (place, what, rows) of guards, (name, places, rows) of groups."""
    with open(path, encoding="utf-8") as file:
        return {kind: [(one, two, sorted(map(tuple, rows))) for one, two, rows in things] for kind, things in json.load(file).items()}


def summary(paths):
    """The status: 1 when a guard was missed."""
    parts = [told(path) for path in paths]
    for part in parts:
        for name, members, rows in part["groups"]:
            print(f"together: {name}: {len(members)} rules   {rows[:4]}")
    alike = {tuple(member) for part in parts for _, members, rows in part["groups"] if rows for member in members}
    counts = dict.fromkeys(("by packets", "with its like", "read back", "MISSED"), 0)
    for part in parts:
        for place, what, rows in part["guards"]:
            how = "by packets" if by_packets(rows) else "with its like" if tuple(place) in alike else "read back" if rows else "MISSED"
            counts[how] += 1
            print(f"{how}: {what}   {rows[:3]}")
    print(f"{sum(counts.values())} guards: {counts['by packets']} seen by packets, {counts['with its like']} when those that shut the "
          f"same way are gone too, {counts['read back']} only by reading back, {counts['MISSED']} missed")
    return 1 if counts["MISSED"] or not counts["by packets"] else 0


if len(sys.argv) < 6:
    sys.exit(summary(sys.argv[1:]))
program, pid, part, parts = sys.argv[1], *map(int, sys.argv[2:5])


def nft(*words, text=None):
    command = ["nft", *words] if text is None else ["nft", "-f", "-"]
    return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout


# Names are not asked for: the program that would answer is stopped.
verify = subprocess.Popen([program, "verify", "--target", "198.51.100.10", "--rebind", "", "--wait", "0.1", "--repeat", "--json"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def red():
    """The rows that are surprises now, with what happened: one that is red for another reason may say something new."""
    document = json.loads(verify.stdout.readline())
    return {(row["group"], row["tried"], row["happened"]) for row in document["rows"] if row["result"] == "surprise"}


def again():
    verify.stdin.write("\n")
    verify.stdin.flush()
    return red()


def news():
    """Rows that were not red before, or for another reason; without the words, which differ from round to round."""
    return {row[:2] for row in again() - before}


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
rounds = [again() for _ in range(3)]  # a busy machine may answer too late once
before = {row for one in rounds for row in one if all(any(row[:2] == other[:2] for other in each) for each in rounds)}
print("surprises while the program is stopped:", before)
assert not [row for row in before if row[0] not in ("DNS", "this machine")], before

# What shuts one way in several places, so that a packet gets through only when all of them are gone.
IPV6 = [("net.ipv6.conf.virbr10.disable_ipv6", "0")]
ALIKE = {
    "IPv6 from guests": (r"nfproto ipv6|ether type != \{ ip, arp \}", IPV6),
    "IPv4 options": (r"hdrlength", []),
    "a DHCP server among guests": (r"goto vm_drop_dhcp_server", []),
    "sources that are no guest's": (r"(?<!arp )\bip saddr != 192|vm_bound|vm_pins|vm_prerouting: |goto vm_ip$|ip saddr 192\.168\.100\.1 goto|ip saddr \{", [("net.ipv4.conf.virbr10.rp_filter", "0"), ("net.ipv4.conf.all.rp_filter", "0")]),
    "claims by ARP": (r"arp saddr|vm_bound|vm_pins|vm_arp_in: ", []),
    "ARP of other kinds": (r"arp (htype|ptype|hlen|plen|operation)", []),
    "ARP for other addresses": (r"arp daddr ip", [("net.ipv4.conf.virbr10.arp_ignore", "0")]),
    "what the machine says unasked": (r"vm_drop_unasked|goto vm_to_all|vm_output: oifname \"virbr10\"", []),
    "networks of the LAN": (r"goto vm_refuse_lan", []),
    "connections from the middle": (r"goto vm_refuse_stale|goto vm_drop_invalid", []),
    "traffic from outside": (r"goto vm_drop_transit|goto vm_drop_inbound", []),
    "the ends of drops": (r"vm_drop_\w+: drop$", []),
    "the ends of refusals": (r"vm_refuse: |vm_refuse_\w+: goto vm_refuse$", []),
}
NO_GUARD = re.compile(r"^(counter name \S+$|(add|update) .*log |limit rate .*log |.*update @vm_(sent|received))")

def rules_of(family):
    """(chain, number in it, text, handle) of each rule."""
    places, chain = [], None
    for line in nft("-s", "-a", "list", "table", family, table).splitlines():
        words = line.split()
        if line.startswith("\tchain "):
            chain = words[1]
        elif line == "\t}":
            chain = None
        elif chain and "# handle" in line and not words[0] == "type":
            text, handle = line.strip().rsplit(" # handle ", 1)
            places.append((chain, sum(place[0] == chain for place in places), text, handle))
    return places


def delete(family, chain, handle):
    nft("delete", "rule", family, table, chain, "handle", handle)


def restore(*changed):
    nft(text="".join(f"delete table {family} {table}\n{whole[family]}" for family in changed or families))


def sysctl(name, value):
    was = subprocess.run(["sysctl", "-n", name], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["sysctl", "-qw", f"{name}={value}"], check=True)
    return was


def look(undo):
    """What turned red and stays so, and is not red any more when it is undone."""
    now = news()
    if by_packets(now):
        now &= news()
    undo()
    # What stays red says nothing about the rule. The kernel asks for a neighbour that is not there three times, a second apart.
    rest = by_packets(now)
    for _ in range(20):
        if rest:
            rest &= news()
    return now - rest


whole = {family: nft("-s", "list", "table", family, table) for family in families}
seen = {"guards": [], "groups": []}


def mine(things):
    return things[part::parts]


def note(place, what, rows):
    seen["guards"].append((place, what, sorted(rows)))


guards = [(family, *place) for family in families for place in rules_of(family)
          if not NO_GUARD.match(place[2]) or os.environ.get("SABOTAGE") == "all"]
for family, chain, index, rule, _ in mine(guards):
    delete(family, chain, next(place[3] for place in rules_of(family) if place[:2] == (chain, index)))
    note((family, chain, index), f"{family} {chain}: {rule}", look(lambda changed=family: restore(changed)))
for name, (pattern, settings) in mine(list(ALIKE.items())):
    members = [(family, *place) for family in families for place in rules_of(family)
               if re.search(pattern, f"{place[0]}: {place[2]}")]
    for family, chain, _, _, handle in members:
        delete(family, chain, handle)
    values = [(setting, sysctl(setting, value)) for setting, value in settings]

    def undo():
        restore()
        for setting, value in values:
            sysctl(setting, value)

    seen["groups"].append((name, [member[:3] for member in members], sorted(by_packets(look(undo)))))
for setting, value in mine([("arp_ignore", "0"), ("proxy_arp", "1"), ("rp_filter", "0")]):
    name = f"net.ipv4.conf.virbr10.{setting}"
    was = sysctl(name, value)
    note((), f"setting {setting}={value}", look(lambda: sysctl(name, was)))
if part == parts - 1:
    guard = subprocess.run("ip rule | grep prohibit | head -1 | cut -d: -f2-", shell=True, check=True, capture_output=True, text=True).stdout
    subprocess.run("ip rule del priority 100 " + guard, shell=True, check=True)
    note((), "routing rule", news())
    subprocess.run("ip rule add priority 100 " + guard, shell=True, check=True)
after = {row for row in settled(before) if row[0] == "read back"}
assert not after, f"not everything was put back: {after}"
verify.stdin.close()
verify.wait(20)
with open(sys.argv[5], "w", encoding="utf-8") as file:
    json.dump(seen, file)
