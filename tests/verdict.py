#!/usr/bin/env python3
"""Reads CTest's results (JUnit) and says how many tests passed, failed and were skipped.

  verdict.py RESULTS MAY_SKIP [AGAIN]

Run as root, a skipped test counts as failed unless MAY_SKIP names it (a line "NAME  why"). AGAIN holds the results of those
that failed in RESULTS, run once more and alone: this second verdict counts, and the first one is told. Prints a line for each
failed, unstable and skipped test, and `counts PASSED FAILED SKIPPED`.
"""
import os
import sys
import xml.etree.ElementTree as tree


def reasons(path):
    lines = [line.split(None, 1) for line in open(path) if line.strip() and not line.startswith("#")]
    return {words[0]: words[1].strip() for words in lines if len(words) == 2}


def passed_in(results):
    return {case.get("name") for case in tree.parse(results).iter("testcase") if case.get("status") == "run"}


def main(results, may_skip, again=None):
    allowed = reasons(may_skip)
    passed_alone = passed_in(again) if again else set()
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for case in tree.parse(results).iter("testcase"):
        name, status = case.get("name"), case.get("status")
        verdict = {"run": "passed", "fail": "failed"}.get(status, "skipped")
        if verdict == "skipped":
            said = next((line for line in (case.findtext("system-out") or "").splitlines() if line.startswith("skipped")), status)
            if os.geteuid() == 0 and name not in allowed:
                verdict = "failed"
                said += "; as root it must run, or tests/netns/may_skip must say why not"
            print(f"skipped: {name} ({said})")
        elif verdict == "failed" and name not in passed_alone:
            print(f"FAILED: {name}")
        elif verdict == "failed":
            print(f"UNSTABLE: {name} failed beside other tests and passed alone; what it said first is above")
            verdict = "passed"
        counts[verdict] += 1
    print("counts", counts["passed"], counts["failed"], counts["skipped"])


if __name__ == "__main__":
    main(*sys.argv[1:])
