# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The Markdown of docs/vhctl.md as a manual page: headings, paragraphs, code that is indented, lists, tables."""
import re
import textwrap

import roff


def blocks(text):
    """Paragraphs, each as its lines. A heading is one by itself."""
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = block.splitlines()
        while lines and lines[0].startswith("#"):
            yield [lines.pop(0)]
        if lines:
            yield lines


def table(page, lines):
    """Rows under their heads: the first cell is the tag, the others are the text. Heads without words say nothing."""
    rows = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    page.items([(page.inline(first), "; ".join(filter(None, rest))) for first, *rest in rows[2:]])


def items(page, lines):
    """A list; what is indented belongs to the item before."""
    page.items([(r"\(bu", " ".join(item[2:].split())) for item in re.split(r"\n(?=- )", "\n".join(lines))])


def body(page, lines):
    if lines[0].startswith("|"):
        table(page, lines)
    elif lines[0].startswith("- "):
        items(page, lines)
    else:
        if not page.lines[-1].startswith(".SH"):
            page.raw(".PP")
        code = lines[0].startswith("    ")
        page.indented(textwrap.dedent("\n".join(lines))) if code else page.text(" ".join(lines))


def command(page, text):
    """A page of section 1: its name, then what it is called with, then the rest; what is told of a command is a section."""
    name, synopsis, *rest = blocks(text)
    if not name[0].startswith("# ") or not synopsis[0].startswith("    "):
        raise SystemExit("docs/vhctl.md: a title and the usage stand first")
    page.heading("SYNOPSIS")
    page.code(textwrap.dedent("\n".join(synopsis)))
    page.heading("DESCRIPTION")
    for lines in rest:
        if lines[0].startswith("#"):
            page.heading(roff.verbatim(lines[0].strip("# ").upper()))
        else:
            body(page, lines)
    page.see_also(["libvh"])
    return page
