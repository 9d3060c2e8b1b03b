# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What a process shows of itself: from inside, from another process, and as OpenMetrics."""
import errno
import os
import subprocess
import sys
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from binding import PACKAGE, WAIT, Null, served, vh


def eventually(look, wanted):
    """Counters are written again after the page's interval."""
    end = time.monotonic() + 6 * WAIT
    while True:
        found = look()
        if wanted(found) or time.monotonic() > end:
            assert wanted(found), found
            return found


def test_every_property_is_told():
    for kind in (vh.METRICS_CONNECTION, vh.METRICS_QUEUE):
        properties = vh.metrics_properties(kind)
        assert len({p.name for p in properties}) == len(properties) > 10
        assert all(p.help.endswith(".") for p in properties) and any(p.brief for p in properties)
    assert {p.type for p in vh.metrics_properties(vh.METRICS_CONNECTION)} == set(vh.MetricsType)
    assert vh.metrics_properties(99) == ()


def test_a_slave_is_looked_at(tmp_path):
    path = str(tmp_path / "null")
    with vh.Metrics("a test", interval=0.001) as metrics, served(Null(), path) as slave:
        slave.set_metrics(metrics, "disk")
        with vh.MetricsReader() as reader:
            assert reader.info.pid == os.getpid() and reader.info.name == "a test" and reader.info.interval == 0.001
            (row,) = reader.connections()
            assert row["name"] == "disk" and row["address"] == path and row["state"] == "listening" and row["role"] == "slave"
            assert row["features"] == 0 and row["last_request"] is None and row["connected"] is None
            with vh.Blk(path) as disk:
                for _ in range(5):
                    disk.read(0, 512)
                row = eventually(lambda: reader.connections()[0], lambda c: c["rings"][0]["completed"] == 5)
                assert row["state"] == "connected" and row["peer_pid"] == os.getpid() and row["connected"] > 0
                assert "VERSION_1" in vh.feature_names(row["features"], 2)
                assert "REPLY_ACK" in vh.feature_names(row["protocol_features"])
                ring = row["rings"][0]
                assert ring["state"] == "running" and ring["requests"] == 5 and ring["in_flight"] == 0
                assert ring["oldest_in_flight"] is None and ring["connection"] == row["connection"]
                assert row["messages_received"] == slave.stats.messages_in
            slave.set_metrics(None)
            assert reader.connections() == [] == reader.queues()


def test_a_session_is_looked_at(tmp_path):
    path = str(tmp_path / "null")
    with vh.Metrics(interval=0.001) as metrics, served(Null(), path), vh.Blk(path) as disk, vh.MetricsReader() as reader:
        disk.driver.set_metrics(metrics, "session")
        (row,) = reader.connections()
        assert row["role"] == "driver" and row["name"] == "session" and row["messages_sent"] is None
        disk.read(0, 512)
        assert row["features"] == disk.driver.features and row["rings"][0]["requests"] == 0
        assert reader.queues()[0]["in_flight"] == 0
        disk.driver.stop()
        assert reader.queues()[0]["completed"] == 1
        disk.driver.set_metrics(None)
        assert reader.connections() == []


CHILD = """
import sys
import vh
with vh.Metrics("child"), vh.Metrics("second"):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_looked_at():
    with subprocess.Popen([sys.executable, "-c", CHILD], env={**os.environ, "PYTHONPATH": PACKAGE}, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == "ready\n"
        with vh.MetricsReader(child.pid) as reader, vh.MetricsReader(child.pid, 1) as second:
            assert {reader.info.name, second.info.name} == {"child", "second"}
            with pytest.raises(FileNotFoundError):
                vh.MetricsReader(child.pid, 2)
            child.communicate()
            assert reader.connections() == []  # the page stays where it is looked at
    with pytest.raises(ProcessLookupError):
        vh.MetricsReader(child.pid)
    with pytest.raises(FileNotFoundError):
        vh.MetricsReader()


def test_the_file_can_be_given(tmp_path):
    with vh.Metrics("given") as metrics:
        fd = metrics.dup_fd()
        try:
            with vh.MetricsReader(fd=fd) as reader:
                assert reader.info.name == "given"
            with pytest.raises(OSError):
                os.write(fd, b"x")
        finally:
            os.close(fd)
    with open(tmp_path / "plain", "w+b") as f:
        f.write(bytes(8192))
        f.flush()
        with pytest.raises(PermissionError):
            vh.MetricsReader(fd=f)
    with pytest.raises(vh.VhError) as e:
        vh.Metrics("x" * 64)
    assert e.value.errno == errno.ENAMETOOLONG


def families(text):
    """Read by the parser of Prometheus' own client, which refuses what the format forbids."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_it_is_openmetrics(tmp_path):
    path = str(tmp_path / 'nu"ll')
    with vh.Metrics(interval=0.001) as metrics, served(Null(), path) as slave, vh.MetricsReader() as reader:
        assert families(reader.openmetrics())
        slave.set_metrics(metrics, 'a "disk"\\')
        with vh.Blk(path) as disk:
            disk.read(0, 512)
            eventually(lambda: reader.queues()[0]["completed"], lambda n: n == 1)
            found = families(reader.openmetrics())
    completed = found["libvh_queue_completed"]
    assert completed.type == "counter" and completed.documentation.startswith("Requests that were pushed")
    first = completed.samples[0]
    assert (first.name, first.value) == ("libvh_queue_completed_total", 1)
    assert first.labels == {"connection": "0", "name": 'a "disk"\\', "queue": "0"}
    assert found["libvh_queue_in_bytes"].unit == "bytes" and found["libvh_queue_oldest_in_flight_seconds"].unit == "seconds"
    states = {s.labels["libvh_connection_state"]: s.value for s in found["libvh_connection_state"].samples}
    assert states["connected"] == 1 and sum(states.values()) == 1
    (info,) = found["libvh_connection"].samples
    assert info.labels["address"] == path and int(info.labels["features"], 16) >> 32 & 1


def test_serve_shows_it(tmp_path):
    """The helper for programs that only serve."""
    path = str(tmp_path / "disk")
    program = "import sys, vh; vh.serve(vh.Device.ram(1 << 20), sys.argv[1], metrics='helper')"
    with subprocess.Popen([sys.executable, "-c", program, path], env={**os.environ, "PYTHONPATH": PACKAGE}) as p:
        try:
            with vh.Blk(eventually(lambda: path, os.path.exists)) as disk:
                disk.read(0, 512)
                with vh.MetricsReader(p.pid) as reader:
                    assert reader.info.name == "helper"
                    eventually(lambda: reader.queues()[0]["completed"], lambda n: n == 1)
        finally:
            p.terminate()
