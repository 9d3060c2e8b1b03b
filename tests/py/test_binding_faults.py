# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vh.testing.faults and vh.testing.machine: a bad line, and a front-end that does anything that it may; against good and bad peers."""
import contextlib
import os
import socket
import subprocess
import sys

import pytest
from binding import MIB, PACKAGE, VHCTL, WAIT, served, vh
from hypothesis import Phase
from vh import launch
from vh.testing import FE, BackEnd, BlkRequest, Closed, Conn, F, FrontEnd, Memory, Queue, wire
from vh.testing.faults import BACK, FRONT, Fault, Faults, script
from vh.testing.hostile import FAILS, TRICKS, WORKS, HostileBackEnd
from vh.testing.machine import FrontendMachine, run
from vh.testing.wire import bits

FULL = os.environ.get("VH_FULL") == "1"


@contextlib.contextmanager
def line(text):
    """A front-end by hand, a bad line, and what a back-end would be."""
    front, middle = socket.socketpair(socket.AF_UNIX)
    other, back = socket.socketpair(socket.AF_UNIX)
    with front, back, Faults(text, pair=(middle, other)) as faults:
        yield FrontEnd(front, timeout=WAIT), Conn(back, timeout=WAIT), faults


def names(conn, n):
    out = []
    for _ in range(n):
        with conn.recv() as msg:
            out.append(FE(msg.request).name)
    return out


def test_without_faults_all_passes_as_it_came():
    with line("") as (front, back, _):
        r, w = os.pipe()
        with open(r, "rb"), open(w, "wb"):
            front.send(FE.SET_VRING_CALL, wire.vring_fd(0), [w], need_reply=True)
        with back.recv() as msg:
            assert (msg.request, msg.payload, len(msg.fds), msg.need_reply) == (FE.SET_VRING_CALL, wire.vring_fd(0), 1, True)
            back.reply(msg, bytes(8))
        with front.recv_reply(FE.SET_VRING_CALL) as msg:
            assert msg.u64 == 0
        front.close()
        assert back.closed_by_peer()


SENT = ("SET_OWNER", "GET_FEATURES", "GET_QUEUE_NUM", "GET_STATUS")


@pytest.mark.parametrize("text, come", [
    ("drop front GET_FEATURES", ("SET_OWNER", "GET_QUEUE_NUM", "GET_STATUS")),
    ("drop front any #3", ("SET_OWNER", "GET_FEATURES", "GET_STATUS")),
    ("drop front any #*", ()),
    ("drop back GET_FEATURES", SENT),
    ("repeat front SET_OWNER", ("SET_OWNER", *SENT)),
    ("reorder front GET_FEATURES", ("SET_OWNER", "GET_QUEUE_NUM", "GET_FEATURES", "GET_STATUS")),
    ("delay front SET_OWNER 0.05", SENT),
    ("reorder front SET_OWNER; drop front GET_STATUS  # two", ("GET_FEATURES", "SET_OWNER", "GET_QUEUE_NUM")),
])
def test_messages_are_lost_repeated_and_late(text, come):
    with line(text) as (front, back, faults):
        for name in SENT:
            front.send(FE[name])
        assert names(back, len(come)) == list(come)
        front.close()
        assert back.closed_by_peer()
    assert faults.failed is None and any(f.done for f in faults.faults) == ("back" not in text)


def test_bytes_are_changed():
    with line("corrupt back GET_FEATURES 1 ffff") as (front, back, _):
        front.send(FE.GET_FEATURES)
        with back.recv() as msg:
            back.reply(msg, wire.pack("U64", value=0))
        with front.recv_reply(FE.GET_FEATURES) as msg:
            assert msg.u64 == 0xFFFF00


def test_a_connection_is_cut_in_the_middle_of_a_message():
    with line("cut front SET_FEATURES 15") as (front, back, _):
        front.send(FE.SET_OWNER)
        front.send(FE.SET_FEATURES, bytes(8))
        assert names(back, 1) == ["SET_OWNER"]
        with pytest.raises(Closed) as e:
            back.recv()
        assert len(e.value.partial) == 15
        with pytest.raises(Closed):
            front.recv()


def test_fds_are_taken_away():
    with line("strip front SET_VRING_CALL") as (front, back, _):
        with open(os.devnull, "rb") as f:
            front.send(FE.SET_VRING_CALL, wire.vring_fd(0), [f.fileno()])
        with back.recv() as msg:
            assert msg.fds == [] and msg.payload == wire.vring_fd(0)


@pytest.mark.parametrize("text", ("drop", "lose front SET_OWNER", "drop middle SET_OWNER", "drop front NONSENSE", "cut front SET_OWNER",
                                  "delay front SET_OWNER soon", "corrupt back GET_CONFIG 1 xy", "drop front SET_OWNER 1"))
def test_a_script_that_means_nothing(text):
    with pytest.raises(ValueError):
        script(text)
    with pytest.raises(ValueError):
        Faults(text, listen="x")


def test_a_script_is_what_it_says():
    assert script("drop back any #*\n\ncut front SET_OWNER 0x10") == [
        Fault("drop", BACK, None, 0), Fault("cut", FRONT, int(FE.SET_OWNER), 1, at=16)]


def test_our_front_end_says_what_happened(tmp_path):
    """Over a bad line each way, for one connection after the other."""
    with vh.Device.ram(MIB) as device, served(device, tmp_path / "s"):
        with Faults("cut back GET_FEATURES 13; corrupt back any #2 0 00", listen=tmp_path / "bad", connect=tmp_path / "s"):
            with pytest.raises(OSError), vh.connect(tmp_path / "bad", timeout=WAIT) as master:
                master.negotiate()
            with vh.Blk(tmp_path / "bad", timeout=WAIT) as disk:
                assert disk.capacity == MIB
        with pytest.raises(OSError), Faults("", listen=tmp_path / "s", connect=tmp_path / "s"):
            pass
        assert launch.listening(str(tmp_path / "s")), "the socket of somebody else is gone"


@pytest.mark.parametrize("name", ["@vh-faults-{pid}", "{folder}/" + 2 * ("x" * 100 + "/") + "s"], ids=["abstract", "long"])
def test_any_address_is_one_for_the_kit(tmp_path, name):
    path = name.format(pid=os.getpid(), folder=tmp_path)
    if path[0] == "/":
        os.makedirs(os.path.dirname(path))
    with BackEnd.listen(path + "b") as listener, Faults("", listen=path, connect=path + "b"):
        with FrontEnd.connect(path, timeout=WAIT) as front, BackEnd.accept(listener, timeout=WAIT) as back:
            back.start()
            assert front.get_u64(FE.GET_FEATURES) == back.features
            front.close()


def test_nobody_behind_a_bad_line(tmp_path):
    with Faults("", listen=tmp_path / "bad", connect=tmp_path / "none", timeout=0.05):
        with FrontEnd.connect(tmp_path / "bad", timeout=WAIT) as front:
            assert front.closed_by_peer()


def test_a_back_end_by_hand_survives_a_stranger(tmp_path):
    back, theirs = BackEnd.pair()
    with back, theirs:
        back.start()
        with FrontEnd(theirs, timeout=WAIT) as front:
            front.negotiate()


# Hostile back-ends


@pytest.mark.parametrize("nth", (1, 4))
@pytest.mark.parametrize("trick", TRICKS)
def test_our_front_end_survives_hostile_back_ends(tmp_path, trick, nth):
    before = len(os.listdir("/proc/self/fd"))
    with HostileBackEnd(tmp_path / "s", trick, nth) as back:
        def ask():
            with vh.connect(tmp_path / "s", timeout=0.5 if trick == "silence" else WAIT) as master:
                master.negotiate()
                master.get_queue_num()
                return master.get_config(0, 8)
        if back.trick.outcome == FAILS:
            with pytest.raises(OSError):
                ask()
        elif back.trick.outcome == WORKS:
            assert ask() == bytes(8)
        else:
            with contextlib.suppress(OSError):
                ask()
    assert back.done == 1 and len(os.listdir("/proc/self/fd")) == before


def test_it_serves_one_connection_after_the_other(tmp_path):
    with HostileBackEnd(tmp_path / "s", "hang-up", 2) as back:
        for _ in range(3):
            with FrontEnd.connect(tmp_path / "s", timeout=WAIT) as front, pytest.raises(Closed):
                front.negotiate()
        assert back.done == 3


# The machine


def test_the_machine_finds_nothing_in_our_back_end():
    with launch.start([VHCTL, "serve", "blk", "--ram", "1M"], timeout=WAIT) as backend:
        run(backend.path, examples=200 if FULL else 25, steps=40, timeout=WAIT)
        assert not backend.done()


@pytest.mark.skipif(not os.path.exists("/usr/bin/qemu-storage-daemon"), reason="needs qemu-storage-daemon")
def test_the_machine_finds_nothing_in_qemu_storage_daemon(tmp_path):
    with open(tmp_path / "disk", "wb") as f:
        f.truncate(MIB)
    line_ = (f"/usr/bin/qemu-storage-daemon --blockdev driver=file,node-name=d,filename={tmp_path}/disk --export "
             "type=vhost-user-blk,id=e,node-name=d,writable=on,addr.type=unix,addr.path={socket}")
    with launch.start(line_, timeout=WAIT) as backend:
        run(backend.path, examples=100 if FULL else 15, steps=30, timeout=WAIT)
        assert not backend.done()


class Wrong(vh.Device):
    """A disk that loses a sector, when it is written along with the one before."""

    type = vh.DeviceType.BLK
    config = (MIB >> 9).to_bytes(8, "little")
    more_features = 0

    def __init__(self, lost):
        super().__init__()
        self.disk, self.lost = bytearray(MIB), lost

    def on_batch(self, queue, index, budget):
        batch = queue.pop(budget)
        for request in batch:
            head = request.read(16)
            at = 512 * int.from_bytes(head[8:], "little")
            if head[0] == 0:
                size = request.wr_len - 1
                request.write(bytes(self.disk[at:at + size]) + b"\0")
            else:
                data = request.read(request.rd_len - 16, 16)
                if self.lost and len(data) > 512:
                    data = data[:512]
                self.disk[at:at + len(data)] = data
                request.write(b"\0")
        queue.push(batch)


@pytest.mark.parametrize("lost", (False, True))
def test_the_machine_finds_a_sector_that_is_lost(tmp_path, lost):
    with Wrong(lost) as device, served(device, tmp_path / "s"):
        if not lost:
            run(tmp_path / "s", examples=15, timeout=WAIT)
            return
        with pytest.raises(AssertionError, match="is not what was written there"):
            run(lambda: FrontEnd.connect(tmp_path / "s", timeout=WAIT), examples=200, timeout=WAIT,
                phases=(Phase.generate,))  # the shortest way there would take longer than to find one


@pytest.mark.parametrize("begin", (0, 1, 15, 16, 31, 0xFFFF))
@pytest.mark.parametrize("packed", (False, True))
def test_rings_by_hand(tmp_path, packed, begin):
    """From any position on, round after round, by chains of three and by tables; the base is where they end."""
    with vh.Device.ram(MIB) as device, served(device, tmp_path / "s"), FrontEnd.connect(tmp_path / "s", timeout=WAIT) as front, \
            Memory(MIB) as memory:
        front.negotiate(bits(F.VERSION_1, F.PROTOCOL_FEATURES, F.RING_INDIRECT_DESC) | (bits(F.RING_PACKED) if packed else 0))
        front.set_mem_table([memory])
        with Queue(memory, 0, 16, begin, packed=packed) as queue:
            front.start(queue)
            room = memory.next
            for turn in range(12):
                memory.next = room
                indirect = turn % 3 == 2
                writes = [BlkRequest.write(memory, i, bytes([turn + i]) * 512) for i in range(4)]
                heads = [queue.submit(r.chain, indirect) for r in writes]
                assert sorted(head for head, _ in queue.wait(4, WAIT)) == sorted(heads)
                reads = [BlkRequest.read(memory, i, 512) for i in range(4)]
                heads = [queue.submit(r.chain, indirect) for r in reads]
                assert sorted(queue.wait(4, WAIT)) == sorted((head, 513) for head in heads)
                assert [r.data()[0] for r in reads] == [turn + i for i in range(4)]
            assert front.stop(queue) == queue.ring.base


def test_the_machine_finds_a_wrong_base(tmp_path):
    with vh.Device.ram(MIB) as device, served(device, tmp_path / "s"), \
            Faults("corrupt back GET_VRING_BASE #* 4 07", listen=tmp_path / "bad", connect=tmp_path / "s"), \
            pytest.raises(AssertionError, match="GET_VRING_BASE says 7"):
        run(tmp_path / "bad", examples=20, steps=10, timeout=WAIT)


def test_it_is_a_test_case_as_its_words_say(tmp_path):
    source = f"""
from hypothesis import settings
from vh.testing.machine import FrontendMachine

class Machine(FrontendMachine):
    socket = {str(tmp_path / 's')!r}

TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=5, stateful_step_count=10, deadline=None, database=None)
"""
    (tmp_path / "test_it.py").write_text(source, encoding="utf-8")
    assert issubclass(FrontendMachine.TestCase, object)
    with vh.Device.ram(MIB) as device, served(device, tmp_path / "s"):
        got = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"], cwd=tmp_path, check=False,
                             env={**os.environ, "PYTHONPATH": PACKAGE}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert got.returncode == 0, got.stdout
