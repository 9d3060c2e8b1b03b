# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vh.launch: the scenarios that Go's launch runs too, and what is Python's own. No test needs the C library."""
import asyncio
import contextlib
import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "python"))
# pylint: disable=wrong-import-position
from vh import launch  # noqa: E402
from vh.launch import installed as described, sockets  # noqa: E402
from vh.testing import FE, F, FrontEnd  # noqa: E402

VHCTL = os.path.join(os.environ.get("VH_BUILD", os.path.join(TOP, "build")), "vhctl")
DATA = os.path.join(TOP, "tests", "data")
PEER = (sys.executable, "-I", "-S", os.path.join(DATA, "launch_peer.py"))
WAIT = 60
with open(os.path.join(DATA, "launch.json"), encoding="utf-8") as _f:
    SCENARIOS = json.load(_f)


def scenarios(kind):
    return pytest.mark.parametrize("s", [pytest.param(s, id=s["name"]) for s in SCENARIOS[kind]])


def program(s):
    return [s["program"]] if "program" in s else list(PEER)


def fds():
    return {name: os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{name}")}


def children():
    with open(f"/proc/self/task/{threading.get_native_id()}/children", encoding="ascii") as f:
        return f.read().split()


@pytest.fixture(autouse=True)
def _nothing_stays():
    """No fd, no thread, no process."""
    before, threads, processes = fds(), threading.active_count(), children()
    yield
    gc.collect()
    assert (fds(), threading.active_count(), children()) == (before, threads, processes)


def gone(pid):
    """Once it was killed it takes until its parent, or who has adopted it, has heard of it."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                if f.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


@scenarios("discover")
def test_discovery(s, tmp_path):
    for name, text in s["files"].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if text.isalpha():
            text = json.dumps({"description": "d", "type": text, "binary": f"/bin/{text}"})
        (tmp_path / name).write_text(text, encoding="utf-8")
    dirs = [str(tmp_path / d) for d in ("home", "etc", "usr")]
    found = [os.path.relpath(d.path, tmp_path) for d in launch.discover(s.get("type", ""), dirs)]
    assert found == s["found"]
    problems = {os.path.relpath(d.path, tmp_path): d.problem for d in launch.descriptions(dirs) if d.problem}
    assert problems.keys() == s.get("problems", {}).keys()
    assert all(said in problems[name] for name, said in s.get("problems", {}).items())


def said_so(s, error):
    assert type(error).__name__ == (s.get("error") or s["err"])
    assert all(text in str(error) for text in s["says"]), str(error)


@scenarios("capabilities")
def test_capabilities(s, tmp_path):
    words = [*program(s), *s["steps"], *([f"--child={tmp_path}/child"] if "child" in s else [])]
    if "error" in s:
        with pytest.raises(launch.LaunchError) as e:
            launch.capabilities(words, s.get("timeout", WAIT))
        said_so(s, e.value)
    else:
        got = launch.capabilities(words, WAIT)
        assert (got.type, list(got.features)) == (s["type"], s["features"]) and got.raw["type"] == s["type"]
    if "child" in s:
        assert gone(int((tmp_path / "child").read_text()))


class Place:
    """Where a scenario's socket is to be, and what was there before."""

    def __init__(self, s, folder):
        self.folder = folder / ("x" * 110 if s.get("long") else "f")
        self.folder.mkdir()
        self.path = str(self.folder / s.get("folder", "") / "s")
        self.was = s.get("before")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if self.was == "datagrams" else socket.SOCK_STREAM)
        if self.was in ("left", "listens", "datagrams"):
            self.listener.bind(self.path)
        if self.was == "listens":
            self.listener.listen()
        elif self.was == "left":
            self.listener.close()
        elif self.was == "file":
            open(self.path, "w", encoding="ascii").close()

    def as_before(self):
        there = sorted(os.listdir(self.folder))
        assert there == (["s"] if self.was in ("listens", "datagrams", "file") else [])
        if self.was == "listens":
            assert launch.listening(self.path)
        self.listener.close()


@scenarios("start")
def test_start(s, tmp_path):
    place, child = Place(s, tmp_path), tmp_path / "child"
    words = [*program(s), *s["steps"], f"--child={child}"]
    options = {"how": s.get("how", ""), "timeout": s.get("timeout", WAIT), "grace": s.get("grace", WAIT), "prompt": "prompt" in s,
               **({} if s.get("how") == "connected" else {"socket": place.path})}
    if "error" in s:
        while True:
            with pytest.raises(OSError) as e:
                launch.start(words, **options)
            if s["error"] != "TimedOut" or s["says"][1] in str(e.value) or options["timeout"] > WAIT:
                break
            options["timeout"] *= 4  # a busy machine: it had not come so far
        if "folder" not in s:
            said_so(s, e.value)
        assert isinstance(e.value, FileNotFoundError) == (s["error"] == "NotFound")
    else:
        with launch.start(words, **options) as b:
            if s.get("how") == "connected":
                assert b.path is None and b.connection.recv(9) == b"here"
            else:
                assert b.path == place.path and launch.listening(b.path)
            if s.get("connect"):
                launch.connect(b.path).close()
                assert b.wait(WAIT) == s["code"]
            else:
                assert not b.done() and b.err() is None and b.returncode is None
                assert b.stop() == s["code"]
            assert b.done() and b.returncode == b.stop() == b.wait(0) == s["code"]
            if "err" in s:
                said_so(s, b.err())
            else:
                assert b.err() is None
    place.as_before()
    if "child" in s:
        assert gone(int(child.read_text()))


def test_without_a_socket_it_gets_a_folder_that_goes_with_it():
    with launch.start([*PEER, "bind", "listen", "stay"]) as b:
        folder = os.path.dirname(b.path)
        assert os.stat(folder).st_mode & 0o777 == 0o700
    assert not os.path.exists(folder)


def test_a_line_is_split_and_what_is_to_be_known_is_shown(tmp_path):
    line = f"{' '.join(PEER)} 'say=two words' bind listen stay --socket-path={{socket}}"
    with launch.start(line, socket=tmp_path / "s", pidfile=str(tmp_path / "pid"), log=tmp_path / "log") as b:
        assert (tmp_path / "pid").read_text() == f"{b.pid}\n" and "runs at" in repr(b) and str(b.pid) in repr(b)
        assert b.command[-1] == f"--socket-path={b.path}"
    assert (tmp_path / "log").read_text() == b.output() == "two words\n" and "ended" in repr(b)
    assert os.listdir(tmp_path) == ["log"]


def test_a_listener_of_the_caller_s(tmp_path):
    with launch.listen(str(tmp_path / "s")) as ours:
        with launch.start([*PEER, "inherit", "accept"], listener=ours) as b:
            launch.connect(b.path).close()
            assert b.wait(WAIT) == 0 and b.err() is None
        assert launch.listening(str(tmp_path / "s"))


def test_what_is_asked_must_mean_something():
    for words, how in ((["x"], "maybe"), ([], ""), (["{socket}", "{fd}"], ""), ("", "")):
        with pytest.raises(ValueError):
            launch.start(words, how=how)
    with pytest.raises(launch.LaunchError) as e:
        launch.listen("/tmp/" + "x" * 120)
    assert "too long" in str(e.value)


def test_wait_runs_into_its_time(tmp_path):
    with launch.start([*PEER, "bind", "listen", "stay"], socket=tmp_path / "s") as b:
        with pytest.raises(TimeoutError):
            b.wait(0.05)


def test_another_thread_waits_while_it_is_stopped():
    with launch.start([*PEER, "bind", "listen", "stay"]) as b:
        codes = []
        threads = [threading.Thread(target=lambda: codes.append(b.wait())) for _ in range(3)]
        for t in threads:
            t.start()
        b.stop()
        for t in threads:
            t.join(WAIT)
        assert codes == [-signal.SIGTERM] * 3


def test_asyncio_hears_of_the_end(tmp_path):
    async def work(b):
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(b.fileno(), ended.set)
        launch.connect(b.path).close()
        await asyncio.wait_for(ended.wait(), WAIT)
        asyncio.get_running_loop().remove_reader(b.fileno())
    with launch.start([*PEER, "bind", "listen", "accept"], socket=tmp_path / "s") as b:
        asyncio.run(work(b))
        assert b.returncode == 0


@pytest.mark.filterwarnings("default::ResourceWarning")
def test_one_that_is_forgotten_is_stopped():
    with pytest.warns(ResourceWarning, match="was not stopped"):
        b = launch.start([*PEER, "bind", "listen", "stay"])
        pid, folder = b.pid, os.path.dirname(b.path)
        del b
        gc.collect()
    assert not os.path.exists(f"/proc/{pid}") and not os.path.exists(folder)


def test_at_exit_it_is_stopped(tmp_path):
    program_ = ("import sys; from vh import launch\nb = launch.start(sys.argv[2:], socket=sys.argv[1])\nprint(b.pid)\n")
    got = subprocess.run([sys.executable, "-c", program_, tmp_path / "s", *PEER, "bind", "listen", "stay"],
                         env={**os.environ, "PYTHONPATH": os.path.join(TOP, "python")}, stdout=subprocess.PIPE, timeout=WAIT, check=True)
    assert gone(int(got.stdout)) and not os.listdir(tmp_path)


def test_a_fork_of_ours_leaves_it_alone():
    with launch.start([*PEER, "bind", "listen", "stay"]) as b:
        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException):
                b._end()  # what its exit would do  # pylint: disable=protected-access
            os._exit(0)
        os.waitpid(pid, 0)
        assert not b.done() and launch.listening(b.path)


def test_errors_can_be_copied():
    import pickle
    with pytest.raises(launch.Died) as e:
        launch.start([*PEER, "say=words", "exit=3"])
    again = pickle.loads(pickle.dumps(e.value))
    assert (str(again), again.returncode, again.output, again.errno) == (str(e.value), 3, "words\n", e.value.errno)


def test_it_is_told_how_long_it_had_to_end(tmp_path):
    b = launch.start([*PEER, "deaf", "bind", "listen", "stay"], socket=tmp_path / "s", grace=30)
    assert b.stop(0.1) == -signal.SIGKILL
    assert "no end 0.1 s after SIGTERM" in str(b.err())


def test_what_the_diagnostics_don_t_know_is_left_alone(tmp_path, monkeypatch):
    """As they don't know who listens in another network namespace, whose file may be here all the same."""
    path = str(tmp_path / "s")
    with launch.listen(path) as theirs:
        monkeypatch.setattr(sockets, "_diagnosed", lambda _: False)
        for _ in range(4):  # more than its backlog has room for
            with pytest.raises(launch.InUse, match="another network namespace"):
                launch.listen(path)
        assert os.path.exists(path)
    launch.listen(path).close()


# Who listens


@pytest.fixture(name="by_name", params=(False, True), ids=("by socket diagnostics", "by /proc/net/unix"))
def _by_name(request, monkeypatch):
    if request.param:
        def refused(_):
            raise OSError(2, "no unix_diag")
        monkeypatch.setattr(sockets, "_diagnosed", refused)
    return request.param


def test_listen_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("chmod")
    monkeypatch.setattr(sockets.os, "chmod", refuse)
    with pytest.raises(PermissionError):
        sockets.listen(str(tmp_path / "s"))
    assert not os.listdir(tmp_path)


def test_what_says_where_a_socket_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there, gone = socket.socket(socket.AF_UNIX), str(tmp_path / "gone")
    with there:
        there.bind("blk.sock")
        for text, name in (("unix:/x", "/x"), ("unix:@x", "@x"), ("@x", "@x"), ("abstract:x", "@x"), (gone, gone), ("./x", "./x"),
                           ("blk.sock", "blk.sock"), ("/dev/shm/x", "/dev/shm/x"), ("/run/a:b", "/run/a:b")):
            assert sockets.is_one(text) and sockets.named(text) == name, text
    for text in ("", "unix:", "@", "x.sock", "vdpa:x", "exec:/bin/x {socket}", "tcp:/x", "/dev/vhost-net", "/dev/vhost-vdpa-0", "/dev/null"):
        assert not sockets.is_one(text), text


def test_who_listens(tmp_path, by_name):
    path = str(tmp_path / "s")
    assert not launch.listening(path)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        assert not launch.listening(path)
        s.listen(1)
        assert launch.listening(path)
        with launch.connect(path):
            assert launch.listening(path)
    assert not launch.listening(path)
    with socket.socket(socket.AF_UNIX) as s:
        name = f"@vh-{os.getpid()}-{by_name}"
        s.bind("\0" + name[1:])
        assert not launch.listening(name)
        s.listen(1)
        assert launch.listening(name) and not launch.listening(name + "x")
        launch.connect(name).close()
    with launch.listen(name):
        assert launch.listening(name)


def test_a_path_is_known_by_its_file(tmp_path, monkeypatch):
    """Relative, by a link, or by way of an fd: not that of another socket with the same name."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("other")
    os.symlink("s", "link")
    with socket.socket(socket.AF_UNIX) as s, socket.socket(socket.AF_UNIX) as other:
        s.bind("s")
        other.bind("other/s")
        s.listen(1)
        assert launch.listening("s") and launch.listening(str(tmp_path / "s")) and launch.listening("link")
        assert not launch.listening("other/s") and not launch.listening(str(tmp_path / "other" / "s"))


def test_waiting_does_not_use_up_the_connection(tmp_path, by_name):
    with launch.listen(str(tmp_path / "s")) as s:
        launch.wait_listening(str(tmp_path / "s"), 0)
        s.setblocking(False)
        with pytest.raises(BlockingIOError):
            s.accept()
    with pytest.raises(TimeoutError, match="there is a socket, but nobody"):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(tmp_path / "b"))
            launch.wait_listening(str(tmp_path / "b"), 0.02)


def test_one_in_a_network_namespace_of_its_own(tmp_path):
    unshare = ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*unshare, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        unshare = ["unshare", "--net"]
    with launch.start([*unshare, *PEER, "bind", "listen", "stay"], socket=tmp_path / "s") as b:
        assert not launch.listening(b.path) and launch.listening(b.path, b.pid)


# Who is installed


def installed(folder, name, *steps, type_="block"):
    binary = folder / f"{name}.sh"
    binary.write_text("#!/bin/sh\nexec " + " ".join(f"'{w}'" for w in (*PEER, *steps)) + ' "$@"\n', encoding="utf-8")
    binary.chmod(0o755)
    (folder / f"{name}.json").write_text(json.dumps({"description": name, "type": type_, "binary": str(binary)}), encoding="utf-8")


def test_find_takes_the_first_that_can_it_and_says_why_others_were_not_it(tmp_path):
    installed(tmp_path, "10-broken", "exit=1")
    installed(tmp_path, "20-liar", 'out={"type": "net"}')
    installed(tmp_path, "30-poor", 'out={"type": "block"}')
    installed(tmp_path, "40-good", 'out={"type": "block", "features": ["read-only", "blk-file"]}')
    found, can = launch.find("blk", ["blk-file"], [str(tmp_path)], WAIT)
    assert found.name == "40-good.json" and "read-only" in can.features
    with pytest.raises(launch.NotFound) as e:
        launch.find("block", ["teleport"], [str(tmp_path)], WAIT)
    lines = str(e.value).splitlines()
    assert len(lines) == 5 and "exit code 1" in lines[1] and "it is net" in lines[2] and "no teleport" in lines[3]


def test_folders_follow_the_user_s_configuration(monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    assert launch.folders() == ["/c/qemu/vhost-user", "/etc/qemu/vhost-user", "/usr/share/qemu/vhost-user"]
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", "/h")
    assert launch.folders()[0] == "/h/.config/qemu/vhost-user"


def test_a_description_that_is_a_pipe_or_too_large_holds_up_nothing(tmp_path):
    os.mkfifo(tmp_path / "10-pipe.json")
    (tmp_path / "20-large.json").write_text(" " * (65 << 10), encoding="ascii")
    (tmp_path / "30-folder.json").mkdir()
    os.symlink("40-loop.json", tmp_path / "40-loop.json")
    found = {d.name: d.problem for d in launch.descriptions([str(tmp_path)])}
    assert "65536 bytes" in found["20-large.json"] and found["30-folder.json"] == found["10-pipe.json"] == "no file" and "symbolic" in found["40-loop.json"]
    assert launch.discover("", [str(tmp_path)]) == []


@settings(database=None, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=8)), lambda v: st.lists(v, max_size=4) | st.dictionaries(
        st.sampled_from(("type", "binary", "features", "tags", "x")), v, max_size=4), max_leaves=20).map(lambda v: json.dumps(v).encode())))
def test_whatever_is_said_is_an_object_or_a_reason(text):
    try:
        told = described.parse(text)
        for ask in (described.string, described.strings):
            with contextlib.suppress(ValueError):
                value = ask(told, "type")
                assert isinstance(value, (str, tuple)) and all(part.isprintable() for part in value)
    except ValueError as e:
        assert str(e)


# One of somebody else's: QEMU's virtiofsd, which serves one front-end and ends


@pytest.mark.parametrize("how", ("socket", "fd"))
def test_virtiofsd_is_found_started_and_not_used_up(tmp_path, how):
    found, can = launch.find("fs", timeout=WAIT)
    assert found.binary.endswith("virtiofsd") and can.type == "fs"
    try:
        with launch.start(found, "-o", f"source={tmp_path},sandbox=chroot", how=how, timeout=WAIT) as b:
            launch.wait_listening(b.path, WAIT)
            with FrontEnd.connect(b.path, timeout=WAIT) as front:
                assert front.get_u64(FE.GET_FEATURES) >> F.VERSION_1 & 1
            assert b.wait(WAIT) == 0 and b.err() is None and "Received vhost-user socket connection" in b.output()
    except launch.Died:
        assert os.geteuid()  # chroot is root's


# The tutorial


with open(os.path.join(TOP, "docs", "launch.md"), encoding="utf-8") as _f:
    EXAMPLES = re.findall(r"^```python\n(.*?)^```", _f.read(), flags=re.S | re.M)


@pytest.mark.parametrize("n", range(len(EXAMPLES)))
def test_the_examples_of_the_tutorial_run(n, tmp_path):
    path = os.pathsep.join((os.path.dirname(VHCTL), os.environ["PATH"]))
    got = subprocess.run([sys.executable, "-W", "error", "-c", EXAMPLES[n]], cwd=tmp_path, timeout=WAIT, stderr=subprocess.PIPE, text=True,
                         env={**os.environ, "PATH": path, "PYTHONPATH": os.path.join(TOP, "python")}, check=False)
    assert got.returncode == 0 and not got.stderr, got.stderr
    assert set(os.listdir(tmp_path)) <= {"disk.log"}


def test_the_go_of_the_tutorial_is_what_go_tests():
    with open(os.path.join(TOP, "docs", "launch.md"), encoding="utf-8") as f:
        code, = re.findall(r"^```go\n(.*?)^```", f.read(), flags=re.S | re.M)
    with open(os.path.join(TOP, "go", "launch", "example_test.go"), encoding="utf-8") as f:
        assert "".join("\t" + line for line in code.replace('"vhctl"', "vhctl").splitlines(True)) in f.read()


# vhctl


def vhctl(*args, **kw):
    return subprocess.run([VHCTL, *map(str, args)], env={**os.environ, "PYTHONPATH": os.path.join(TOP, "python"), "VHCTL_PYTHON": sys.executable},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=WAIT, check=False, **kw)


def test_vhctl_caps(tmp_path):
    assert vhctl("caps", "--", VHCTL, "serve", "blk").stdout == "block: read-only blk-file\n"
    assert json.loads(vhctl("caps", "--json", "--", VHCTL, "serve", "net").stdout) == {"type": "net", "features": []}
    got = vhctl("caps", "--dir", tmp_path)
    assert got.returncode == 3 and "no back-end" in got.stderr
    installed(tmp_path, "10-liar", 'out={"type": "net"}')
    installed(tmp_path, "20-good", 'out={"type": "block", "features": ["read-only"]}')
    (tmp_path / "30-bad.json").write_text("{", encoding="ascii")
    rows = json.loads(vhctl("caps", "--json", "--dir", tmp_path).stdout)["backends"]
    assert [(r["type"], r["features"], bool(r["problem"])) for r in rows] == \
        [("block", [], True), ("block", ["read-only"], False), ("", [], True)]
    table = vhctl("caps", "--type", "blk", "--dir", tmp_path)
    assert table.returncode == 0 and "it says that it is net" in table.stdout and "read-only" in table.stdout
    assert vhctl("caps", "--type", "gpu", "--dir", tmp_path).returncode == 3


def test_vhctl_wait(tmp_path):
    got = vhctl("wait", tmp_path / "s", "--timeout", "20ms")
    assert got.returncode == 3 and "nobody listens" in got.stderr
    with launch.listen(str(tmp_path / "s")):
        assert vhctl("wait", f"unix:{tmp_path}/s").returncode == 0
    assert vhctl("wait").returncode == 2 and vhctl("wait", "x", "--timeout", "soon").returncode == 2


def test_vhctl_run(tmp_path):
    words = [VHCTL, "run", "--json", "--socket", str(tmp_path / "s"), "--", VHCTL, "serve", "blk", "--ram", "1M"]
    env = {**os.environ, "PYTHONPATH": os.path.join(TOP, "python"), "VHCTL_PYTHON": sys.executable}
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        told = json.loads(p.stdout.readline())
        assert told["socket"] == str(tmp_path / "s") and launch.listening(told["socket"])
        probed = vhctl("probe", "unix:" + told["socket"], "--json")
        p.terminate()
        out, errors = p.communicate(timeout=WAIT)
    assert probed.returncode == 0 and p.returncode == 0 and out == "" and "serving blk" in errors and not os.listdir(tmp_path)


def test_vhctl_run_tells_how_it_ended(tmp_path):
    assert vhctl("run").returncode == 2
    got = vhctl("run", "--", *PEER, "say=no disk", "exit=5")
    assert got.returncode == 1 and "exit code 5" in got.stderr and "no disk" in got.stderr
    assert vhctl("run", "--", "/nonexistent/backend").returncode == 3
    installed(tmp_path, "20-good", 'out={"type": "block"}', "exit=0")
    assert vhctl("run", "--type", "net", "--dir", tmp_path).returncode == 3
    got = vhctl("run", "--name", "20-good", "--dir", tmp_path)
    assert got.returncode == 1 and "stay in front" in got.stderr


def test_vhctl_run_tells_systemd(tmp_path):
    """Type=notify: it is up when it listens, and says when it ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(WAIT)
        env = {**os.environ, "PYTHONPATH": os.path.join(TOP, "python"), "VHCTL_PYTHON": sys.executable, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with subprocess.Popen([VHCTL, "run", "--socket", tmp_path / "s", "--", *PEER, "bind", "listen", "stay"], env=env, stderr=subprocess.PIPE) as p:
            told = manager.recv(4096).decode().splitlines()
            ready = launch.listening(str(tmp_path / "s"))
            p.send_signal(signal.SIGINT)
            ends = manager.recv(4096)
            p.communicate(timeout=WAIT)
    assert told[0] == "READY=1" and told[1].startswith("STATUS=") and ready and ends == b"STOPPING=1" and p.returncode == 0
