# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vh.pytest_plugin: tests that are run by it, and what their reports say."""
import glob
import json
import os
import re
import sys

import pytest
from binding import PACKAGE, TOP, VHCTL, vh

pytest_plugins = ["pytester"]
RAM = f"exec:{VHCTL} serve blk --ram 4M --socket {{socket}}"


@pytest.fixture(name="run")
def _run(pytester, monkeypatch):
    """run(source, options): in a process of its own, with the plugin."""
    monkeypatch.setenv("PYTHONPATH", PACKAGE)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(source, *options):
        pytester.makepyfile(source)
        # What somebody else has installed is no matter here.
        return pytester.runpytest_subprocess("-p", "vh.pytest_plugin", "-p", "no:cacheprovider", "-W", "error", "-rs", *options, timeout=120)
    return run


def test_fixtures_work_without_anything(run):
    run("""
        import vh

        def test_pair(vh_pair):
            assert vh_pair.front.negotiate() & vh.Features.VERSION_1
            with vh.Blk(vh_pair.front) as disk:
                disk.write(0, b"x" * 512)
                assert disk.read(0, 512) == b"x" * 512
            assert vh_pair.back.stats.connections == 1 and vh_pair.device

        def test_blk(vh_blk, vh_target):
            vh_blk.write(512, b"y" * 512)
            assert vh_blk.read(512, 512) == b"y" * 512 and vh_blk.capacity == 16 << 20
            assert [m.name for m in vh_target.tracer.messages][:2] == ["GET_FEATURES"] * 2 and not vh_target.tracer.violations

        def test_net(vh_net, vh_timeout):
            vh_net.send(b"f" * 60)
            assert vh_net.receive(vh_timeout) == b"f" * 60

        def test_frontend(vh_frontend):
            assert vh_frontend.negotiate()

        def test_wire(vh_wire):
            vh_wire.negotiate()

        def test_mem(vh_mem):
            vh_mem.view(1 << 20, 4096)[:3] = b"abc"
    """).assert_outcomes(passed=6)


def test_a_device_of_the_user_s_takes_the_place_of_the_built_in_one(run):
    run("""
        import pytest
        import vh

        class Zeroes(vh.Device):
            type = vh.DeviceType.BLK
            config = (8).to_bytes(8, "little")

            def on_batch(self, queue, index, budget):
                batch = queue.pop(budget)
                for request in batch:
                    request.write(bytes(request.wr_len))
                queue.push(batch)

        @pytest.fixture
        def vh_device():
            return Zeroes()

        def test_it(vh_blk):
            assert vh_blk.capacity == 4096 and vh_blk.read(0, 4096) == bytes(4096)

        def test_in_a_pair(vh_pair):
            assert isinstance(vh_pair.device, Zeroes)
    """).assert_outcomes(passed=2)


FAILS = """
    def test_that_fails(vh_blk):
        vh_blk.read(0, 512)
        assert vh_blk.capacity == 0
"""


def test_a_report_has_what_was_said_and_where_rings_stand(run, pytester):
    got = run(FAILS, "--vh-artifacts", "out")
    got.assert_outcomes(failed=1)
    got.stdout.fnmatch_lines(["*- vh: trace -*", "*-> * GET_FEATURES*", "*<- * GET_FEATURES*VERSION_1*", "*SET_VRING_KICK*",
                              "*- vh: rings in shared memory -*", "*ring 0*", "*- vh: rings -*", "queue 0: *1 requests, 1 completed, 0 in flight*", "*- vh: files -*", "out/*trace.pcapng"])
    folder = pytester.path / "out" / "test_a_report_has_what_was_said_and_where_rings_stand.py_test_that_fails"
    assert sorted(os.listdir(folder)) == ["rings.txt", "shared-rings.txt", "trace.jsonl", "trace.pcapng"]
    with open(folder / "trace.jsonl", encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    assert lines[0]["vh_trace"] == 1 and lines[1].get("event") == "connected" and any(line.get("req") == "SET_VRING_ADDR" for line in lines)


def test_a_report_has_the_log_and_the_fds_of_a_back_end(run, pytester):
    got = run(FAILS, "--vh-target", RAM, "--vh-artifacts", "out")
    got.assert_outcomes(failed=1)
    got.stdout.fnmatch_lines(["*- vh: output of vhctl -*", "vhctl: serving blk on *", "*- vh: process vhctl -*", "State:*", "fd 0: /dev/null",
                              "*- vh: trace -*"])
    path, = glob.glob(str(pytester.path / "out" / "*" / "vhctl.log"))
    with open(path, encoding="utf-8") as f:
        assert "serving blk" in f.read()


def test_a_back_end_that_dies_fails_the_test_and_says_why(run):
    got = run("def test_it(vh_blk): pass", "--vh-target", f"exec:{VHCTL} serve blk --file /nonexistent --socket {{socket}}")
    got.assert_outcomes(errors=1)
    got.stdout.fnmatch_lines(["*it ended with exit code * before it listened*", "*nonexistent*"])


def test_nothing_is_said_of_tests_that_pass_unless_it_is_wanted(run, pytester):
    passes = "def test_it(vh_blk): vh_blk.read(0, 512)"
    run(passes, "--vh-artifacts", "none").assert_outcomes(passed=1)
    run(passes, "--vh-artifacts", "all", "--vh-trace", "always").assert_outcomes(passed=1)
    assert not (pytester.path / "none").exists() and len(os.listdir(pytester.path / "all")) == 1
    got = run(FAILS, "--vh-trace", "off")
    assert "vh: trace" not in got.stdout.str() and "vh: rings" in got.stdout.str()


def test_each_target_is_a_run_of_each_test(run):
    got = run("def test_it(vh_blk, vh_target): assert vh_blk.read(0, 512) == bytes(512) and vh_target.backend.pid",
              "-v", "--vh-target", RAM, "--vh-target", f"blk=exec:{VHCTL} serve blk --ram 2M")
    got.assert_outcomes(passed=2)
    got.stdout.fnmatch_lines(["*test_it[[]exec:*--ram 4M*PASSED*", "*test_it[[]blk=exec:*--ram 2M*PASSED*"])


def test_another_s_back_end_is_a_target(run, pytester):
    """A test file as a user has it, against QEMU's storage daemon and libvh's own."""
    (pytester.path / "disk").write_bytes(bytes(4 << 20))
    qemu = ("blk=exec:/usr/bin/qemu-storage-daemon --blockdev driver=file,node-name=d,filename=disk "
            "--export type=vhost-user-blk,id=e,node-name=d,writable=on,addr.type=unix,addr.path={socket}")
    got = run("""
        import pytest

        @pytest.mark.vh(device="blk", features=["BLK_FLUSH"], protocol="CONFIG")
        def test_it(vh_blk, vh_target):
            assert vh_blk.capacity == 4 << 20
            vh_blk.write(4096, b"x" * 4096)
            vh_blk.flush()
            assert vh_blk.read(4096, 4096) == b"x" * 4096 and not [v for v in vh_target.tracer.violations if v.severity == "error"]
    """, "--vh-target", qemu, "--vh-target", "blk=" + RAM, "--vh-allow-write")
    got.assert_outcomes(passed=2)


def test_nothing_of_a_target_is_overwritten_unless_it_may(run):
    writes = """
        import vh

        def test_write(vh_blk):
            vh_blk.write(0, b"x" * 512)

        def test_submit(vh_blk):
            buffer = vh_blk.alloc(512)
            vh_blk.submit([vh.BlkIo(vh.BlkOp.READ, 0, buffer, 1)])
            while not vh_blk.reap():
                vh_blk.wait(1)
            vh_blk.submit([vh.BlkIo(vh.BlkOp.WRITE, 0, buffer, 1)])
            while not vh_blk.reap():
                vh_blk.wait(1)
    """
    got = run(writes, "--vh-target", RAM)
    got.assert_outcomes(skipped=2)
    got.stdout.fnmatch_lines(["SKIPPED [[]2]*would overwrite what exec:*--vh-allow-write lets it"])
    run(writes, "--vh-target", RAM, "--vh-allow-write").assert_outcomes(passed=2)


def test_a_running_one_is_a_target_for_many_tests(run, tmp_path):
    from binding import served
    with vh.Device.null(1 << 20) as device, served(device, tmp_path / "s"):
        run("def test_a(vh_blk): assert vh_blk.capacity == 1 << 20\ndef test_b(vh_frontend): assert vh_frontend.negotiate()",
            "--vh-target", f"unix:{tmp_path}/s").assert_outcomes(passed=2)


MARKED = """
    import pytest

    @pytest.mark.vh(features=["RING_PACKED", "BLK_FLUSH"], protocol="CONFIG", device="blk")
    def test_has(vh_blk): pass

    @pytest.mark.vh(features="BLK_ZONED")
    def test_feature(vh_blk): pass

    @pytest.mark.vh(protocol=["CONFIG", "CRYPTO_SESSION"])
    def test_protocol(vh_frontend): pass

    @pytest.mark.vh(device="net")
    def test_device(vh_frontend): pass
"""


def test_a_marker_skips_and_says_what_is_missing(run):
    got = run(MARKED)
    got.assert_outcomes(passed=2, skipped=2)  # without a target there is a net device
    got.stdout.fnmatch_lines_random(["*needs BLK_ZONED; libvh does not offer it*", "*needs CRYPTO_SESSION; libvh does not offer it*"])
    got = run(MARKED, "--vh-target", "blk=" + RAM)
    got.assert_outcomes(passed=1, skipped=3)
    got.stdout.fnmatch_lines_random(["*needs BLK_ZONED; exec:*", "*needs a net device; exec:* is blk*"])
    got = run(MARKED, "--vh-target", RAM)
    got.stdout.fnmatch_lines_random(["*needs a net device, and what exec:* is was not told; --vh-target net=exec:*"])


@pytest.mark.parametrize("words, said", [
    ("color=1", "the marker vh takes features="), ("features='NO_SUCH'", "names 'NO_SUCH', which is no feature")])
def test_a_marker_that_means_nothing_is_an_error(run, words, said):
    got = run(f"import pytest\n@pytest.mark.vh({words})\ndef test_it(vh_blk): pass")
    got.assert_outcomes(errors=1)
    got.stdout.fnmatch_lines([f"*{said}*"])


def test_root_and_vdpa_are_skipped_with_a_reason(run):
    got = run("""
        import os
        import pytest

        @pytest.fixture(autouse=True)
        def _nobody(monkeypatch):
            monkeypatch.setattr(os, "geteuid", lambda: 1000)

        @pytest.mark.vh(root=True)
        def test_root(vh_blk): pass

        def test_vdpa(vh_vdpa): pass
    """)
    got.assert_outcomes(skipped=2)
    got.stdout.fnmatch_lines_random(["*needs root*", "*needs a vDPA device: --vh-target vdpa:NAME*"])


def test_a_vdpa_target_that_is_not_there(run):
    got = run("def test_vdpa(vh_vdpa): pass\ndef test_front(vh_frontend): pass", "--vh-target", "vdpa:nonesuch")
    got.assert_outcomes(skipped=2)
    got.stdout.fnmatch_lines(["*vdpa:nonesuch: *"])


@pytest.mark.parametrize("target", ("nonsense", "tcp:1", "exec:"))
def test_a_target_that_is_none(run, target):
    got = run("def test_it(vh_blk): pass", "--vh-target", target)
    assert got.ret != 0 and re.search(r"use PATH or @NAME of a socket, exec:COMMAND", got.stdout.str() + got.stderr.str())


@pytest.mark.parametrize("call", ("read(0, 512)", "submit([vh.BlkIo(vh.BlkOp.READ, 0, vh_blk.driver.alloc(512))])"))
def test_what_a_device_keeps_is_not_waited_for_after_the_test(run, call):
    got = run(f"""
        import pytest
        import vh

        class Keeps(vh.Device):
            type = vh.DeviceType.BLK
            config = (64).to_bytes(8, "little")
            kept = []

            def on_batch(self, queue, index, budget):
                self.kept.append(queue.pop(budget))

        @pytest.fixture
        def vh_device():
            with Keeps() as device:
                yield device

        def test_it(vh_blk):
            vh_blk.{call}
            raise TimeoutError("has not done")
    """, "--vh-timeout", "3", "--durations=0", "-vv")
    got.assert_outcomes(failed=1)
    text = got.stdout.str()
    assert "1 in flight" in text and "TimeoutError" in text
    took = float(re.search(r"([0-9.]+)s teardown", text)[1])
    assert took < 3, text


def test_back_ends_of_a_test_are_traced_and_ended(run):
    got = run(f"""
        import os
        import vh

        PIDS = []

        def test_two(vh_backend):
            a, b = (vh_backend("{VHCTL} serve blk --ram 1M") for _ in range(2))
            for one in (a, b):
                with vh.Blk("unix:" + one.path) as disk:
                    assert disk.capacity == 1 << 20
                assert one.tracer.messages and one.path != one.backend.path
            PIDS.extend((a.pid, b.pid))
            plain = vh_backend("{VHCTL} serve blk --ram 1M", trace=False)
            assert plain.path == plain.backend.path and plain.tracer is None

        def test_they_are_gone():
            assert len(PIDS) == 2 and not any(os.path.exists(f"/proc/{{pid}}") for pid in PIDS)
    """)
    got.assert_outcomes(passed=2)


def test_what_a_device_raises_is_an_error_of_the_test(run):
    got = run("""
        import pytest
        import vh

        class Broken(vh.Device):
            type = vh.DeviceType.BLK
            config = (8).to_bytes(8, "little")

            def on_batch(self, queue, index, budget):
                raise KeyError("my mistake")

        @pytest.fixture
        def vh_device():
            return Broken()

        def test_it(vh_blk):
            with pytest.raises(OSError):
                vh_blk.read(0, 512)
    """, "--vh-timeout", "1")
    assert got.ret == 1
    got.stdout.fnmatch_lines(["*KeyError: 'my mistake'*"])


def test_the_examples_of_the_tutorial(run, pytester):
    """docs/pytest.md: each block is a file of tests, that pass."""
    with open(os.path.join(TOP, "docs", "pytest.md"), encoding="utf-8") as f:
        blocks = re.findall(r"^```python\n(.*?)^```", f.read(), flags=re.S | re.M)
    assert len(blocks) >= 4
    path = os.pathsep.join((os.path.dirname(VHCTL), os.environ["PATH"]))
    pytester._monkeypatch.setenv("PATH", path)  # pylint: disable=protected-access
    for n, block in enumerate(blocks):
        (pytester.path / f"test_{n}.py").write_text(block, encoding="utf-8")
    got = pytester.runpytest_subprocess("-p", "vh.pytest_plugin", "-W", "error", "-p", "no:cacheprovider", "-v", timeout=120)
    outcomes = got.parseoutcomes()
    assert set(outcomes) == {"passed"} and outcomes["passed"] >= len(blocks), sys.version
