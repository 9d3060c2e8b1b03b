# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Text of the headers' comments as man(7) source: names are set as such, and those that have a page say so."""
import re
import textwrap

# What a name in running text looks like; the first alternative that fits is taken.
NAMES = re.compile(r"""
    @(?P<param>\w+)(?:->\w+)?
  | \b(?P<function>vh_\w+)(?P<call>\(\)|(?=\())
  | (?P<struct>\bstruct[ ]vh_\w+)
  | (?P<field>\bvh_\w+\.\w+)
  | (?P<header>\bvh/\w+\.h)
  | (?P<name>\bvh_\w+)
  | (?P<constant>\bVH_[A-Z0-9_]+\*?)
  | (?P<errno>-E[A-Z0-9]+\b)
  | `(?P<code>[^`]+)`
""", re.X)


def plain(text):
    """Running text that roff leaves as it is. A minus before a digit must not become a hyphen."""
    return re.sub(r"(?<![\w])-(?=\d)", r"\\-", text.replace("\\", "\\e"))


def verbatim(text):
    """Code: every character as it can be copied out of a terminal."""
    for char, as_roff in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti")):
        text = text.replace(char, as_roff)
    return text


def bold(text):
    return f"\\fB{verbatim(text)}\\fP"


def italic(text):
    return f"\\fI{verbatim(text)}\\fP"


def guarded(line):
    """A line that begins with a dot or a quote would be a request to roff."""
    return "\\&" + line if line.startswith((".", "'")) else line


class Writer:
    """Man(7) source of one page, line by line. Pages is {name: section} of all that can be linked to."""

    def __init__(self, name, title, pages, version):
        self.name, self.pages, self.links, self.texts = name, pages, set(), []
        self.lines = ['.\\" SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0',
                      '.\\" Made from the public headers at every build; change those.',
                      f'.TH {name} {pages[name]} "" "libvh {version}" "libvh manual"',
                      ".ad l", ".SH NAME", f"{name} \\- {self.inline(title)}"]

    def link(self, name):
        """The name in bold, with its section when it is another page, which is remembered for SEE ALSO."""
        if name == self.name or name not in self.pages:
            return bold(name)
        self.links.add(name)
        return f"{bold(name)}({self.pages[name]})"

    def _name(self, match):
        kind, text = match.lastgroup, match.group(0)
        if kind == "param":
            return italic(text[1:])
        if kind == "call":
            linked = self.link(match["function"])
            return linked if match["call"] and linked.endswith(")") else bold(match["function"]) + match["call"]
        if kind == "struct":
            return f"struct {self.link(text[7:])}"
        if kind == "field":
            self.links |= {text.split(".")[0]} & set(self.pages)
            return bold(text)
        if kind == "header":
            return self.link(text.replace("/", "_")) if text.replace("/", "_") in self.pages else bold(text)
        if kind == "name":
            return self.link(text)
        return bold(match["code"] if kind == "code" else text)

    def inline(self, text):
        self.texts.append(text)
        parts, end = [], 0
        for match in NAMES.finditer(text):
            parts += [plain(text[end:match.start()]), self._name(match)]
            end = match.end()
        return "".join(parts) + plain(text[end:])

    def raw(self, line):
        self.lines.append(line)

    def heading(self, text, level="SH"):
        self.raw(f".{level} {text}")

    def text(self, text):
        """Lines of a paragraph. A name is never hyphenated, so that it can be looked for, and copied."""
        whole = " ".join("\\%" + word if "\\f" in word else word for word in self.inline(text).split())
        for line in textwrap.wrap(whole, 100, break_long_words=False, break_on_hyphens=False):
            self.raw(guarded(line))

    def code(self, text):
        self.raw(".EX")
        for line in text.expandtabs(4).splitlines():
            self.raw(guarded(verbatim(line)))
        self.raw(".EE")

    def indented(self, text):
        self.raw(".RS 4")
        self.code(text)
        self.raw(".RE")

    def paragraphs(self, blocks, first=False):
        """Paragraphs of a description; one whose lines begin with a tab is code. First: right behind a heading."""
        for block in blocks:
            if not first:
                self.raw(".PP")
            first = False
            if block.startswith("\t"):
                self.indented(textwrap.dedent(block))
            else:
                self.text(block)

    def items(self, rows):
        """A list of (tag in roff, text, texts below it)."""
        for tag, text, *below in rows:
            self.raw(".TP")
            self.raw(tag)
            if text:
                self.text(text)
            else:
                self.raw("\\&")
            for more in below:
                self.raw(".IP")
                self.text(more)

    def see_also(self, names):
        """Everything that the page linked to and what is given, by section and name."""
        wanted = sorted((self.links | set(names)) - {self.name}, key=lambda n: (self.pages[n], n))
        self.heading("SEE ALSO")
        for i, name in enumerate(wanted):
            self.raw(f".BR \\%{name} ({self.pages[name]}){',' if i + 1 < len(wanted) else ''}")

    def source(self):
        return "\n".join(self.lines) + "\n"
