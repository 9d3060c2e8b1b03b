#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Manual pages from the model: a page for each function and struct, one for each header, and libvh(7); vhctl(1).

    emit_man.py MODEL TEMPLATE EXAMPLE VHCTL FOLDER
"""
import glob
import json
import os
import re
import sys

import markdown
import roff

# What an error means when the function's own text does not say it.
MEANING = {
    "E2BIG": "The kernel takes fewer of them.",
    "EACCES": "The permissions of the file or socket forbid it.",
    "EADDRINUSE": "Somebody listens at that path.",
    "EAFNOSUPPORT": "This kernel, or what confines the process, has no such sockets.",
    "EAGAIN": "Not now; it may work later.",
    "EALREADY": "It is in that state already.",
    "EBADF": "A file descriptor is not open.",
    "EBUSY": "Another thread is inside a call on the same object, or this call can't be made in the callback that "
             "makes it.",
    "ECANCELED": "vh_master_cancel() ended the wait, and with it the connection.",
    "ECONNREFUSED": "Nobody listens at that path.",
    "ECONNRESET": "The peer closed the connection.",
    "EDEADLK": "A call that waits was made inside a callback of the same handle.",
    "EEXIST": "There is something already.",
    "EFAULT": "An address is outside of guest memory, or that memory was truncated.",
    "EFBIG": "It is larger than was allowed.",
    "EINPROGRESS": "It is not done yet.",
    "EINTR": "A signal came while it waited.",
    "EINVAL": "An argument is wrong: NULL where that is not allowed, out of range, or a struct with a bad `size`.",
    "EIO": "The device, or what lies behind it, could not do it.",
    "EISCONN": "There is a connection, or a listening socket, already.",
    "EMFILE": "The process has no file descriptor left.",
    "EMSGSIZE": "There is not enough room for the answer.",
    "ENAMETOOLONG": "The path does not fit into a socket address.",
    "ENFILE": "The system has no file descriptor left.",
    "ENOBUFS": "The peer does not read, and too much waits to be sent.",
    "ENODATA": "The file is too short.",
    "ENODEV": "The file can't be mapped, or what it stands for is not there.",
    "ENOENT": "There is no such thing.",
    "ENOMEM": "There is no memory left.",
    "ENOSPC": "There is not enough room, or as many as there may be are there.",
    "ENOTCONN": "There is no connection.",
    "ENOTUNIQ": "There are several of that; use a name.",
    "ENOTSOCK": "The file descriptor is no socket.",
    "ENOTSUP": "This version of the library can't do it.",
    "ENOTTY": "The file is no device that does this.",
    "ENXIO": "There is no device behind the file.",
    "EOPNOTSUPP": "The peer can't do it, or it was not negotiated.",
    "EOVERFLOW": "A range goes past the end of the address space.",
    "EPERM": "It is forbidden.",
    "EPIPE": "The other end is closed.",
    "EPROTO": "The peer broke the protocol.",
    "EPROTONOSUPPORT": "This kernel has no generic netlink.",
    "EPROTOTYPE": "The file descriptor is no unix stream socket.",
    "ERANGE": "A range goes past the end of the device.",
    "EREMOTEIO": "The back-end refused the request.",
    "EROFS": "The device is read-only.",
    "ESHUTDOWN": "The handle was stopped.",
    "ESRCH": "The other process has gone.",
    "ESTALE": "What it names is gone.",
    "ETIMEDOUT": "The deadline passed.",
}
THREADS = {
    "any": "Any thread may call it at any time, also while other threads are in calls on the same object.",
    "handle": "Calls on one handle are made by one thread at a time.",
    "queue": "Calls on one queue are made by one thread at a time, which may be another one than the thread that "
             "dispatches its device.",
    "signal": "Any thread may call it at any time, also in a signal handler.",
}
CALLED = {
    "any": "Called on any thread that is inside a call on the object, so maybe on several at the same time.",
    "handle": "Called on the thread that is inside a call on the handle; that call goes on when the callback returns.",
}
WAITS = {True: "It may block.", False: "It does not block."}
SHAPES = {
    "frozen": "The layout is frozen: {bytes} bytes on every architecture, in every version.",
    "sized": "Set all of it to zero, then `size` to `sizeof(struct {name})`: a field that is zero has its default. A "
             "library that is too old to know a field refuses a value that is not zero there with -EINVAL.",
    "passed": "The library fills it and sets `size` to what it knows of the struct, in bytes.",
    "out": "Set `size` to `sizeof(struct {name})` before a call that fills it. A library that knows fewer fields sets "
           "the rest to zero.",
    "ops": "Set all of it to zero, then `size` to `sizeof(struct {name})`. The callbacks are copied when they are "
           "given to the library; the pointer that is given with them is the first argument of each.",
}
RESULTS = {"vh_rc": "0 on success.", "vh_count": "A count, 0 or more.", "vh_fd": "The file descriptor."}
CTX = "what was given with the ops"
FAILURE = "On failure a negative errno value: see ERRORS."
DETAILS = "vh_error_get() tells more."


def declaration(type_, name, array=None):
    gap = "" if type_["c"].endswith("*") else " "
    return f"{type_['c']}{gap}{name}{f'[{array}]' if array else ''}"


def prototype(function, name=None):
    """The declaration, a parameter on each line when it would get long."""
    head = declaration(function["returns"], name or function["name"]) + "("
    params = [declaration(p["type"], p["name"]) for p in function["params"]] or ["void"]
    line = f"{head}{', '.join(params)});"
    return line if len(line) <= 72 else head + (",\n" + " " * len(head)).join(params) + ");"


def definition(struct):
    fields = [prototype(f["callback"], f"(*{f['name']})") if "callback" in f else
              declaration(f["type"], f["name"], f["array"]) + ";" for f in struct["fields"]]
    body = "".join("    " + line.replace("\n", "\n    ") + "\n" for line in fields)
    return f"struct {struct['name']} {{\n{body}}};"


def split_doc(struct):
    """What stands before and behind the words of its first line that say which shape it has."""
    match = re.fullmatch(r"(.*?)\. (?:@frozen, \d+ bytes|Sized|Size-first out struct)[.,;]? ?(.*)", struct["doc"])
    if not match:
        raise SystemExit(f"struct {struct['name']}: its shape is not said in the first line of its comment")
    return match.groups()


def reasons(function):
    """(what its Return text says of results, {errno: what the texts say of it}). Each part goes to one of the two."""
    results, errors = [], {}
    for part in re.findall(r".+?(?:[;,.] (?=(?:and |or )?-E[A-Z])|[;.] |$)", function["returns"]["doc"]):
        text = re.sub(r"^(and|or) (?=-E)", "", part).strip(".,; ")
        match = re.match(r"((?:-E[A-Z0-9]+(?:,? or |, )?)+)", text)
        if not match:
            results.append(text)
            continue
        for name in re.findall(r"E[A-Z0-9]+", match.group(1)):
            errors[name] = text[match.end():].strip(" :")
    sentences = [s for block in function["description"] if not block.startswith("\t")
                 for s in re.split(r"(?<=\.) ", block)]
    for name in function["errors"]:
        if not errors.get(name):
            errors[name] = next((s for s in sentences if f"-{name}" in s), "")
    return ". ".join(sentence(r).rstrip(".") for r in results), {name: errors[name] for name in function["errors"]}


def sentence(text):
    """With a capital, unless it begins with what may be a name, and a full stop."""
    text = re.sub(r"^[a-z](?=[a-z]*(?:[ ,;:]|$))", lambda m: m.group(0).upper(), text.strip())
    return text + ("" if not text or text.endswith((".", ":")) else ".")


def explained(name, said):
    """What an error means here. A wrong argument is always one of the meanings of EINVAL."""
    if said.startswith("also ") or name == "EINVAL":
        return f"{MEANING[name]} {sentence(re.sub('^when ', 'also when ', said))}".strip()
    return sentence(said) or MEANING[name]


def parameter(param):
    words = ["may be NULL"] * param["nullable"] + ["out"] * param["out"] + ["yours to free"] * param["owned"] + \
        ["borrowed"] * param["borrowed"]
    if param["array"]:
        words.append(f"array of {roff.italic(param['array'])}")
    return roff.italic(param["name"]) + (f" ({', '.join(words)})" if words else "")


class Manual:
    """All pages of one model."""

    def __init__(self, api):
        self.api = api
        values = {c["name"]: c["value"] for c in api["constants"]}
        self.version = ".".join(str(values[f"VH_VERSION_{part}"]) for part in ("MAJOR", "MINOR", "PATCH"))
        self.pages = {x["name"]: 3 for x in api["functions"] + api["structs"]}
        self.pages.update({f"vh_{h['name']}": 7 for h in api["headers"]}, libvh=7, vhctl=1)

    def page(self, name, title):
        return roff.Writer(name, title.rstrip("."), self.pages, self.version)

    def constants(self, page, own):
        """The numbers whose group is of this struct or function, and what the texts name, alone or as VH_X_*."""
        grouped = [c for c in self.api["constants"] if re.match(rf"{re.escape(own)}(\.\w+|\(\))", c["group"])]
        found = [c["name"] for c in grouped]
        for name in sorted({m for text in page.texts for m in re.findall(r"VH_[A-Z0-9_]+\*?", text)}):
            if not name.endswith("*"):
                found.append(name)
            elif not any(c["name"].startswith(name[:-1]) for c in grouped):
                some = [c for c in self.api["constants"] if c["name"].startswith(name[:-1])]
                found += [c["name"] for c in ([c for c in some if c["group"]] or some)]
        return [c for c in self.api["constants"] if c["name"] in found]

    @staticmethod
    def numbers(page, constants):
        page.items([(roff.bold(c["name"]) + (f" = {c['value']:#x}" if c["value"] > 0xffff else f" = {c['value']}"),
                     c["doc"]) for c in constants])

    def constants_section(self, page, own):
        found = self.constants(page, own)
        if found:
            page.heading("CONSTANTS")
            self.numbers(page, found)

    @staticmethod
    def body(page, function):
        """What it does, its parameters (a callback's ctx is told once, for all of them), and more of what it does."""
        page.text(sentence(function["summary"]))
        page.items([(parameter(p), p["doc"]) for p in function["params"] if p["doc"] != CTX])
        page.paragraphs(function["description"])

    def function(self, function):
        page = self.page(function["name"], function["summary"])
        page.heading("LIBRARY")
        page.text("libvh (`-lvh`; `pkg-config libvh`)")
        page.heading("SYNOPSIS")
        page.code(f"#include <vh/{function['header']}>\n\n{prototype(function)}")
        page.heading("DESCRIPTION")
        self.body(page, function)
        self.returns(page, function)
        page.heading("THREADS")
        page.text(f"{THREADS[function['thread']]} {WAITS[function['blocks']]}")
        self.constants_section(page, function["name"])
        page.heading("VERSIONS")
        page.raw(f"Symbol version {function['since']}.")
        page.see_also(self.relatives(function))
        return page

    @staticmethod
    def returns(page, function):
        base = function["returns"]["base"]
        result, errors = reasons(function)
        if declaration(function["returns"], "") != "void ":
            page.heading("RETURN VALUE")
            page.text(sentence(re.sub(r"^0(?=\.|$)", "0 on success", result) or RESULTS[base]))
            if base in RESULTS and errors:
                page.text(FAILURE if function["thread"] == "signal" else f"{FAILURE} {DETAILS}")
        if errors:
            page.heading("ERRORS")
            page.items([(roff.bold("-" + name), explained(name, said)) for name, said in errors.items()])

    def relatives(self, function):
        """Where the reader goes next: what makes and frees its handle, its structs, its header, the overview."""
        structs = [p["type"]["base"][7:] for p in function["params"] if p["type"]["base"].startswith("struct ")]
        names = [s for s in structs if s in self.pages] + [f"vh_{function['header']}", "libvh"]
        if structs:
            names += [f["name"] for f in self.api["functions"] if f["name"].endswith(("_new", "_open")) and
                      f["params"][-1]["type"]["base"] == f"struct {structs[0]}"]
            names += [n for n in [f"{structs[0]}_free"] if n in self.pages]
        return names

    def struct(self, struct):
        title, rest = split_doc(struct)
        page = self.page(struct["name"], title)
        page.heading("SYNOPSIS")
        page.code(f"#include <vh/{struct['header']}>\n\n{definition(struct)}")
        page.heading("DESCRIPTION")
        page.paragraphs(self.about(struct, title, rest), first=True)
        fields = [f for f in struct["fields"] if f.get("doc")]
        if fields:
            page.heading("FIELDS")
            page.items([(roff.bold(f["name"]), f["doc"]) for f in fields])
        callbacks = [f["callback"] for f in struct["fields"] if "callback" in f]
        if callbacks:
            page.heading("CALLBACKS")
            for callback in callbacks:
                self.callback(page, callback)
            self.called(page, callbacks)
        self.constants_section(page, struct["name"])
        users = [f["name"] for f in self.api["functions"]
                 if any(p["type"]["base"] == f"struct {struct['name']}" for p in f["params"])]
        page.see_also([*users, f"vh_{struct['header']}", "libvh"])
        return page

    @staticmethod
    def about(struct, title, rest):
        kind = "passed" if "during the callback" in rest else struct["shape"]
        shape = SHAPES[kind].format(bytes=struct["layout"]["x86_64"]["size"], name=struct["name"])
        return [f"{sentence(title)} {'' if 'default' in rest else sentence(rest)}", shape, *struct["description"]]

    def callback(self, page, callback):
        page.heading(f"{callback['name']}()", "SS")
        page.code(prototype(callback, f"(*{callback['name']})"))
        page.raw(".PP")
        self.body(page, callback)
        told = ["Return: " + callback["returns"]["doc"]] if callback["returns"]["doc"] else []
        if callback["errors"]:
            told.append(f"Errors that it may return: {', '.join('-' + e for e in callback['errors'])}.")
        page.paragraphs(told)

    @staticmethod
    def called(page, callbacks):
        page.heading("THREADS")
        by_thread = {}
        for callback in callbacks:
            by_thread.setdefault(callback["thread"], []).append(callback["name"] + "()")
        if len(by_thread) == 1:
            page.text(CALLED[callbacks[0]["thread"]])
        else:
            page.items([(roff.bold(", ".join(names)), CALLED[thread]) for thread, names in by_thread.items()])

    def header(self, header):
        name = header["name"]
        page = self.page(f"vh_{name}", header["title"])
        page.heading("SYNOPSIS")
        page.code(f"#include <vh/{name}>")
        page.heading("DESCRIPTION")
        page.paragraphs([header["title"], *header["text"]], first=True)
        for title, kind in (("FUNCTIONS", "functions"), ("STRUCTURES", "structs")):
            rows = [x for x in self.api[kind] if x["header"] == name]
            if rows:
                page.heading(title)
                page.items([(page.link(x["name"]), sentence(x.get("summary") or split_doc(x)[0])) for x in rows])
        types = [t for t in self.api["typedefs"] if t["header"] == name]
        if types:
            page.heading("TYPES")
            page.items([(f"{roff.bold(t['name'])} = {roff.bold(t['type'])}", t["doc"]) for t in types])
        self.groups(page, [c for c in self.api["constants"] if c["header"] == name])
        page.see_also(["libvh"])
        return page

    def groups(self, page, constants):
        if constants:
            page.heading("CONSTANTS")
        for group in dict.fromkeys(c["group"] for c in constants):
            if group:
                page.heading(page.inline(group), "SS")
            self.numbers(page, [c for c in constants if c["group"] == group])

    def overview(self, template, example):
        """libvh(7): hand-written, with what is known here put in place of @WORDS@."""
        page = self.page("libvh", "")
        page.lines = []
        places = {"FAMILIES": self.families, "ERRORS": self.errors, "SEE_ALSO": self.headers,
                  "EXAMPLE": lambda where: where.indented(example.partition("\n")[2])}  # without the licence
        for line in template.replace("@VERSION@", self.version).splitlines():
            match = re.fullmatch(r"@(\w+)@", line)
            if match:
                places[match.group(1)](page)
            else:
                page.raw(line)
        return page

    def families(self, page):
        for header in self.api["headers"]:
            names = [x["name"] for x in self.api["functions"] if x["header"] == header["name"]]
            if names:
                page.items([(page.link(f"vh_{header['name']}"), header["title"], ", ".join(n + "()" for n in names))])

    def errors(self, page):
        used = {e for f in self.api["functions"] for e in f["errors"]}
        page.items([(roff.bold("-" + name), MEANING[name]) for name in sorted(used)])

    def headers(self, page):
        page.links = set()
        page.see_also(["vhctl", *(f"vh_{h['name']}" for h in self.api["headers"])])

    def all(self, template, example, vhctl):
        """{file name: source}"""
        found = [*map(self.function, self.api["functions"]), *map(self.struct, self.api["structs"]),
                 *map(self.header, self.api["headers"]), self.overview(template, example),
                 markdown.command(self.page("vhctl", "be a vhost-user device, ask one what it is, move data"), vhctl)]
        return {f"{page.name}.{self.pages[page.name]}": page.source() for page in found}


def check_meanings(api):
    unknown = {e for f in api["functions"] for e in f["errors"]} - set(MEANING)
    if unknown:
        raise SystemExit(f"bindings/emit_man.py: MEANING has no line for {' '.join(sorted(unknown))}")


def write(pages, folder):
    """The pages, and none of those that an older run left there."""
    os.makedirs(folder, exist_ok=True)
    for path in glob.glob(os.path.join(folder, "*.[137]")):
        if os.path.basename(path) not in pages:
            os.unlink(path)
    for name, text in pages.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(text)


def main():
    if len(sys.argv) != 6:
        raise SystemExit(__doc__)
    texts = []
    for path in sys.argv[1:5]:
        with open(path, encoding="utf-8") as f:
            texts.append(f.read())
    api = json.loads(texts[0])
    check_meanings(api)
    write(Manual(api).all(*texts[1:]), sys.argv[5])


if __name__ == "__main__":
    main()
