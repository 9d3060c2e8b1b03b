# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vh.check: what is right passes, each check turns red for its mistake, and the command says so."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import binding
import pytest

from vh.check import TABLE, core, known, one, report, runner  # noqa: E402
from vh.check import back, front, node  # noqa: E402, F401
from vh.check.context import Context, Options, survey  # noqa: E402

from vh.check.front.context import Context as FrontContext, FrontEnd  # noqa: E402
from vh.check.__main__ import main as check_main  # noqa: E402
from vh.check.node import context as node_context, ioctls  # noqa: E402
from vh.check.targets import Command, Socket, target  # noqa: E402
from vh.launch.process import Child  # noqa: E402

import check_devices  # noqa: E402
import check_faults  # noqa: E402
import check_fronts  # noqa: E402
import check_nodes  # noqa: E402

BLK = f"{binding.VHCTL} serve blk --ram 4M --queues 2 --serial check --socket {{socket}}"
NET = f"{binding.VHCTL} serve net --loopback --queues 2 --mtu 1400 --mac 52:54:00:12:34:56 --socket {{socket}}"
READ_ONLY = f"{binding.VHCTL} serve blk --ram 1M --readonly --socket {{socket}}"
#: checks that need a peer of their own
OTHER = {"blk.readonly": "readonly"}
BACK = [name for name, check in TABLE.items() if check.side == core.BACK_END]
OPTIONS = {"blk": Options("blk", allow_write=True), "net": Options("net", loopback=True), "readonly": Options("blk")}


@pytest.fixture(scope="module")
def peers():
    """A disk and a network device that are right, with what they offer."""
    made = {}
    for name, command in (("blk", BLK), ("net", NET), ("readonly", READ_ONLY)):
        target = Command(command)
        made[name] = (target, *survey(target, OPTIONS[name]))
    yield made
    for target, *_ in made.values():
        target.close()


def context_for(peers, check, target=None, **options):
    name = OTHER.get(check.name) or check.device or "blk"
    real, offer, device = peers[name]
    how = Options(**{**vars(OPTIONS[name]), **options})
    return Context(target or real, how, offer, device)


@pytest.mark.parametrize("text, name", (("/run/x.sock", "unix:/run/x.sock"), ("unix:/run/x.sock", "unix:/run/x.sock"), ("abstract:x", "@x")))
def test_a_path_alone_is_a_target(text, name):
    found = target(text)
    assert isinstance(found, Socket) and found.name == name and found.path == name.replace("unix:", "")


def test_what_is_no_target():
    for text in ("nonsense", "unix:", "exec:", "tcp:1"):
        with pytest.raises(ValueError, match="what is checked is"):
            target(text)


@pytest.mark.parametrize("name", BACK)
def test_right(peers, name):
    check = TABLE[name]
    result = one(check, context_for(peers, check))
    assert result.outcome == "pass", (result.text, result.messages)


def with_device(check, made, tmp_path):
    """The check against a device in Python that has a mistake."""
    path = str(tmp_path / "s")
    options = Options(**{**vars(OPTIONS[made.kind]), "wait": 0.5})
    with check_devices.served(made(), path) as slave:
        target = Socket(path)
        result = one(check, Context(target, options, *survey(target, options)))
        slave.stop()
    return result


@pytest.mark.parametrize("name", BACK)
def test_red(peers, name, tmp_path):
    """With its mistake in the way the check says fail or warn, and nothing that sounds like an error of its own."""
    check = TABLE[name]
    if name in check_faults.DEVICES:
        result = with_device(check, check_faults.DEVICES[name], tmp_path)
        assert result.outcome == ("warn" if check.severity in ("should", "info") else "fail"), (result.outcome, result.text)
        return
    assert name in check_faults.FAULTS, f"no mistake is known that {name} would find"
    target = check_faults.Faulty(peers[check.device or "blk"][0], check_faults.FAULTS[name])
    try:
        result = one(check, context_for(peers, check, target, wait=0.4))
    finally:
        target.close()
    wanted = "warn" if check.severity in ("should", "info") and not target.dead else "fail"
    assert result.outcome == wanted, (result.outcome, result.text, result.messages)
    assert result.text


FRONT = [name for name, check in TABLE.items() if check.side == core.FRONT_END]


def checked_front(name, function):
    target = check_fronts.InProcess(function)
    try:
        return one(TABLE[name], FrontContext(target), timeout=60)
    finally:
        target.close()


@pytest.mark.parametrize("name", FRONT)
def test_right_front_end(name):
    result = checked_front(name, check_fronts.hasty if name.startswith("front-hostile.") else check_fronts.careful)
    assert result.outcome == "pass", (result.text, result.messages)


@pytest.mark.parametrize("name", FRONT)
def test_red_front_end(name):
    result = checked_front(name, check_fronts.killed if name.startswith("front-hostile.") else check_fronts.MISTAKES[name])
    assert result.outcome == ("warn" if TABLE[name].severity in ("should", "info") else "fail"), (result.outcome, result.text)
    assert result.text


NODE = [name for name, check in TABLE.items() if check.side == core.NODE]


def checked_node(name, monkeypatch, kind, **mistake):
    file = check_nodes.PlayedFile(kind, **mistake)

    def tap():
        file.tap = os.open(os.devnull, os.O_RDWR)
        return file.tap
    monkeypatch.setattr(node_context, "open_tap", tap)
    options = Options("", wait=0.3)
    offer, device = node_context.survey(file, options)
    return one(TABLE[name], node_context.NodeContext(file, options, offer, device), timeout=60)


@pytest.mark.parametrize("name", NODE)
def test_right_node(name, monkeypatch):
    result = checked_node(name, monkeypatch, check_nodes.LIES[name][0])
    assert result.outcome == "pass", (result.text, result.messages)


@pytest.mark.parametrize("name", NODE)
def test_red_node(name, monkeypatch):
    kind, mistake = check_nodes.LIES[name]
    result = checked_node(name, monkeypatch, kind, **mistake)
    assert result.outcome == ("warn" if TABLE[name].severity in ("should", "info") else "fail"), (result.outcome, result.text)
    assert result.text


def test_command_node(monkeypatch, capsys):
    """What a device file is called tells what is checked; those of others are not asked about, and one that is not there is said."""
    class File(check_nodes.PlayedFile):
        def __init__(self, text):
            super().__init__(text.removeprefix("/dev/"))
    monkeypatch.setattr(node_context, "File", File)
    assert check_main(["/dev/vhost-scsi"]) == 0
    shown = capsys.readouterr().out
    assert "vhost-scsi.abi" in shown and "vdpa." not in shown and "vhost-vsock." not in shown and "; as expected" in shown
    monkeypatch.undo()
    assert check_main(["/dev/vhost-vdpa-9999"]) == 3
    assert "/dev/vhost-vdpa-9999" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        check_main(["/dev/null"])
    assert "no device file of vhost" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mem.regions", "ring.base-given", "ring.stop-start", "ring.sizes"])
@pytest.mark.parametrize("kind", ["vhost-vdpa", "vhost-net"])
def test_checks_of_back_ends_hold_for_nodes(kind, name, monkeypatch):
    result = checked_node(name, monkeypatch, kind)
    assert result.outcome == ("skip" if (kind, name) == ("vhost-vdpa", "ring.stop-start") else "pass"), (result.text, result.messages)


def test_ioctls_are_those_of_the_library():
    """Names, numbers, sizes and who knows them, as src/uapi has them."""
    folder = pathlib.Path(binding.TOP) / "src" / "uapi"
    rows = re.findall(r"VHI_IOCTL\(VHOST_(\w+), ([^,]+), (true|false)\)", (folder / "ioctls.def").read_text("utf-8"))
    numbers = dict(re.findall(r"#define VHI_VHOST_(\w+)\s+VHI_IO[RW]*\(VHI_VHOST_VIRTIO, (0x\w+)", (folder / "vhi_vhost_uapi.h").read_text("utf-8")))
    kinds = {"VHI_NODE_NET": ("vhost-net",), "VHI_NODE_VSOCK": ("vhost-vsock",), "VHI_NODE_SCSI": ("vhost-scsi",),
             "VHI_NODE_VDPA": ("vhost-vdpa",), "VHI_NODE_WORKERS": ioctls.WORKERS, "VHI_NODE_VHOST": ioctls.ALL}
    wanted = {name: (int(numbers[name], 16), {k for n in nodes.split(" | ") for k in kinds[n]}, owner == "true")
              for name, nodes, owner in rows}
    assert {name: (row.number, set(row.nodes), row.owner) for name, row in ioctls.IOCTLS.items()} == wanted


def test_command_front_end():
    command_line = f"{binding.VHCTL} io blk unix:{{socket}} read --size 4096"
    done = command("--command", command_line, "--only", "front.*")
    assert "15 checks: 15 pass; as expected" in done.stdout
    assert "nothing came" in command("--command", "/bin/true {socket}", rc=3).stderr
    command("unix:x", "--command", "y", rc=2)


def test_a_front_end_that_somebody_else_starts(tmp_path):
    """--listen without --command: who connects next is listened to; what needs the front-end to be started is skipped."""
    path = tmp_path / "s"
    words = [sys.executable, "-m", "vh.check", "--listen", str(path), "--only", "front.*", "--only", "front-hostile.late"]
    env = {**os.environ, "PYTHONPATH": binding.PACKAGE, "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as checking:
        assert "at " + str(path) in checking.stderr.readline()
        front_end = [binding.VHCTL, "io", "blk", f"unix:{path}", "read", "--size", "4096"]
        deadline = time.monotonic() + 60
        while subprocess.run(front_end, capture_output=True, check=False).returncode:  # it may not listen yet
            assert time.monotonic() < deadline and checking.poll() is None
        out, err = checking.communicate(timeout=60)
    assert checking.returncode == 0, (out, err)
    assert "16 checks: 14 pass, 2 skip; as expected" in out and "--command starts it" in out


def test_each_fault_has_a_check():
    assert set(check_faults.FAULTS) | set(check_faults.DEVICES) <= set(TABLE)
    assert not set(check_faults.FAULTS) & set(check_faults.DEVICES)


def test_table():
    for check in TABLE.values():
        assert check.rule.endswith((".", ".)")) and check.section, check.name
        assert check.name.count(".") == 1


def test_documented():
    """docs/check.md has the table as it is: python3 -m vh.check --list --markdown."""
    text = (pathlib.Path(binding.TOP) / "docs" / "check.md").read_text("utf-8")
    begin, end = "<!-- table -->\n", "<!-- end of table -->"
    assert text.partition(begin)[2].partition(end)[0] == command("--list", "--markdown").stdout


# --- the command ----------------------------------------------------------------------------------------------------


def command(*words, rc=0):
    env = {**os.environ, "PYTHONPATH": binding.PACKAGE, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-m", "vh.check", *words], env=env, capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == rc, (done.returncode, done.stdout, done.stderr)
    return done


def test_command_table():
    done = command(f"exec:{BLK}", "--only", "connect.*")
    assert "5 checks: 5 pass; as expected" in done.stdout
    assert "device of type blk" in done.stderr


def test_command_json_and_junit(tmp_path):
    junit = tmp_path / "junit.xml"
    done = command(f"exec:{NET}", "--only", "mem.*", "--skip", "mem.eight", "--json", "--junit", str(junit))
    found = json.loads(done.stdout)
    assert found["conforming"] and found["device"] == "net"
    names = [row["name"] for row in found["checks"]]
    assert "mem.table" in names and "mem.eight" not in names
    suite = ElementTree.parse(junit).getroot()
    assert suite.get("tests") == str(len(names)) and suite.get("failures") == "0"


def test_command_known(tmp_path):
    """A known deviation that is none is unexpected, and a list that is no list is said."""
    path = tmp_path / "known.json"
    path.write_text(json.dumps({"checks": {"connect.reply": "it was so once"}}))
    done = command(f"exec:{BLK}", "--only", "connect.*", "--known", str(path), rc=1)
    assert "UNEXPECTED" in done.stdout and "it was so once" in done.stdout
    path.write_text(json.dumps({"checks": {"connect.reply": "sometimes so"}}))
    command(f"exec:{BLK}", "--only", "connect.*", "--known", str(path))
    path.write_text(json.dumps({"checks": {"connect.nonsense": "x"}}))
    assert "connect.nonsense" in command(f"exec:{BLK}", "--known", str(path), rc=2).stderr
    assert "no-such-file" in command(f"exec:{BLK}", "--known", "no-such-file", rc=2).stderr


def test_command_without_a_standard_output():
    """Nobody hears what is printed, and nothing fails."""
    env = {**os.environ, "PYTHONPATH": binding.PACKAGE, "PYTHONDONTWRITEBYTECODE": "1"}
    for last in ("--list", "--markdown"):
        done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "vh.check", "--list", last], env=env,
                              stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_command_words(tmp_path):
    assert "connect.reply" in command("--list").stdout
    for words in ((), ("nonsense",), ("unix:x", "--only", "no.such")):
        command(*words, rc=2)
    assert command("unix:" + str(tmp_path / "nobody"), "--wait", "0.2", rc=3).stderr.count("\n") == 1
    assert "before it listened" in command("exec:/bin/false {socket}", rc=3).stderr


def test_command_one_shot(tmp_path):
    """A back-end that serves one connection is noticed; who can't start it again says so."""
    ours = f"{sys.executable} {os.path.join(os.path.dirname(__file__), 'check_once.py')} {binding.VHCTL} {{socket}}"
    done = command(f"exec:{ours}", "--only", "ring.*")
    assert "which serves one connection" in done.stderr and "pass" in done.stdout


def test_a_front_end_ends_with_a_check_that_is_cut_short(monkeypatch):
    """SIGALRM is the end of a check's time; here it comes as soon as the front-end is waited for."""
    started, wait = [], Child.ended

    def ended(child, timeout=0.0):
        if not started:
            started.append(child.popen.pid)
            os.kill(os.getpid(), signal.SIGALRM)
        return wait(child, timeout)
    monkeypatch.setattr(Child, "ended", ended)
    front = FrontEnd("", "sleep 600", "blk", 60)
    with pytest.raises(runner._TooLong), runner._limit(60):
        front.run()
    front.close()
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


def test_failure_shows_messages(peers):
    check = TABLE["ring.base"]
    target = check_faults.Faulty(peers["blk"][0], check_faults.FAULTS["ring.base"])
    try:
        result = one(check, context_for(peers, check, target))
    finally:
        target.close()
    shown = "\n".join(report.table([result]))
    assert "base after 3 requests: 4, not 3" in shown and "<- GET_VRING_BASE index=0 num=4" in shown
    assert "FAIL" in shown and "1 not as expected" in shown
    result.known = "counts from one"
    shown = "\n".join(report.table([result]))
    assert "known" in shown and "counts from one" in shown and not result.unexpected


def test_known_lists():
    """Those that come along name checks, and give reasons."""
    assert {"qsd", "virtiofsd", "dpdk"} <= set(known.names())
    for name in known.names():
        assert known.load(name)
