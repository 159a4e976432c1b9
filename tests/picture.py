#!/usr/bin/env python3
"""picture.py < TERMINAL_OUTPUT > PICTURE.svg: what a terminal showed, as a picture of plain text.
picture.py --text < PICTURE.svg: the text of such a picture, without empty lines.

Knows line ends, an erased line, the colours that vmrouter uses (ECMA-48 SGR: bold, faint, eight colours) and nothing else; any other escape
sequence is an error, so that a picture never differs from what was on the screen. A line that begins with "$ " is what
somebody typed."""
import html
import re
import sys

CELL_WIDTH, LINE_HEIGHT, FONT_SIZE, MARGIN = 8.4, 19, 14, 16
COLOURS = {"31": "#f97583", "32": "#85e89d", "33": "#ffdf5d", "34": "#79b8ff", "35": "#d2a8ff", "36": "#56d4dd"}
SGR = re.compile(r"\x1b\[([0-9;]*)m")


def style(parameters, old):
    """The attributes of a tspan after SGR `parameters`."""
    new = dict(old)
    for parameter in (parameters or "0").split(";"):
        if parameter in ("", "0"):
            new = {}
        elif parameter == "1":
            new["font-weight"] = "bold"
        elif parameter == "2":
            new["fill"] = "#8b949e"
        elif parameter in COLOURS:
            new["fill"] = COLOURS[parameter]
        else:
            raise ValueError(f"SGR {parameter} is not known here")
    return new


def spans(line):
    """(attributes, text) for each part of a line."""
    if line.startswith("$ "):
        return [({"fill": COLOURS["32"]}, "$ "), ({"font-weight": "bold"}, line[2:])]
    parts, now = SGR.split(line), {}
    found = [(now, parts[0])]
    for parameters, text in zip(parts[1::2], parts[2::2]):
        now = style(parameters, now)
        found.append((now, text))
    return [(how, text) for how, text in found if text]


def render(text):
    # What was written and then erased (a progress line) is not on the screen.
    shown = [line.split("\r\x1b[K")[-1] for line in text.replace("\r\n", "\n").rstrip("\n").split("\n")]
    lines = [spans(line) for line in shown]
    if any(not c.isprintable() for line in lines for _, part in line for c in part):
        raise ValueError("an unknown control character")
    columns = max(sum(len(part) for _, part in line) for line in lines)
    width, height = round(columns * CELL_WIDTH) + 2 * MARGIN, len(lines) * LINE_HEIGHT + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        '<rect width="100%" height="100%" rx="8" fill="#0d1117"/>',
        f'<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="{FONT_SIZE}" fill="#e6edf3" xml:space="preserve">',
    ]
    for number, line in enumerate(lines):
        body = ""
        for how, part in line:
            attributes = "".join(f' {name}="{value}"' for name, value in sorted(how.items()))
            body += f"<tspan{attributes}>{html.escape(part)}</tspan>" if how else html.escape(part)
        length = sum(len(part) for _, part in line)
        if length:
            out.append(f'<text x="{MARGIN}" y="{MARGIN + FONT_SIZE + number * LINE_HEIGHT}" textLength="{length * CELL_WIDTH:.1f}">{body}</text>')
    return "\n".join(out + ["</g>", "</svg>"]) + "\n"


def text_of(picture):
    lines = re.findall(r"<text [^>]*>(.*?)</text>", picture)
    return "".join(html.unescape(re.sub(r"<[^>]*>", "", line)) + "\n" for line in lines)


if __name__ == "__main__":
    given = sys.stdin.read()
    sys.stdout.write(text_of(given) if "--text" in sys.argv else render(given))
