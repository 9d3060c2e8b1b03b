# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhsh: a Python shell with a device connected, and help at hand."""
import argparse
import code
import inspect
import sys
from typing import Any

import vh

# What a shell has beside all names of vh; the order is that of its banner.
_TYPES = {"blk": vh.Blk, "net": vh.Net}


class Shell:
    """The names of a shell, and the devices that it opened."""

    def __init__(self, target: "str | None", kind: "str | None", timeout: "float | None"):
        self.target = target
        self._timeout = timeout
        self._opened: "list[Any]" = []
        self.names: "dict[str, Any]" = {name: getattr(vh, name) for name in vh.__all__}
        self.names.update(vh=vh, guide=self.guide, apropos=self.apropos)
        self._lines: "list[tuple[str, str]]" = []
        if target is None:
            self._add("open_target", None, 'open_target("/path"), "vdpa:NAME", "/dev/vhost-net": something to drive')
        elif kind is None:
            self._add("dev", self._keep(vh.open_target(target, timeout=timeout)), "{what}, connected to " + target)
            self._add("drive", self.drive, "drive(n_queues=1, ...): a running session with it, a Driver")
            self._add("blk", self.blk, "blk(): a disk to read() and write()")
            self._add("net", self.net, "net(): frames, to send() and receive()")
        else:
            device = self._keep(_TYPES[kind](target, timeout=timeout))
            self._add(kind, device, "{what}, driving " + target)
            self._add("driver", device.driver, "its session, a Driver")
        self._add("guide", None, "guide(): these lines; guide(x): what x can do, and has")
        self._add("apropos", None, 'apropos("reset"): names that have to do with it; help(x): all of it')

    def _add(self, name: str, value: Any, what: str) -> None:
        if value is not None:
            self.names[name] = value
        self._lines.append((name, what.format(what="a " + type(value).__name__)))

    def _keep(self, device: Any) -> Any:
        self._opened.append(device)
        return device

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()

    # What the user calls.

    def drive(self, **options: Any) -> vh.Driver:
        """A running session with the device."""
        driver = vh.Driver(self.names["dev"], **options)
        self._keep(driver)
        driver.start()
        return driver

    def blk(self, **options: Any) -> vh.Blk:
        """The device as a disk."""
        return self._keep(vh.Blk(self.names["dev"], **options))  # type: ignore[no-any-return]

    def net(self, **options: Any) -> vh.Net:
        """The device as a network device."""
        return self._keep(vh.Net(self.names["dev"], **options))  # type: ignore[no-any-return]

    def guide(self, what: Any = None) -> None:
        """What there is; or the methods and properties of an object or class, a line each."""
        lines = self._lines if what is None else [(_call(what, name), _first(member)) for name, member in _members(what)]
        width = min(44, max((len(name) for name, _ in lines), default=0))
        for name, text in lines:
            print(f"  {name:{width}}  {text}".rstrip())

    def apropos(self, word: str) -> None:
        """Names of vh, and methods of its classes, that have a word in their name or first line."""
        for name in vh.__all__:
            value, found = getattr(vh, name), []
            if inspect.isclass(value) and value.__module__.startswith("vh.") and not issubclass(value, tuple):
                found = [(f"{name}.{n}", m) for n, m in _members(value)]
            for full, member in [(name, value), *found]:
                if word.lower() in f"{full} {_first(member)}".lower():
                    print(f"  {full:32}  {_first(member)}".rstrip())

    def banner(self) -> str:
        return "\n".join([f"libvh {vh.__version__}. guide() says what is here, Ctrl-D ends it.",
                          *(f"  {name:12}  {what}" for name, what in self._lines)])


def _members(what: Any) -> "list[tuple[str, Any]]":
    cls = what if inspect.isclass(what) else type(what)
    return [(n, m) for n, m in inspect.getmembers(cls) if n[0] != "_" and (callable(m) or isinstance(m, property))]


def _call(what: Any, name: str) -> str:
    member = inspect.getattr_static(what if inspect.isclass(what) else type(what), name, None)
    if isinstance(member, property):
        return name
    try:
        parameters = [p for p in inspect.signature(getattr(what, name)).parameters.values() if p.name != "self"]
    except (TypeError, ValueError):
        return name + "(...)"
    return f"{name}({', '.join(p.name if p.default is p.empty else f'{p.name}={p.default!r}' for p in parameters)})"


def _first(member: Any) -> str:
    doc = (inspect.getdoc(member) or "") if callable(member) or isinstance(member, property) else ""
    return doc.split("\n\n", maxsplit=1)[0].replace("\n", " ")


def _interactive(shell: Shell) -> None:
    try:
        import readline
        import rlcompleter
        readline.set_completer(rlcompleter.Completer(shell.names).complete)
        readline.parse_and_bind("tab: complete")
    except ImportError:
        pass  # without line editing
    sys.ps1 = "vh> "
    code.interact(shell.banner(), local=shell.names, exitmsg="")


def main(argv: "list[str] | None" = None) -> int:
    parser = argparse.ArgumentParser(prog="vhsh", description=__doc__)
    parser.add_argument("target", nargs="?", help='PATH or @NAME of a socket, "vdpa:NAME", /dev/vhost-...; without: nothing is connected')
    parser.add_argument("--type", choices=sorted(_TYPES), help="drive it as a device of that type at once")
    parser.add_argument("--timeout", type=float, help="seconds to wait for each answer, 10")
    parser.add_argument("-c", metavar="CODE", help="run this and end")
    args = parser.parse_args(argv)
    if args.type and not args.target:
        parser.error("--type needs a target")
    try:
        shell = Shell(args.target, args.type, args.timeout)
    except OSError as e:
        print(f"vhsh: {args.target}: {e}", file=sys.stderr)
        return 3
    shell.names.update(__name__="__main__", __builtins__=__builtins__)
    try:
        if args.c is None and sys.stdin.isatty():
            _interactive(shell)
        else:
            text = args.c if args.c is not None else sys.stdin.read()
            exec(compile(text, "<vhsh>", "exec"), shell.names)  # pylint: disable=exec-used
    finally:
        shell.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
