# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Messages by hand in a slave: what the front-end asks and nobody else answers, and what the slave asks itself."""
import contextlib
import errno
import os
import threading

import pytest

from binding import WAIT, Null, vh

UNKNOWN = 0x4242
UUID = bytes(range(1, 17))
OBJECTS = vh.ProtocolFeatures.SHARED_OBJECT


@contextlib.contextmanager
def pairs_of(device, master_options=None, **options):
    """A front-end and a slave that a thread serves."""
    with vh.Slave(device, **options) as slave, vh.Master(timeout=WAIT, **master_options or {}) as master:
        fd = master.socketpair()
        slave.adopt(fd)
        os.close(fd)
        stop = threading.Event()
        thread = threading.Thread(target=lambda: slave.serve(stop.is_set))
        thread.start()
        try:
            yield master, slave
        finally:
            stop.set()
            thread.join(WAIT)


def test_what_nobody_else_answers_is_asked_of_the_user():
    asked = []

    def answer(request):
        asked.append((request.request, request.name, request.payload, len(request.fds)))
        if request.payload == b"no":
            return -errno.ENOENT
        if request.payload == b"own":
            request.answer(0, b"mine", [request.fds[0]])
            return request
        return None

    with pairs_of(Null(), on_request=answer) as (master, _), open(os.devnull, "rb") as file:
        master.negotiate()
        assert master.request(UNKNOWN, b"yes", reply=vh.REPLY_ACK).payload == bytes(8)
        with pytest.raises(vh.VhError) as e:
            master.request(UNKNOWN, b"no", reply=vh.REPLY_ACK)
        assert e.value.errno == errno.EREMOTEIO
        reply = master.request(UNKNOWN, b"own", [file], reply=vh.REPLY_OWN)
        assert reply.payload == b"mine" and os.path.sameopenfile(reply.fds[0], file.fileno())
        os.close(reply.fds[0])
    assert [a[0] for a in asked] == [UNKNOWN] * 3 and [a[3] for a in asked] == [0, 0, 1]
    assert asked[0][1:3] == ("UNKNOWN", b"yes")


def test_a_request_is_answered_later_from_another_thread():
    kept, came = [], threading.Event()

    def answer(request):
        kept.append(request)
        came.set()
        return request

    with pairs_of(Null(), on_request=answer) as (master, _):
        master.negotiate()
        timer = threading.Thread(target=lambda: came.wait(WAIT) and kept[0].answer(0))
        timer.start()
        assert master.request(UNKNOWN, reply=vh.REPLY_ACK).payload == bytes(8)
        timer.join(WAIT)
        with pytest.raises(vh.VhError) as e:
            kept[0].answer(0)
        assert e.value.errno == errno.ESTALE


def test_a_slave_asks_and_is_answered():
    def answer(request):
        if request.request == UNKNOWN:
            request.answer(0, b"hello")
        elif request.payload != UUID:
            return -errno.ENOENT
        return request if request.request == UNKNOWN else None

    with pairs_of(Null(), {"on_backend_request": answer, "more_protocol_features": OBJECTS},
                  more_protocol_features=OBJECTS) as (master, slave):
        with pytest.raises(vh.VhError) as e:
            slave.submit(2)
        assert e.value.errno in (errno.ENOTCONN, errno.EOPNOTSUPP)
        driver = vh.Driver(master, type=vh.TYPE_BLK)
        driver.start()
        stop = threading.Event()

        def serve_master():
            while not stop.is_set():
                master.dispatch()
                stop.wait(0.001)

        thread = threading.Thread(target=serve_master)
        thread.start()
        try:
            assert slave.request(6, UUID, timeout=WAIT).payload == bytes(8)
            with pytest.raises(vh.VhError) as e:
                slave.request(6, bytes(16 * [9]), timeout=WAIT)
            assert e.value.errno == errno.EREMOTEIO
            assert slave.request(UNKNOWN, reply=vh.REPLY_OWN, timeout=WAIT).payload == b"hello"
            assert slave.submit(6, UUID, reply=vh.REPLY_NONE) == 0
        finally:
            stop.set()
            thread.join(WAIT)
            driver.close()  # while the other end is there to answer


def test_what_a_callback_raises_is_heard():
    def answer(_):
        raise ArithmeticError("mine")

    with vh.Slave(Null(), on_request=answer) as slave, vh.Master(timeout=WAIT) as master:
        fd = master.socketpair()
        slave.adopt(fd)
        os.close(fd)
        master.submit(UNKNOWN, reply=vh.REPLY_NONE)
        with pytest.raises(ArithmeticError):
            slave.wait(WAIT)
    with pytest.raises(TypeError):
        vh.Slave(Null(), on_request=7)
