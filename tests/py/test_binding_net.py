# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Net: frames out and in over a device that loops them."""
import asyncio
import errno
import threading

import pytest
from binding import WAIT, served, vh

MERGE = 1 << vh.NET_F_MRG_RXBUF


def frame(i, length):
    return bytes((i + k) % 251 for k in range(length))


@pytest.mark.parametrize("features", (0, MERGE))
def test_frames_come_back(tmp_path, features):
    path = str(tmp_path / "s")
    with vh.NetDev.loopback(mac="52:54:00:00:00:01", mtu=3000) as device, served(device, path):
        with vh.Net(path, features=features, timeout=WAIT) as net:
            info = net.info
            assert (info.mac, info.mtu, info.frame_max) == (bytes.fromhex("525400000001"), 3000, 3018)
            assert info.link_up and info.n_pairs == info.max_pairs == 1
            assert bool(info.features & MERGE) == bool(features)
            for i in range(40):
                sent = [frame(i + k, 14 + (97 * (i + k)) % 3000) for k in range(1 + i % 5)]
                net.send(*sent)
                assert [net.receive(WAIT) for _ in sent] == sent
            assert net.receive(0.01) is None
            assert not net.wait(0) and net.wait(0, to_send=True)


def test_a_device_without_a_configuration_space(tmp_path):
    """DPDK's back-end offers features that tell of it, and has none: what would stand there is not known."""
    path = str(tmp_path / "s")
    with vh.NetDev.loopback(mac="52:54:00:00:00:01", mtu=3000) as device, served(device, path):
        with vh.Master(timeout=WAIT, mask_protocol_features=vh.ProtocolFeatures.CONFIG) as master:
            master.connect(path)
            with vh.Net(master) as net:
                info = net.info
                assert (info.mac, info.mtu, info.frame_max, info.link_up) == (None, 0, 1518, True)
                net.send(frame(1, 1500))
                assert net.receive(WAIT) == frame(1, 1500)


class Turning(vh.Device):
    """What is sent comes back, with what stands in its virtio header."""

    type = vh.DeviceType.NET
    max_queues = 2
    features = 1 << vh.NET_F_CSUM | 1 << vh.NET_F_GUEST_CSUM

    def on_batch(self, queue, index, budget):
        if index == 0:
            self.receiving = queue
            return
        for request in (batch := queue.pop(budget)):
            room = self.receiving.pop(1)
            room[0].write(request.read(request.rd_len))
            self.receiving.push(room)
        queue.push(batch)


def test_a_frame_has_its_virtio_header(tmp_path):
    path = str(tmp_path / "s")
    header = {"hdr_flags": 1, "gso_type": 4, "hdr_len": 54, "gso_size": 1400, "csum_start": 34, "csum_offset": 16}
    with Turning() as device, served(device, path), vh.Net(path, timeout=WAIT, features=Turning.features) as net:
        net.send(vh.Frame(frame(1, 100), **header))
        got = net.receive(WAIT)
        assert got == frame(1, 100) and vars(got) == {**header, "num_buffers": 1}
        net.send(frame(2, 100))
        got = net.receive(WAIT)
        assert got == frame(2, 100) and (got.hdr_flags, got.csum_start) == (0, 0)
    with pytest.raises(TypeError, match="num_buffers"):
        vh.Frame(b"", num_buffers=1)


def test_what_can_not_be_sent_is_refused(tmp_path):
    path = str(tmp_path / "s")
    with vh.NetDev.loopback() as device, served(device, path), vh.connect(path) as master:
        with vh.Driver(master) as raw:
            with pytest.raises(vh.VhError) as e:
                vh.Net(raw)
            assert e.value.errno == errno.EINVAL
    with vh.NetDev.loopback() as device, served(device, path + "2"), vh.Net(path + "2", frame_max=100) as net:
        for length in (13, 101):
            with pytest.raises(vh.VhError) as e:
                net.send(bytes(length))
            assert e.value.errno == errno.EMSGSIZE
        with pytest.raises(vh.VhError) as e:
            net.reap(pair=1)
        assert e.value.errno == errno.EINVAL
        assert net.submit([]) == 0
        net.send(bytearray(100))
        assert net.receive(WAIT) == bytes(100)


def test_one_thread_sends_and_another_one_receives(tmp_path):
    path = str(tmp_path / "s")
    count = 2000
    with vh.NetDev.loopback() as device, served(device, path), vh.Net(path, queue_size=64, timeout=WAIT) as net:
        turns = threading.Semaphore(32)  # more than that are dropped when there is no buffer for them

        def send():
            for i in range(count):
                assert turns.acquire(timeout=WAIT)
                net.send(i.to_bytes(20, "big"))

        thread = threading.Thread(target=send)
        thread.start()
        for i in range(count):
            assert int.from_bytes(net.receive(WAIT), "big") == i
            turns.release()
        thread.join()


def test_a_task_sleeps_until_a_frame_comes(tmp_path):
    path = str(tmp_path / "s")

    async def both(net):
        waiting = asyncio.create_task(net.async_receive())
        await asyncio.sleep(0)
        net.send(frame(1, 60))
        return await asyncio.wait_for(waiting, WAIT)

    with vh.NetDev.loopback() as device, served(device, path), vh.Net(path, timeout=WAIT) as net:
        assert asyncio.run(both(net)) == [frame(1, 60)]
