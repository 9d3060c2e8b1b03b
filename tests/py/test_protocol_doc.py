# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""docs/protocol.md says of messages and bits what a running back-end and front-end do, and how that was checked."""
import glob
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from docs_tables import TOP, kinds, text, unknown
from vh.testing import PF, BackEnd, FrontEnd
from vh.testing.wire import FE, F, unpack

sys.path[:0] = [os.path.join(TOP, "bindings"), os.path.join(TOP, "tests", "lab")]
import claims  # noqa: E402  pylint: disable=wrong-import-position
import emit_protocol  # noqa: E402  pylint: disable=wrong-import-position

VHCTL = os.path.join(os.environ.get("VH_BUILD", os.path.join(TOP, "build")), "vhctl")
PEERS, ROWS = emit_protocol.hand_written()
ALL_BITS = sum(1 << bit for bit in F), sum(1 << bit for bit in PF)


def of(side):
    return {name: row for (kind, name), row in ROWS.items() if kind == side}


def test_a_back_end_answers_where_it_has_a_handler():
    handled = set()
    for path in glob.glob(os.path.join(TOP, "src", "slave", "handlers*.c")):
        handled |= set(re.findall(r"^\s*\[VHI_FE_(\w+)\] = ", text(path), flags=re.M))
    assert {"GET_FEATURES", "SET_VRING_KICK"} <= handled
    assert {name for name, row in of("fe").items() if row.slave} == handled


@pytest.mark.parametrize("key", ROWS, ids=" ".join)
def test_calls_and_tests_are_there(key):
    row = ROWS[key]
    known = {"library", "raw", "offered", "acked"}
    words = [word for cell in (row.slave, row.master) for word in cell.split(", ") if word and word not in known]
    assert all(word.lower().startswith("vh_") or word.startswith("asked: ") for word in words)
    assert not list(unknown(" ".join((row.slave, row.master, *row.tests))))
    assert set(row.peers) <= {peer.key for peer in PEERS} | {"bytes"}


@pytest.mark.parametrize("key", ROWS, ids=" ".join)
def test_what_works_was_checked(key):
    """Each role with a peer of the other; or by tests, and it is said why there is none."""
    row = ROWS[key]
    roles = {peer.role for peer in PEERS if peer.key in row.peers}
    works = {"front-end": row.slave, "back-end": row.master not in ("", "raw", "vh_master_ops.backend_request")}
    for peer, here in works.items():
        assert not here or peer in roles or row.why and (row.tests or row.peers)


def test_tests_of_the_legend_are_there():
    assert not list(unknown(emit_protocol.HEAD))


def test_peers_are_run_by_the_gate():
    assert {f"demo-{peer.key}" for peer in PEERS} <= kinds()


def said(side, column, word):
    return {name for name, row in of(side).items() if getattr(row, column) == word}


def test_a_back_end_offers_what_is_said(tmp_path):
    path = str(tmp_path / "s")
    with subprocess.Popen([VHCTL, "serve", "blk", "--socket", path, "--ram", "1M"], stderr=subprocess.PIPE) as server:
        try:
            server.stderr.readline()
            with FrontEnd.connect(path) as fe:
                features, protocol_features = fe.get_u64(FE.GET_FEATURES), fe.get_u64(FE.GET_PROTOCOL_FEATURES)
        finally:
            server.send_signal(signal.SIGTERM)
    assert {bit.name for bit in PF if protocol_features >> bit & 1} == said("pf", "slave", "offered")
    assert {bit.name for bit in F if features >> bit & 1} == said("f", "slave", "offered")


def test_a_front_end_acks_what_is_said(tmp_path):
    with BackEnd.listen(tmp_path / "s") as listener, subprocess.Popen(
            [VHCTL, "io", "blk", f"unix:{tmp_path}/s", "read", "--timeout", "200"], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL) as client:
        back = BackEnd.accept(listener, features=ALL_BITS[0], protocol_features=ALL_BITS[1])
        with back:
            back.start()
            client.wait(20)
    sent = {m.request: unpack("U64", m.payload)["value"] for m in back.log if m.request in (FE.SET_FEATURES, FE.SET_PROTOCOL_FEATURES)}
    assert {bit.name for bit in PF if sent[FE.SET_PROTOCOL_FEATURES] >> bit & 1} == said("pf", "master", "acked")
    assert {bit.name for bit in F if sent[FE.SET_FEATURES] >> bit & 1} == said("f", "master", "acked")


def test_only_what_crossed_unrefused_counts_as_exchanged():
    def line(**changed):
        told = {"dir": "received", "chan": "main", "req": "SET_FEATURES", "flags": 9, "site": 0, "payload": {"value": 1 << F.VERSION_1}}
        return json.dumps({**told, **changed})
    assert claims.exchanged("front-end", [line()]) == {("fe", "SET_FEATURES"), ("f", "VERSION_1")}
    assert claims.exchanged("back-end", [line()]) == set()
    assert claims.exchanged("front-end", [line(dir="sent"), line(site=205), line(flags=5)]) == set()
    refused = line(dir="sent", flags=5, payload={"value": 1})
    assert ("fe", "SET_FEATURES") not in claims.exchanged("front-end", [line(), refused])
    asked = line(dir="sent", chan="backend", req="BACKEND_CONFIG_CHANGE_MSG")
    assert claims.exchanged("front-end", [asked]) == {("be", "CONFIG_CHANGE_MSG")}


def test_what_a_peer_did_not_exchange_is_told(tmp_path):
    (tmp_path / "trace").write_text("")
    assert "fe GET_FEATURES" in claims.missing("qemu", tmp_path / "trace")
    assert claims.missing("no peer", tmp_path / "trace") == []


def test_a_peer_of_another_version_is_told(monkeypatch):
    monkeypatch.setattr(claims.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess((), 0, b"QEMU emulator version 7.20.1\n"))
    assert not claims.other_version(emit_protocol.Peer("k", "QEMU 7.20, a guest", "front-end"))
    assert claims.other_version(emit_protocol.Peer("k", "QEMU 7.2, a guest", "front-end"))
    assert not claims.other_version(emit_protocol.Peer("k", "another 1.0", "front-end"))
