#!/usr/bin/env python3
"""A shell on a terminal, with a script of completions sourced, and TAB pressed.

  tab.py line SHELL SCRIPT LINE      what LINE becomes
  tab.py zsh SCRIPT < LINES          the candidates that zsh adds for each line, as LINE<tab>CANDIDATE"""
import os
import pty
import re
import select
import shlex
import sys
import tempfile
import time

ZSH_START = """
PROMPT='READY> ' LISTMAX=1000
autoload -Uz compinit && compinit -u -D
. SCRIPT
compadd() {
    case ${@[1,(i)(-|--)]} in *-[OAD]\\ *) builtin compadd "$@"; return ;; esac
    local -a hits
    builtin compadd -A hits "$@"
    print -rl -- $hits >>OUT
    builtin compadd "$@"
}
asked() { print -r -- --asked-- >>OUT; comppostfuncs=(asked) } # zsh empties the list at each call
comppostfuncs=(asked)
"""
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
PRINT = {  # stands in for the program: prints its arguments
    "bash": "PS1='READY> '; . SCRIPT; vmrouter() { printf '<%s>\\n' \"vmrouter $*\"; }\n",
    "zsh": "PROMPT='READY> '; autoload -Uz compinit && compinit -u -D; . SCRIPT; vmrouter() { printf '<%s>\\n' \"vmrouter $*\" }\n",
    "fish": "function fish_prompt; echo 'READY> '; end; source SCRIPT; function vmrouter; printf '<%s>\\n' \"vmrouter $argv\"; end\n",
}


class Shell:
    def __init__(self, name):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm", LC_ALL="C.UTF-8", HOME=tempfile.gettempdir(), PROMPT_COMMAND="")
            os.execvp(START[name][0], START[name])
        self.seen = ""

    def type(self, text):
        os.write(self.terminal, text.encode())

    def wait(self, pattern, seconds=20):
        """Reads until `pattern` is seen (or `pattern()` is true) after what was seen before."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = pattern() if callable(pattern) else re.search(pattern, self.seen, re.S)
            if found:
                return found
            if select.select([self.terminal], [], [], 0.02)[0]:
                self.seen += os.read(self.terminal, 65536).decode(errors="replace")
        sys.exit(f"the shell has not shown {pattern!r}; it showed:\n{self.seen}")


    def start(self, folder, text):
        with open(f"{folder}/start", "w") as file:
            file.write(text)
        self.type(f". {folder}/start\r")
        self.wait("READY> ")


def line_after(name, script, line):
    with tempfile.TemporaryDirectory() as folder:
        shell = Shell(name)
        shell.start(folder, PRINT[name].replace("SCRIPT", shlex.quote(script)))
        shell.type(line + "\tEND\r")
        print(shell.wait(r"<(vmrouter [^>\r\n]*)END>").group(1))
        os.kill(shell.pid, 9)


def candidates(script, lines):
    with tempfile.TemporaryDirectory() as folder:
        shell = Shell("zsh")
        shell.start(folder, ZSH_START.replace("SCRIPT", shlex.quote(script)).replace("OUT", f"{folder}/out"))
        for line in lines:
            open(f"{folder}/out", "w").close()
            shell.type(f"\x15{line}\t")
            shell.wait(lambda: "--asked--\n" in open(f"{folder}/out").read())
            for found in sorted(set(open(f"{folder}/out").read().split("\n")) - {"", "--asked--"}):
                print(f"{line}\t{found}")
        os.kill(shell.pid, 9)


if __name__ == "__main__":
    if sys.argv[1] == "line":
        line_after(*sys.argv[2:])
    else:
        candidates(sys.argv[2], sys.stdin.read().splitlines())
