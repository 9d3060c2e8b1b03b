# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhctl state and top, which look at a process, and serve --openmetrics, which tells whoever asks."""
import http.client
import json
import os
import pwd
import re
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from binding import vh
from test_vhctl import DONE, UNREACHABLE, USAGE, VHCTL, _serve, vhctl  # pylint: disable=unused-import

WAIT = 20


def state(target):
    r = vhctl("state", target, "--json")
    assert r.returncode == DONE, r.stderr
    return json.loads(r.stdout)


def until(look, wanted):
    end = time.monotonic() + WAIT
    found = look()
    while not wanted(found) and time.monotonic() < end:
        found = look()
    assert wanted(found), found
    return found


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_a_process_is_looked_at_by_number_and_by_socket(serve):
    s = serve("--ram", "1M", "--queues", 2)
    by_pid, by_socket = state(s.p.pid), state(s.target)
    assert by_pid["pid"] == by_socket["pid"] == s.p.pid and by_pid["command"] == "vhctl"
    assert by_pid["name"] == "vhctl serve blk"
    (c,) = by_socket["connections"]
    assert c["name"] == "blk" and c["address"] == s.path and c["state"] == "listening" and c["queues"] == 2
    assert [ring["queue"] for ring in c["rings"]] == [0, 1] and c["rings"][0]["state"] == "stopped"
    assert vhctl("io", "blk", s.target, "write", "--size", "1M").returncode == DONE
    c = until(lambda: state(s.path)["connections"][0], lambda c: c["rings"][0]["completed"] > 0)
    assert c["connections"] == 1 and c["messages_received"] > 5 and c["state"] == "listening"
    assert c["rings"][0]["in_bytes"] > 1 << 20
    s.end()
    assert vhctl("state", s.p.pid).returncode == UNREACHABLE


def test_who_has_the_file_is_looked_at_whatever_its_name_is_there(tmp_path):
    """Two are bound to a relative name, which is the same one."""
    places = [tmp_path / "one", tmp_path / "two"]
    running = []
    try:
        for place in places:
            place.mkdir()
            running.append(subprocess.Popen([VHCTL, "serve", "blk", "--ram", "1M", "--socket", "d.sock"], cwd=place))  # pylint: disable=consider-using-with
        for place, process in zip(places, running):
            assert vhctl("wait", place / "d.sock", "--timeout", "20s").returncode == DONE
            seen = state(place / "d.sock")
            assert seen["pid"] == process.pid and [c["address"] for c in seen["connections"]] == ["d.sock"]
    finally:
        for process in running:
            process.terminate()
            process.wait()


def test_many_connections_do_not_hide_who_listens(serve, tmp_path):
    """All of them have the name of the socket, and of the connected ones none is what is looked for."""
    path = str(tmp_path / "s0")  # of the first that is served
    names, peers = [], []
    with socket.socket(socket.AF_UNIX) as first:
        first.bind(path)
        first.listen(1)
        for _ in range(120):
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(path)
            peers.append(peer)
            names.append(first.accept()[0])
    os.unlink(path)
    s = serve("--ram", "1M")
    assert state(path)["pid"] == s.p.pid
    for each in names + peers:
        each.close()


def test_its_connection_is_not_used_up(tmp_path):
    """A back-end that was handed one connection, and would end with it."""
    ours, theirs = socket.socketpair()
    with subprocess.Popen([VHCTL, "serve", "blk", "--fd", str(theirs.fileno()), "--ram", "1M"], pass_fds=(theirs.fileno(),),
                          stderr=subprocess.PIPE, text=True) as p:
        theirs.close()
        assert "serving" in p.stderr.readline()
        for _ in range(3):
            (c,) = state(p.pid)["connections"]
            assert c["state"] == "connected" and c["peer_pid"] == os.getpid()
        assert p.poll() is None
        ours.close()
        assert p.wait(WAIT) == DONE


def test_words_for_people(serve):
    s = serve("--ram", "1M")
    text = vhctl("state", s.p.pid, env={**os.environ, "LC_ALL": "C"}).stdout.decode()
    assert text.startswith(f"process {s.p.pid} (vhctl): vhctl serve blk\nconnection 0\n")
    assert re.search(r"^  state +listening$", text, flags=re.M) and re.search(r"VERSION_1$", text, flags=re.M)
    head = next(line.split() for line in text.splitlines() if line.split()[:2] == ["queue", "state"])
    assert {"in_flight", "oldest_in_flight", "requests", "kicks"} <= set(head)


def test_a_terminal_does_not_obey_the_name_of_a_process(tmp_path):
    """A program calls itself what it likes."""
    program = tmp_path / "v\033[7mh\tctl"
    program.symlink_to(VHCTL)
    with subprocess.Popen([program, "serve", "blk", "--socket", tmp_path / "s", "--ram", "1M"], stderr=subprocess.PIPE,
                          text=True) as p:
        assert "serving" in p.stderr.readline()
        for args in ("state", p.pid), ("top", p.pid, "--once", "--interval", 1):
            assert vhctl(*args).stdout.startswith(b"process %d (v?[7mh?ctl)" % p.pid)
        assert state(p.pid)["command"] == "v?[7mh?ctl"
        p.terminate()


def test_another_ones_page_is_not_mixed_up(serve):
    first, second = serve("--ram", "1M"), serve("--ram", "2M")
    for s in (first, second):
        assert state(s.target)["pid"] == s.p.pid


@pytest.mark.parametrize("args, code", [
    (("state",), USAGE), (("state", "1", "2"), USAGE), (("state", "0"), USAGE), (("state", "--bogus"), USAGE),
    (("state", "2147483646"), UNREACHABLE), (("state", "unix:/nonexistent"), UNREACHABLE), (("state", "@vh-nobody"), UNREACHABLE),
    (("state", "1"), UNREACHABLE), (("top",), USAGE), (("top", "2147483646"), UNREACHABLE),
    (("top", "1", "--interval", "x"), USAGE),
    (("serve", "blk", "--socket", "/tmp/x", "--ram", "1M", "--metrics", "off", "--openmetrics", "0"), USAGE),
    (("serve", "blk", "--socket", "/tmp/x", "--ram", "1M", "--openmetrics", "192.0.2.1:1"), USAGE),
    (("serve", "blk", "--socket", "/tmp/x", "--ram", "1M", "--openmetrics", "unix:/nonexistent/x"), USAGE),
])
def test_what_is_refused(args, code):
    r = vhctl(*args)
    assert r.returncode == code and r.stderr.count(b"\n") == 1, r.stderr


def may_not():
    """Words before a command, so that root may do no more than any user, and still gets to the program, wherever that is."""
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


def test_somebody_else_s_process_is_told_with_its_owner():
    """A process of nobody's, or, for who is not root, the first one; and one who may not look into it."""
    command = ["sleep", "60"]
    with subprocess.Popen(command, user=65534 if os.geteuid() == 0 else None) as other:
        pid = other.pid if os.geteuid() == 0 else 1
        got = subprocess.run([*may_not(), VHCTL, "state", str(pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        other.kill()
    owner = pwd.getpwuid(65534 if os.geteuid() == 0 else 0).pw_name
    assert got.returncode == UNREACHABLE
    assert got.stderr.decode() == f"vhctl: {pid}: process {pid} belongs to user {owner}; run this as that user or as root\n"


def test_it_can_be_off(serve):
    s = serve("--ram", "1M", "--metrics", "off")
    r = vhctl("state", s.p.pid)
    assert r.returncode == UNREACHABLE and b"shows no metrics" in r.stderr


def test_top_shows_rates(serve):
    s = serve("--ram", "1M")
    with subprocess.Popen([VHCTL, "io", "blk", s.target, "bench", "--time", "30"], stdout=subprocess.DEVNULL) as bench:
        def rate():
            text = vhctl("top", s.target, "--once", "--interval", 200).stdout.decode().splitlines()
            assert text[0] == f"process {s.p.pid} (vhctl)"
            head, row = re.split(r"  +", text[1].strip()), re.split(r"  +", text[2].strip())
            assert {"connection", "queue", "in_flight", "requests/s", "in MiB/s"} <= set(head) and len(head) == len(row)
            return float(row[head.index("requests/s")])
        until(rate, lambda n: n > 0)
        bench.terminate()


def test_top_ends_with_what_it_looks_at(serve):
    s = serve("--ram", "1M")
    with subprocess.Popen([VHCTL, "top", str(s.p.pid), "--interval", "20"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as top:
        assert top.stdout.readline().startswith(b"process")
        s.end()
        out, err = top.communicate(timeout=WAIT)
    assert top.returncode == UNREACHABLE and b"has ended" in err and b"\033" not in out
    s = serve("--ram", "1M")
    with subprocess.Popen([VHCTL, "top", str(s.p.pid), "--interval", "20"], stdout=subprocess.PIPE) as top:
        assert top.stdout.readline().startswith(b"process")
        top.send_signal(signal.SIGINT)
        top.communicate(timeout=WAIT)
    assert top.returncode == DONE


def test_whoever_asks_by_http_gets_openmetrics(serve):
    s = serve("--ram", "1M", "--openmetrics", 0)
    port = int(re.fullmatch(r"vhctl: metrics on port (\d+)\n", s.p.stderr.readline())[1])
    assert vhctl("io", "blk", s.target, "write", "--size", "1M").returncode == DONE

    def ask(path="/metrics", method="GET"):
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
        c.request(method, path)
        answer = c.getresponse()
        text = answer.read().decode()
        c.close()
        return answer, text

    def completed():
        answer, text = ask()
        assert answer.status == 200
        assert answer.getheader("Content-Type") == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        return sum(sample.value for sample in families(text)["libvh_queue_completed"].samples)
    until(completed, lambda n: n > 0)
    assert ask("/else")[0].status == 404 and ask(method="POST")[0].status == 405
    # Who says nothing, or hangs up, holds nobody up for long.
    with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)) as rude:
        rude.sendall(b"x" * 10000)
    assert ask()[0].status == 200
    assert s.end() == DONE


def test_it_does_not_spin_without_an_fd_for_a_client(serve):
    """The listener stays readable, and it has nothing to take the client with."""
    s = serve("--ram", "1M", "--openmetrics", 0)
    port = int(re.fullmatch(r"vhctl: metrics on port (\d+)\n", s.p.stderr.readline())[1])
    pid = s.p.pid
    usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)

    def sleeps():
        for task in Path(f"/proc/{pid}/task").iterdir():
            if int(task.name) != pid:
                return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), flags=re.M)[1])
        return 0
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1, usual[1]))
    with socket.create_connection(("127.0.0.1", port)) as client:
        before = sleeps()
        until(sleeps, lambda n: n > before + 4)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        client.settimeout(WAIT)
        assert client.recv(15) == b"HTTP/1.1 200 OK"
    assert s.end() == DONE


def test_a_slow_client_holds_nobody_up_for_long(serve):
    """One that says a byte from time to time, for as long as it is let."""
    s = serve("--ram", "1M", "--openmetrics", 0)
    port = int(re.fullmatch(r"vhctl: metrics on port (\d+)\n", s.p.stderr.readline())[1])
    over = threading.Event()

    def drip(client):
        try:
            while not over.wait(0.2):
                client.sendall(b"x")
        except OSError:
            pass
    with socket.create_connection(("127.0.0.1", port)) as first, socket.create_connection(("127.0.0.1", port)) as other:
        threads = [threading.Thread(target=drip, args=[client]) for client in (first, other)]
        for thread in threads:
            thread.start()
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
        c.request("GET", "/metrics")
        assert c.getresponse().status == 200
        c.close()
        with socket.create_connection(("127.0.0.1", port)):
            assert s.end() == DONE  # nor is the end held up
        over.set()
        for thread in threads:
            thread.join()


def test_a_file_that_is_refused_is_left_alone():
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        theirs = Path(name) / "theirs"
        theirs.write_text("precious", encoding="utf-8")
        theirs.chmod(0o444)
        if os.geteuid() == 0:
            os.chown(theirs, 65534, 65534)
        r = subprocess.run([*may_not(), VHCTL, "serve", "blk", "--socket", f"{name}/s", "--ram", "1M", "--openmetrics", theirs],
                           stderr=subprocess.PIPE, check=False, timeout=WAIT)
        assert r.returncode == USAGE and b"can't be written" in r.stderr
        assert theirs.read_text(encoding="utf-8") == "precious"


def test_a_unix_socket_and_a_file_do_too(serve, tmp_path):
    where = tmp_path / "metrics"
    s = serve("--ram", "1M", "--openmetrics", f"unix:{where}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(where))
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        client.settimeout(WAIT)
        answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    assert families(answer.partition("\r\n\r\n")[2])
    s.p.kill()
    s.p.wait()
    s = serve("--ram", "1M", "--openmetrics", f"unix:{where}")  # the one that was left is replaced
    assert where.is_socket() and "serving" in s.said
    s.end()
    assert not where.exists()
    s = serve("--ram", "1M", "--openmetrics", where)
    until(where.exists, bool)
    assert families(where.read_text(encoding="utf-8"))["libvh_connection"].type == "info"
    s.end()
    assert not where.exists()


def test_state_gives_openmetrics_once(serve):
    s = serve("--ram", "1M")
    r = vhctl("state", s.target, "--openmetrics")
    assert r.returncode == DONE and families(r.stdout.decode())["libvh_queue_requests"].type == "counter"


def test_a_packed_ring_has_places(serve):
    """Which are an index and a turn. One request went round: each side is one further, in the first turn."""
    s = serve("--ram", "1M")
    with vh.Blk(s.target, timeout=WAIT) as disk:
        assert disk.driver.features & vh.Features.RING_PACKED
        disk.read(0, 512)
        c = until(lambda: state(s.path)["connections"][0], lambda c: c["rings"][0]["completed"] == 1)
        ring = c["rings"][0]
        assert ring["layout"] == "packed" and ring["avail_index"] == ring["used_index"] and ring["used_index"] >> 15 == 1
        assert f"{ring['used_index'] & 0x7fff} (wrap 1)" in vhctl("state", s.path).stdout.decode()
