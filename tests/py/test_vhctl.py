# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhctl as its users meet it: exit codes, words, JSON keys, sockets that it makes and leaves alone."""
import hashlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import time

import check_devices
import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VHCTL = os.path.join(os.environ.get("VH_BUILD", os.path.join(TOP, "build")), "vhctl")
DONE, WRONG, USAGE, UNREACHABLE = 0, 1, 2, 3
MIB = 1 << 20


def vhctl(*args, **kw):
    return subprocess.run([VHCTL, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=30, check=False, **kw)


def pattern(seed, offset, size):
    """The documented pattern, written again from docs/vhctl.md."""
    mask = (1 << 64) - 1
    out = bytearray()
    for n in range(seed + offset // 8, seed + (offset + size) // 8):
        z = (n + 1) * 0x9E3779B97F4A7C15 & mask
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        out += (z ^ z >> 31).to_bytes(8, "little")
    return bytes(out)


class Server:
    def __init__(self, path, *args, kind="blk", fds=(), env=None):
        self.path = path
        where = ("--socket", path) if path else ()
        self.p = subprocess.Popen([VHCTL, "serve", kind, *where, *map(str, args)], stdin=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, pass_fds=fds, text=True, env={**os.environ, **(env or {})})
        self.said = self.p.stderr.readline()

    @property
    def target(self):
        return f"unix:{self.path}"

    def end(self, sig=signal.SIGTERM):
        self.p.send_signal(sig)
        rc = self.p.wait(10)
        self.p.stderr.close()
        return rc


@pytest.fixture(name="serve")
def _serve(tmp_path):
    servers = []

    def start(*args, **kw):
        servers.append(Server(str(tmp_path / f"s{len(servers)}"), *args, **kw))
        return servers[-1]
    yield start
    for s in servers:
        if s.p.poll() is None:
            s.end()


@pytest.mark.parametrize("args", [
    (), ("dance",), ("serve",), ("serve", "net"), ("serve", "scsi"), ("serve", "net", "--socket", "/tmp/x"),
    ("serve", "net", "--socket", "/tmp/x", "--sink", "--source"), ("serve", "net", "--socket", "/tmp/x", "--ram", "1M"),
    ("serve", "net", "--socket", "/tmp/x", "--sink", "--mac", "52:54"), ("serve", "net", "--socket", "/tmp/x", "--sink", "--mtu", "9"),
    ("serve", "net", "--socket", "/tmp/x", "--tap", "x" * 16), ("serve", "blk"), ("serve", "blk", "--ram", "1M"),
    ("serve", "blk", "--socket", "/tmp/x", "--fd", "3", "--ram", "1M"), ("serve", "blk", "--socket", "/tmp/x"),
    ("serve", "blk", "--socket", "/tmp/x", "--ram", "1M", "--null", "1M"),
    ("serve", "blk", "--socket", "/tmp/x", "--ram", "lots"), ("serve", "blk", "--socket", "/tmp/x", "--ram", "100"),
    ("serve", "blk", "--socket", "/tmp/x", "--ram", "1M", "--queues", "0"),
    ("serve", "blk", "--socket", "/tmp/x", "--ram", "1M", "--queue-size", "100"),
    ("serve", "blk", "--socket", "/tmp/x", "--ram", "1M", "--serial", "x" * 21),
    ("serve", "blk", "--socket", "/tmp/x", "--ram", "1M", "--packed", "maybe"),
    ("serve", "blk", "--socket", "/tmp/x", "--ram", "1M", "--coalesce", "32769"),
    ("serve", "blk", "--socket", "/tmp/x", "--file", "/nonexistent"),
    ("serve", "blk", "--socket", "/tmp/" + "x" * 200, "--ram", "1M"),
    ("serve", "blk", "--fd", "77", "--ram", "1M"), ("serve", "blk", "--socket", "/tmp/x", "--ram", "1M", "--umem"),
    ("serve", "blk", "--socket", "/tmp/x", "--ram", "1M", "--records", "/tmp/y"),
    ("probe",), ("probe", "nonesuch"), ("io", "blk", "/dev/vhost-net", "read"), ("probe", "unix:"), ("probe", "unix:/x", "--type", "toaster"),
    ("io", "blk"), ("io", "net", "unix:/x", "read"), ("io", "blk", "unix:/x", "dance"),
    ("io", "blk", "unix:/x", "read", "--size", "1Q"), ("io", "blk", "unix:/x", "read", "--bogus"),
    ("io", "blk", "unix:/x", "bench", "--rw", "sideways"), ("io", "blk", "unix:/x", "bench", "--bs", "100"),
    ("io", "blk", "unix:/x", "bench", "--time", "0"), ("io", "blk", "unix:/x", "read", "--offset"),
])
def test_wrong_usage_is_2_and_says_why(args):
    got = vhctl(*args)
    assert got.returncode == USAGE
    assert got.stderr and not got.stdout


def test_help_and_version():
    for words in (("--help",), ("help",), ("serve", "blk", "--help"), ("io", "-h")):
        got = vhctl(*words)
        assert got.returncode == DONE and b"exit codes" in got.stdout
    assert re.fullmatch(rb"vhctl, libvh \d+\.\d+\.\d+\n", vhctl("--version").stdout)


@pytest.mark.parametrize("args", [("probe", "/nonexistent/s"), ("io", "blk", "./nonesuch", "read"), ("probe", "unix:/nonexistent/s"), ("io", "blk", "unix:/nonexistent/s", "read")])
def test_nobody_there_is_3_in_one_line(args):
    got = vhctl(*args)
    assert got.returncode == UNREACHABLE
    lines = [line for line in got.stderr.decode().splitlines() if "note:" not in line]
    assert len(lines) == 1


@pytest.mark.parametrize("word", ("{}", "./{}", "unix:{}"))
def test_a_path_alone_is_a_target(serve, word, tmp_path):
    server = serve("--ram", "1M")
    target = word.format(os.path.basename(server.path))
    for args in (("probe", target), ("io", "blk", target, "verify"), ("probe", server.path)):
        assert vhctl(*args, cwd=tmp_path).returncode == DONE
    got = vhctl("probe", str(tmp_path / "nonesuch"))
    assert got.returncode == UNREACHABLE and b"nonesuch: " in got.stderr and b"ENOENT" in got.stderr


@pytest.mark.parametrize("op, never", (("read", check_devices.READ), ("write", check_devices.WRITE), ("write", check_devices.FLUSH)))
def test_a_request_that_is_never_done_is_waited_for_as_long_as_was_said(tmp_path, op, never):
    path = str(tmp_path / "s")
    with check_devices.served(check_devices.DiskDevice(never=(never,)), path) as slave:
        began = time.monotonic()
        got = vhctl("io", "blk", path, op, "--size", "4K", "--timeout", "300")
        took = time.monotonic() - began
        slave.stop()
    assert got.returncode == WRONG and f"{path}: no request was done for 300 ms".encode() in got.stderr, got.stderr
    assert took < 15


def test_a_stale_socket_to_connect_to_is_3(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
    assert vhctl("probe", f"unix:{path}").returncode == UNREACHABLE


def test_a_peer_that_is_silent_or_talks_nonsense_is_1(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen()
        silent = subprocess.Popen([VHCTL, "probe", f"unix:{path}", "--timeout", "300"], stderr=subprocess.PIPE)
        c, _ = s.accept()
        assert silent.wait(10) == WRONG
        assert b"ETIMEDOUT" in silent.stderr.read()
        silent.stderr.close()
        c.close()
        loud = subprocess.Popen([VHCTL, "probe", f"unix:{path}"], stderr=subprocess.DEVNULL)
        c, _ = s.accept()
        c.recv(100)
        c.send(b"\xff" * 20)
        assert loud.wait(10) == WRONG
        c.close()


def test_capabilities_ignore_everything_else():
    got = vhctl("serve", "blk", "--print-capabilities", "--bogus", "--socket-path=/nonexistent/x")
    assert got.returncode == DONE
    assert json.loads(got.stdout) == {"type": "block", "features": ["read-only", "blk-file"]}


def test_it_says_when_it_listens_and_cleans_up(serve):
    s = serve("--ram", "1M")
    assert s.said == f"vhctl: serving blk on {s.path}\n"
    mode = os.stat(s.path).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    assert s.end() == DONE
    assert not os.path.exists(s.path)


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_end_it_cleanly_too(serve, sig):
    s = serve("--ram", "1M")
    assert s.end(sig) == DONE
    assert not os.path.exists(s.path)


def test_it_removes_only_its_own_socket(serve):
    s = serve("--ram", "1M")
    os.unlink(s.path)
    with open(s.path, "w", encoding="utf-8"):
        pass
    assert s.end() == DONE
    assert os.path.exists(s.path)


def test_a_stale_socket_is_replaced_and_nothing_else(serve, tmp_path):
    s = serve("--ram", "1M")
    assert s.end(signal.SIGKILL) == -signal.SIGKILL
    assert stat.S_ISSOCK(os.stat(s.path).st_mode)
    again = Server(s.path, "--ram", "1M")
    assert vhctl("serve", "blk", "--socket", s.path, "--ram", "1M").returncode == USAGE
    assert vhctl("io", "blk", again.target, "read", "--size", "4K").returncode == DONE
    again.end()
    plain = tmp_path / "plain"
    plain.write_text("precious")
    (tmp_path / "link").symlink_to(plain)
    for name in ("plain", "link", "."):
        assert vhctl("serve", "blk", "--socket", tmp_path / name, "--ram", "1M").returncode == USAGE
    assert plain.read_text() == "precious"


def test_conventional_option_names(serve, tmp_path):
    image = tmp_path / "i"
    image.write_bytes(pattern(1, 0, MIB) + b"tail")
    s = Server(None, f"--socket-path={tmp_path / 'c'}", f"--blk-file={image}", "--read-only")
    target = f"unix:{tmp_path / 'c'}"
    got = json.loads(vhctl("io", "blk", target, "read", "--json").stdout)
    assert got["size"] == MIB and got["sha256"] == hashlib.sha256(image.read_bytes()[:MIB]).hexdigest()
    assert vhctl("io", "blk", target, "write", "--size", "4K").returncode == WRONG
    assert b"read-only" in vhctl("io", "blk", target, "verify").stderr
    assert s.end() == DONE


def test_an_inherited_listening_socket_serves_many(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        s = Server(None, "--fd", sock.fileno(), "--ram", "1M", fds=(sock.fileno(),))
        for _ in range(2):
            assert vhctl("io", "blk", f"unix:{path}", "verify").returncode == DONE
        assert s.end() == DONE
    assert os.path.exists(path)


def test_other_addresses(tmp_path):
    name = f"@vhctl-{os.getpid()}"
    s = Server(name, "--ram", "1M")
    assert vhctl("io", "blk", name, "verify").returncode == DONE
    assert vhctl("probe", f"abstract:{name[1:]}").returncode == DONE
    assert s.end() == DONE
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        fd = sock.fileno()
        s = Server(f"fd:{fd}", "--ram", "1M", fds=(fd,))
        assert vhctl("io", "blk", f"unix:{tmp_path / 's'}", "verify").returncode == DONE
        assert s.end() == DONE
    got = vhctl("serve", "blk", "--socket", "systemd:disk", "--ram", "1M")
    assert got.returncode == USAGE and b"LISTEN_PID" in got.stderr
    assert vhctl("probe", "vsock:3:1234").returncode == USAGE


def test_a_back_end_connects_and_gives_up(tmp_path):
    path = str(tmp_path / "s")
    s = Server(None, "--connect", path, "--tries", "2", "--ram", "1M")
    assert f"connecting to {path}" in s.said
    lines = s.p.stderr.read().splitlines()
    assert s.p.wait(10) == UNREACHABLE and "no front-end after 2 tries" in lines[-1]
    s.p.stderr.close()
    # One that is there gets a device to speak with; when it goes, the back-end looks for the next one.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(10)
        s = Server(None, "--connect", path, "--ram", "1M")
        for _ in range(2):
            with listener.accept()[0] as conn:
                conn.settimeout(10)
                conn.sendall(bytes.fromhex("010000000100000000000000"))  # GET_FEATURES
                assert conn.recv(20, socket.MSG_WAITALL)[:8] == bytes.fromhex("0100000005000000")
        assert s.end() == DONE


def test_an_inherited_connection_serves_once():
    ours, theirs = socket.socketpair()
    s = Server(None, "--fd", theirs.fileno(), "--ram", "1M", fds=(theirs.fileno(),))
    theirs.close()
    ours.close()
    assert s.p.wait(10) == DONE
    s.p.stderr.close()


PROBE_KEYS = {"target", "kind", "type", "type_assumed", "features", "protocol_features", "queues", "memory_slots",
              "config"}
RANGE_KEYS = {"target", "op", "ok", "offset", "size", "sha256", "seconds", "capacity_bytes"}
BENCH_KEYS = {"target", "op", "rw", "bs", "iodepth", "queues", "poll", "seconds", "requests", "iops", "mib_per_s",
              "latency_us"}
LATENCY_KEYS = {"avg", "p50", "p90", "p99", "p99.9", "max"}


def test_probe_json(serve):
    s = serve("--ram", "64M", "--queues", 3, "--serial", "abc")
    got = vhctl("probe", s.target, "--json")
    assert got.returncode == DONE and b"uses up" in got.stderr
    report = json.loads(got.stdout)
    assert set(report) == PROBE_KEYS
    assert report["type"] == "blk" and report["type_assumed"] is True
    assert report["queues"] == 3 and report["memory_slots"] == 509
    assert report["config"]["capacity_bytes"] == 64 * MIB
    assert report["config"]["capacity_sectors"] == 64 * MIB // 512
    assert {"BLK_FLUSH", "BLK_MQ", "VERSION_1"} <= set(report["features"]["names"])
    assert set(report["protocol_features"]["names"]) == {
        "MQ", "LOG_SHMFD", "REPLY_ACK", "BACKEND_REQ", "CONFIG", "RESET_DEVICE", "CONFIGURE_MEM_SLOTS", "STATUS",
        "DEVICE_STATE", "INFLIGHT_SHMFD", "GET_VRING_BASE_INFLIGHT", "GET_VRING_BASE_SKIP_DRAIN"}
    assert report["features"]["unknown_bits"] == []
    assert json.loads(vhctl("probe", s.target, "--json", "--type", "none").stdout)["type_assumed"] is False
    assert b"capacity_bytes" in vhctl("probe", s.target).stdout


def test_a_network_device_tells_its_pairs_and_what_it_is(serve):
    s = serve("--loopback", "--queues", 3, "--mac", "52:54:00:12:34:56", "--mtu", 9000, kind="net")
    assert s.said == f"vhctl: serving net on {s.path}\n"
    report = json.loads(vhctl("probe", s.target, "--json", "--type", "net").stdout)
    assert report["queues"] == 3
    assert {"NET_MAC", "NET_MTU", "NET_MRG_RXBUF", "NET_STATUS", "NET_MQ"} <= set(report["features"]["names"])
    assert report["config"]["raw"].startswith("525400123456" "0100" "0300" "2823")
    assert s.end() == DONE
    assert json.loads(vhctl("serve", "net", "--print-capabilities").stdout) == {"type": "net", "features": []}


def test_write_read_and_verify_json(serve):
    s = serve("--ram", "4M")
    wrote = json.loads(vhctl("io", "blk", s.target, "write", "--offset", "1M", "--size", "64K", "--seed", 5,
                             "--json").stdout)
    assert set(wrote) == RANGE_KEYS | {"seed"}
    assert wrote["sha256"] == hashlib.sha256(pattern(5, MIB, 65536)).hexdigest()
    read = json.loads(vhctl("io", "blk", s.target, "read", "--offset", "1M", "--size", "64K", "--json").stdout)
    assert set(read) == RANGE_KEYS and read["sha256"] == wrote["sha256"]
    assert vhctl("io", "blk", s.target, "read", "--offset", "1M", "--size", "64K", "--seed", 5).returncode == DONE
    wrong = vhctl("io", "blk", s.target, "read", "--offset", "1M", "--size", "64K", "--seed", 6)
    assert wrong.returncode == WRONG and b"wrong data at byte 1048576" in wrong.stderr
    verify = vhctl("io", "blk", s.target, "verify", "--json")
    assert b"overwrites" in verify.stderr
    report = json.loads(verify.stdout)
    assert set(report) == RANGE_KEYS | {"seed"} and report["size"] == 4 * MIB and report["op"] == "verified"
    for bad in (("--offset", "4M", "--size", "512"), ("--size", "100"), ("--offset", "100")):
        assert vhctl("io", "blk", s.target, "read", *bad).returncode == USAGE


def test_files_in_and_out(serve, tmp_path):
    s = serve("--ram", "1M")
    data = os.urandom(65536)
    (tmp_path / "in").write_bytes(data)
    assert vhctl("io", "blk", s.target, "write", "--size", "64K", "--input", tmp_path / "in").returncode == DONE
    assert vhctl("io", "blk", s.target, "read", "--size", "64K", "--output", tmp_path / "out").returncode == DONE
    assert (tmp_path / "out").read_bytes() == data
    assert vhctl("io", "blk", s.target, "read", "--size", "64K", "--output", "-").stdout == data
    assert vhctl("io", "blk", s.target, "write", "--size", "128K", "--input", tmp_path / "in").returncode == WRONG
    assert vhctl("io", "blk", s.target, "write", "--input", "/nonexistent").returncode == USAGE


@pytest.mark.parametrize("args", [("--rw", "randread", "--iodepth", 4), ("--rw", "randwrite", "--queues", 2),
                                  ("--rw", "read", "--bs", "64K", "--poll"), ("--rw", "write",)])
def test_bench_json(serve, args):
    s = serve("--ram", "4M", "--queues", 2)
    got = vhctl("io", "blk", s.target, "bench", "--time", 1, "--json", *args)
    assert got.returncode == DONE, got.stderr
    report = json.loads(got.stdout)
    assert set(report) == BENCH_KEYS and set(report["latency_us"]) == LATENCY_KEYS
    assert report["requests"] > 0 and report["latency_us"]["p50"] <= report["latency_us"]["p99"]


@pytest.mark.parametrize("how", [("--poll",), ("--poll-us", 50), ("--poll-us", 1000000)])
def test_a_back_end_that_polls(serve, how):
    s = serve("--ram", "1M", *how)
    assert vhctl("io", "blk", s.target, "verify").returncode == DONE
    for args in ((), ("--poll",), ("--iodepth", 8)):
        got = vhctl("io", "blk", s.target, "bench", "--time-ms", 50, "--json", *args)
        assert got.returncode == DONE and json.loads(got.stdout)["requests"] > 0, got.stderr
    assert vhctl("probe", s.target).returncode == DONE
    assert s.end() == 0


def test_a_back_end_with_small_rings(serve):
    s = serve("--ram", "1M", "--queue-size", 16)
    assert vhctl("io", "blk", s.target, "verify").returncode == DONE
    assert vhctl("io", "blk", s.target, "bench", "--time", 1, "--iodepth", 4).returncode == DONE
    refused = vhctl("io", "blk", s.target, "read", "--queue-size", 32)
    assert refused.returncode == WRONG and b"smaller --queue-size" in refused.stderr
    assert vhctl("io", "blk", s.target, "verify", "--queue-size", 8).returncode == DONE


@pytest.mark.parametrize("packed", ["on", "off"])
def test_requests_complete_in_order_when_asked_to(serve, tmp_path, packed):
    image = tmp_path / "i"
    image.write_bytes(bytes(4 * MIB))
    s = serve("--file", image, "--in-order", "on", "--packed", packed)
    assert "IN_ORDER" in json.loads(vhctl("probe", s.target, "--json").stdout)["features"]["names"]
    assert vhctl("io", "blk", s.target, "verify").returncode == DONE
    assert vhctl("io", "blk", s.target, "bench", "--time", 1, "--iodepth", 32).returncode == DONE
    assert "IN_ORDER" not in json.loads(vhctl("probe", serve("--ram", "1M").target, "--json").stdout)["features"]["names"]


@pytest.mark.parametrize("packed", ["on", "off"])
@pytest.mark.parametrize("n", [4, 32768])
def test_nobody_waits_for_calls_that_are_saved(serve, n, packed):
    s = serve("--ram", "4M", "--coalesce", n, "--packed", packed)
    assert vhctl("io", "blk", s.target, "verify", "--packed", packed).returncode == DONE
    # Of fewer requests in flight than make a call, the last one makes it.
    for depth in (1, 3, 32):
        got = vhctl("io", "blk", s.target, "bench", "--time-ms", 50, "--iodepth", depth, "--json", "--packed", packed)
        assert got.returncode == DONE and json.loads(got.stdout)["requests"] > 0, got.stderr
    assert s.end() == 0


@pytest.mark.parametrize("ours", ["on", "off"])
@pytest.mark.parametrize("theirs", ["on", "off"])
def test_rings_are_packed_when_both_want_it(serve, ours, theirs):
    s = serve("--ram", "1M", "--packed", theirs)
    packed = (ours, theirs) == ("on", "on")
    # Only a packed ring has a size that is no power of two.
    for words in (("verify",), ("bench", "--time", 1)):
        got = vhctl("io", "blk", s.target, *words, "--packed", ours, "--queue-size", 100)
        assert got.returncode == (DONE if packed else WRONG), got.stderr
        assert packed or b"power of two" in got.stderr
    assert vhctl("io", "blk", s.target, "verify", "--packed", ours).returncode == DONE


def test_a_disk_that_fails_is_told(serve, tmp_path):
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    s = serve("--file", tmp_path / "disk")
    os.truncate(tmp_path / "disk", 4096)
    assert vhctl("io", "blk", s.target, "read", "--offset", "64K", "--size", "4K").returncode == WRONG
    assert "queue 0: the device failed: EIO; requests that failed so far: 1" in s.p.stderr.readline()


def test_keys_are_documented():
    with open(os.path.join(TOP, "docs", "vhctl.md"), encoding="utf-8") as f:
        text = f.read()
    for key in PROBE_KEYS | RANGE_KEYS | BENCH_KEYS | LATENCY_KEYS | {"seed"}:
        assert f"`{key}`" in text, key


def test_trace_is_json_lines(serve, tmp_path):
    s = serve("--ram", "1M", env={"VH_TRACE": str(tmp_path / "server")})
    env = {**os.environ, "VH_TRACE": str(tmp_path / "client")}
    assert vhctl("io", "blk", s.target, "verify", env=env).returncode == DONE
    s.end()
    for side, sent in (("client", "SET_FEATURES"), ("server", "GET_FEATURES")):
        lines = [json.loads(line) for line in (tmp_path / side).read_text().splitlines()]
        assert all({"t", "dir", "chan", "req", "id", "flags", "size", "fds", "site"} <= set(line) for line in lines)
        assert sent in {line["req"] for line in lines}
        assert {line["site"] for line in lines} == {0}


def test_two_front_ends_at_once_the_second_is_closed(serve):
    s = serve("--ram", "1M")
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(s.path)
        first.send(b"\x01\0\0\0\x01\0\0\0\0\0\0\0")  # GET_FEATURES
        assert len(first.recv(20)) == 20
        got = vhctl("probe", s.target)
        assert got.returncode == WRONG
        first.send(b"\x01\0\0\0\x01\0\0\0\0\0\0\0")
        assert len(first.recv(20)) == 20
    deadline = time.monotonic() + 5
    while vhctl("probe", s.target).returncode != DONE:
        assert time.monotonic() < deadline


def test_i_o_goes_on_when_the_back_end_was_killed_and_came_back(tmp_path):
    disk, path = tmp_path / "disk", str(tmp_path / "s")
    disk.write_bytes(bytes(64 * MIB))
    server = Server(path, "--file", disk)
    with subprocess.Popen([VHCTL, "io", "blk", f"unix:{path}", "verify", "--reconnect", "--json"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as io:
        end = time.monotonic() + 30
        while not any(disk.read_bytes()[:512]):  # before its first connection there is nothing to go on with
            assert time.monotonic() < end
        for _ in range(3):
            time.sleep(0.02)
            server.end(signal.SIGKILL)
            server = Server(path, "--file", disk)
        out, err = io.communicate(timeout=30)
        assert io.returncode == DONE, err
        assert json.loads(out)["ok"]
    assert server.end() == DONE


def test_a_successor_takes_over_while_a_front_end_writes_and_reads(tmp_path):
    disk, path, handover = tmp_path / "disk", str(tmp_path / "s"), str(tmp_path / "h")
    disk.write_bytes(bytes(64 * MIB))
    args = ("--file", disk, "--handover", handover)
    servers = [Server(path, *args)]
    with subprocess.Popen([VHCTL, "io", "blk", f"unix:{path}", "bench", "--rw", "write", "--time", "6", "--json"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as bench:
        for _ in range(5):
            time.sleep(0.5)
            servers.append(Server(path, *args))
            assert "where the one before stood" in servers[-1].said
            assert servers[-2].p.wait(10) == DONE and servers[-2].p.stderr.read() == ""
        out, err = bench.communicate(timeout=30)
        assert bench.returncode == DONE, err
        assert json.loads(out)["iops"] > 0
    got = vhctl("io", "blk", f"unix:{path}", "verify", "--json")
    assert got.returncode == DONE and json.loads(got.stdout)["ok"]
    assert servers[-1].end() == DONE and not os.path.exists(path)
    for server in servers[:-1]:
        server.p.stderr.close()


def test_a_successor_that_can_t_leaves_the_other_one_serving(tmp_path):
    path, handover = str(tmp_path / "s"), str(tmp_path / "h")
    first = Server(path, "--ram", "1M", "--handover", handover)
    with subprocess.Popen([VHCTL, "io", "blk", f"unix:{path}", "bench", "--time", "3"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as bench:
        time.sleep(0.5)
        got = vhctl("serve", "blk", "--socket", path, "--ram", "1M", "--handover", handover, "--packed", "off")
        assert got.returncode == WRONG and b"not offered" in got.stderr
        assert first.p.stderr.readline() == "vhctl: the successor does not serve; this one goes on\n"
        bench.communicate(timeout=30)
        assert bench.returncode == DONE
    assert first.end() == DONE


def test_a_successor_that_says_nothing_is_not_waited_for_long(tmp_path):
    path, handover = str(tmp_path / "s"), str(tmp_path / "h")
    first = Server(path, "--ram", "1M", "--handover", handover)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(handover)
        began = time.monotonic()
        assert first.p.stderr.readline() == "vhctl: the successor does not serve; this one goes on\n"
        assert time.monotonic() - began < 20
    assert vhctl("io", "blk", path, "verify").returncode == DONE
    assert first.end() == DONE


@pytest.mark.parametrize("kind, type_", (("blk", "block"), ("net", "net")))
def test_by_another_name_it_is_an_installed_back_end(tmp_path, kind, type_):
    os.symlink(VHCTL, tmp_path / f"vhost-user-{kind}")
    got = subprocess.run([tmp_path / f"vhost-user-{kind}", "--print-capabilities"], stdout=subprocess.PIPE, check=True)
    assert json.loads(got.stdout)["type"] == type_
    assert subprocess.run([tmp_path / f"vhost-user-{kind}", "--socket", tmp_path / "s"], stderr=subprocess.DEVNULL, check=False).returncode == USAGE
    os.symlink(VHCTL, tmp_path / "vhost-user-cat")
    assert subprocess.run([tmp_path / "vhost-user-cat"], stderr=subprocess.DEVNULL, check=False).returncode == USAGE
