# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Messages for devices of one kind, and answers that come later: a Python class behind the library's own front-end."""
import errno
import os
import socket
import threading

import pytest
from binding import Null, Turns, vh

MTU = 1 << 3  # VIRTIO_NET_F_MTU
MAC = bytes.fromhex("525400123456")
SESSION = vh.CryptoSession(op_code=0x102, algo=3, key=b"k" * 16, auth_key=b"a" * 20, hash_alg=2, hash_result_len=20,
                           add_len=7, op_type=2, direction=1, hash_mode=2, alg_chain_order=1)
PAIR = vh.CryptoSession(op_code=0x404, algo=1, key=b"p" * 600, key_type=2, rsa_padding_algo=1, rsa_hash_algo=3)


class Net(Null):
    type = vh.DeviceType.NET
    features = MTU
    told = None

    def send_rarp(self, mac, later):
        self.told = mac
        return -errno.EIO if mac == bytes(6) else None

    def set_mtu(self, mtu, later):
        self.told = mtu
        return later if mtu == 9000 else None


class Crypto(Null):
    def __init__(self):
        super().__init__()
        self.sessions = {}
        self.later = None

    def create_crypto_session(self, session, later):
        if session.algo == 99:
            return -errno.ENOTSUP
        if session.algo == 98:
            self.later = later
            return later
        self.sessions[len(self.sessions) + 5] = session
        return len(self.sessions) + 4

    def close_crypto_session(self, number, later):
        return None if self.sessions.pop(number, None) else -errno.ENOENT


class Gpu(Null):
    display = None

    def set_gpu_socket(self, fd, later):
        self.display = socket.socket(fileno=os.dup(fd))


def refused(call, *args):
    with pytest.raises(vh.VhError) as e:
        call(*args)
    return e.value.errno


def test_a_guest_is_announced_and_the_mtu_is_set():
    device = Net()
    with Turns(device) as t:
        t.run(t.master.negotiate)
        assert vh.ProtocolFeatures.RARP | vh.ProtocolFeatures.MTU in t.run(t.master.get_protocol_features)
        t.run(t.master.send_rarp, MAC)
        assert device.told == MAC
        assert t.run(lambda: refused(t.master.send_rarp, bytes(6))) == errno.EREMOTEIO
        assert refused(t.master.send_rarp, b"short") == errno.EINVAL
        t.run(t.master.set_mtu, 1500)
        assert device.told == 1500
        for mtu in (67, 65536):
            assert refused(t.master.set_mtu, mtu) == errno.EINVAL


def test_without_the_callbacks_nothing_is_offered():
    with Turns(Null()) as t:
        t.run(t.master.negotiate)
        assert not t.run(t.master.get_protocol_features) & (
            vh.ProtocolFeatures.RARP | vh.ProtocolFeatures.MTU | vh.ProtocolFeatures.CRYPTO_SESSION)
        for call, arg in ((t.master.send_rarp, MAC), (t.master.set_mtu, 1500), (t.master.close_crypto_session, 1),
                          (t.master.create_crypto_session, SESSION)):
            assert refused(call, arg) == errno.EOPNOTSUPP


def test_crypto_sessions_are_created_and_closed():
    device = Crypto()
    with Turns(device) as t:
        t.run(t.master.negotiate)
        first = t.run(t.master.create_crypto_session, SESSION)
        second = t.run(t.master.create_crypto_session, PAIR)
        assert device.sessions == {first: SESSION, second: PAIR}
        bad = vh.CryptoSession(algo=99)
        assert t.run(lambda: refused(t.master.create_crypto_session, bad)) == errno.EREMOTEIO
        assert refused(t.master.create_crypto_session, vh.CryptoSession(key=b"k" * 65)) == errno.EINVAL
        t.run(t.master.close_crypto_session, first)
        assert t.run(lambda: refused(t.master.close_crypto_session, first)) == errno.EREMOTEIO
        assert list(device.sessions) == [second]


def test_a_session_number_may_come_later():
    device = Crypto()
    with Turns(device) as t:
        t.run(t.master.negotiate)
        timer = threading.Timer(0.1, lambda: device.later.reply((1 << 40).to_bytes(8, "little")))
        timer.start()
        assert t.run(t.master.create_crypto_session, vh.CryptoSession(algo=98)) == 1 << 40
        timer.join()
        assert refused(device.later.reply, bytes(8)) == errno.ESTALE


def test_config_space_may_come_later():
    class Slow(Null):
        later = None

        def get_config(self, offset, length, later):
            self.later = later
            return later

    device = Slow()
    failed = []

    def answer():
        failed.append(refused(device.later.reply, b"short"))
        failed.append(refused(device.later.finish))
        device.later.reply(b"config!!")

    with Turns(device) as t:
        t.run(t.master.negotiate)
        timer = threading.Timer(0.1, answer)
        timer.start()
        assert t.run(t.master.get_config, 0, 8) == b"config!!"
        timer.join()
        assert failed == [errno.EINVAL, errno.EINVAL]
        threading.Timer(0.1, lambda: device.later.finish(-errno.EIO)).start()
        assert t.run(lambda: refused(t.master.get_config, 0, 8)) == errno.EREMOTEIO


def test_a_display_is_told_of():
    device = Gpu()
    ours, theirs = socket.socketpair()
    with ours, theirs, Turns(device) as t:
        t.run(t.master.negotiate)
        t.run(t.master.set_gpu_socket, theirs)
        device.display.send(b"hello")
        assert ours.recv(5) == b"hello"
        device.display.close()
        r, w = os.pipe()
        assert t.run(lambda: refused(t.master.set_gpu_socket, r)) == errno.EREMOTEIO
        os.close(r), os.close(w)
    with ours, Turns(Null()) as t:
        t.run(t.master.negotiate)
        pair = socket.socketpair()
        assert t.run(lambda: refused(t.master.set_gpu_socket, pair[0])) == errno.EREMOTEIO
        for s in pair:
            s.close()
