# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A program for the scenarios of launch.json: it does what its words say, one after the other."""
import os
import select
import signal
import socket
import sys

options = dict(word[2:].split("=", 1) for word in sys.argv[1:] if word.startswith("--") and "=" in word)
sock = socket.socket(socket.AF_UNIX)


def inherited(number):
    """The socket of --fd=N, which has to be what was promised."""
    global sock
    sock = socket.socket(fileno=number)
    if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        sys.exit(9)


def listens():
    inherited(int(options["fd"]))
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sys.exit(9)


def says_who():
    inherited(int(options["fd"]))
    sock.sendall(b"here")


def child():
    """One that outlives its parent, unless somebody sees to it."""
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pause()
    with open(options["child"], "w", encoding="ascii") as f:
        f.write(str(pid))


def forever():
    while True:
        os.write(1, b"{" * 4096)


def ends(is_so):
    """Whether stdin is at its end: /dev/null is, a pipe with a writer is not."""
    if bool(select.select([0], [], [], 0)[0]) != is_so:
        sys.exit(8)


DO = {
    "quiet": lambda _: ends(False),
    "ended": lambda _: ends(True),
    "bind": lambda _: sock.bind(options["socket-path"]),
    "listen": lambda _: sock.listen(1),
    "accept": lambda _: sock.accept(),
    "inherit": lambda _: listens(),
    "connected": lambda _: says_who(),
    "say": lambda text: print(text, file=sys.stderr, flush=True),
    "noise": lambda n: [print("noise", i, file=sys.stderr) for i in range(int(n))],
    "out": lambda text: print(text, flush=True),
    "bytes": lambda text: os.write(1, bytes.fromhex(text)),
    "nest": lambda n: print("[" * int(n)),
    "forever": lambda _: forever(),
    "deaf": lambda _: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "polite": lambda n: signal.signal(signal.SIGTERM, lambda *_: os._exit(int(n))),
    "child": lambda _: child(),
    "number": lambda _: open(options["socket-path"] + ".pid", "w", encoding="ascii").write(str(os.getpid())),
    "kill": lambda n: os.kill(os.getpid(), int(n)),
    "exit": lambda n: os._exit(int(n)),
    "stay": lambda _: signal.pause(),
}
for word in sys.argv[1:]:
    if not word.startswith("--"):
        what, _, value = word.partition("=")
        DO[what](value)
