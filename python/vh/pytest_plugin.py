# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Fixtures for tests of vhost devices and of what drives them; docs/pytest.md shows how they are used.

It is found by itself where the package is installed, and is `-p vh.pytest_plugin` elsewhere. Nothing of it needs root or a virtual
machine. When a test fails, its report has what front-end and back-end said to each other, where the rings stand, what the
back-end printed, and its fds.
"""
import contextlib
import os
import re
import shutil
import socket
import tempfile
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Generator, Iterator, Sequence

import pytest

from vh._pytest_report import Evidence, in_flight, process_text, rings_text, trace_text
from vh._types import TYPES

if TYPE_CHECKING:
    import vh
    from vh import launch
    from vh.trace import Tracer

ON_FAILURE, ALWAYS, OFF = "on-failure", "always", "off"
MIB = 1 << 20
BUILT_IN = "libvh"
_FROM_FIXTURES = {"vh_net": "net"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vh", "vhost devices (libvh)")
    group.addoption("--vh-target", action="append", default=[], metavar="[TYPE=]TARGET",
                    help="what vh_target, vh_frontend, vh_blk, vh_net and vh_vdpa test: PATH or @NAME of a socket, exec:COMMAND with {socket} in it, vdpa:NAME or "
                    "/dev/vhost-vdpa-N; blk= or net= before it says what device it is. Again: each test runs with each. "
                    "Without it: a device of libvh's in the same process")
    group.addoption("--vh-allow-write", action="store_true", help="what a --vh-target holds may be overwritten; a test that writes is skipped otherwise")
    group.addoption("--vh-timeout", type=float, default=10.0, metavar="SECONDS", help="for every answer, and for a back-end to listen (10)")
    group.addoption("--vh-trace", choices=(ON_FAILURE, ALWAYS, OFF), default=ON_FAILURE,
                    help="what was said: with the report of a test that failed (the default), saved of each (wants --vh-artifacts), or nothing is traced")
    group.addoption("--vh-artifacts", metavar="DIR", help="a folder that gets a folder for each test that failed: its traces, logs and rings")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "vh(features=, protocol=, device=, root=): what the target must have (names of feature bits; blk, net), or the "
                            "test is skipped, and told what is missing")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    targets = metafunc.config.getoption("--vh-target")
    if "_vh_spec" in metafunc.fixturenames and targets:
        metafunc.parametrize("_vh_spec", [Spec.of(t) for t in targets], ids=targets, indirect=True)
    if "_vh_trick" in metafunc.fixturenames:
        metafunc.parametrize("_vh_trick", _hostile_names(), indirect=True)


@dataclass(frozen=True)
class Spec:
    """What --vh-target said."""

    where: str  # "unix:/path", "exec:command", "vdpa:name", "/dev/vhost-vdpa-0"; "libvh" is the built-in one
    type: str  # "blk", "net"; "" = was not told

    @classmethod
    def of(cls, text: str) -> "Spec":
        type_, found, where = text.partition("=")
        if not found or type_ not in TYPES:
            type_, where = "", text
        from vh.launch import sockets
        if sockets.is_one(where):
            name = sockets.named(where)
            where = name if name.startswith("@") else "unix:" + name
        elif not re.match(r"exec:.|vdpa:.|/dev/vhost-vdpa-\d", where):
            raise pytest.UsageError(f"--vh-target {text}: use PATH or @NAME of a socket, exec:COMMAND, vdpa:NAME or /dev/vhost-vdpa-N, with blk= or net= before it")
        return cls(where, type_)

    @property
    def vdpa(self) -> bool:
        return self.where.startswith(("vdpa:", "/dev/"))

    @property
    def built_in(self) -> bool:
        return self.where == BUILT_IN


_EVIDENCE = pytest.StashKey["Evidence"]()
_TOLD = pytest.StashKey[bool]()


@pytest.hookimpl(hookwrapper=True)  # type: ignore[misc]
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> "Generator[None, Any, None]":
    report: pytest.TestReport = (yield).get_result()
    evidence = item.stash.get(_EVIDENCE, None)
    if evidence is None:
        return
    # Of a test that failed, or its fixtures, while there is something to look at still.
    if report.failed and not item.stash.get(_TOLD, False):
        item.stash[_TOLD] = True
        evidence.report(report)
    elif call.when == "call" and item.config.getoption("--vh-trace") == ALWAYS:
        evidence.save()


# What fixtures share


@pytest.fixture
def vh_timeout(request: pytest.FixtureRequest) -> float:
    """Seconds for anything that waits."""
    return float(request.config.getoption("--vh-timeout"))


@pytest.fixture
def vh_evidence(request: pytest.FixtureRequest) -> Evidence:
    """text(title, function) and file(name, function) add to the report of this test if it fails."""
    item = request.node
    return item.stash.setdefault(_EVIDENCE, Evidence(request.config, item.nodeid))  # type: ignore[no-any-return]


@pytest.fixture
def _vh_folder() -> "Iterator[str]":
    """For sockets: short, and nobody else's."""
    folder = tempfile.mkdtemp(prefix="vh-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class _Maker:
    """What the fixtures of one test make, and end in the opposite order."""

    def __init__(self, request: pytest.FixtureRequest, evidence: Evidence, folder: str, timeout: float) -> None:
        self.request, self.evidence, self.folder, self.timeout = request, evidence, folder, timeout
        self.stack = contextlib.ExitStack()
        self.device = 0  # type of what is traced, for the names of its features
        self.tracing = request.config.getoption("--vh-trace") != OFF
        self._n = 0

    def path(self, name: str) -> str:
        self._n += 1
        return os.path.join(self.folder, f"{self._n}{name}")

    def traced(self, address: str) -> "tuple[str, Tracer | None]":
        """An address whose connections go to @address, and are traced."""
        if not self.tracing:
            return address, None
        from vh.trace import Tracer
        path = self.path("traced")
        tracer = self.stack.enter_context(Tracer(listen=path, connect=address, timeout=self.timeout))
        return "unix:" + path, self._shown(tracer)

    def traced_pair(self) -> "tuple[socket.socket, socket.socket]":
        """Both ends of a connection."""
        if not self.tracing:
            front, back = socket.socketpair(socket.AF_UNIX)
            return self.stack.enter_context(front), self.stack.enter_context(back)
        from vh.trace import Tracer
        front, middle = socket.socketpair(socket.AF_UNIX)
        other, back = socket.socketpair(socket.AF_UNIX)
        self._shown(self.stack.enter_context(Tracer(pair=(middle, other))))
        return self.stack.enter_context(front), self.stack.enter_context(back)

    def _shown(self, tracer: "Tracer") -> "Tracer":
        from vh.trace import rings
        self.evidence.text("trace", lambda: trace_text(tracer, self.device))
        self.evidence.text("rings in shared memory", lambda: rings.text(tracer.ring_states()), "shared-rings.txt")
        self.evidence.file("trace.pcapng", lambda path: tracer.save(pcapng=path))
        self.evidence.file("trace.jsonl", lambda path: tracer.save(jsonl=path))
        return tracer

    def served(self, device: "vh.Device") -> "tuple[vh.Slave, threading.Thread]":
        """A back-end, and a thread that will serve it; what its device raises is the test's error."""
        import vh
        slave = vh.Slave(device)
        raised: "list[BaseException]" = []

        def work() -> None:
            try:
                slave.serve()
            except BaseException as e:  # pylint: disable=broad-except
                raised.append(e)
        thread = threading.Thread(target=work, name="vh back-end", daemon=True)

        def end() -> None:
            slave.close()
            if thread.ident:
                thread.join(self.timeout)
            if raised:
                raise raised[0]
        self.stack.callback(end)
        self.evidence.text("back-end", lambda: "\n".join(filter(None, (repr(slave), f"it raised {raised[0]!r}" if raised else ""))))
        return slave, thread

    def backend(self, command: "Any", *args: str, **options: "Any") -> "launch.Backend":
        from vh import launch
        options = {"timeout": self.timeout, "grace": self.timeout, **options}
        backend = self.stack.enter_context(launch.start(command, *args, **options))
        name = os.path.basename(backend.command[0])
        self.evidence.text(f"output of {name}", backend.output, f"{name}.log")
        self.evidence.text(f"process {name}", lambda: process_text(backend), f"{name}.proc")
        return backend

    def driven(self, handle: "Any") -> "Any":
        """A handle that is closed, and whose rings are shown."""
        def end() -> None:
            if not handle.driver.closed and in_flight(handle):
                handle.driver._stuck = True  # the test is over: nobody waits for what the device keeps
            handle.close()
        self.stack.callback(end)
        self.evidence.text("rings", lambda: rings_text(handle), "rings.txt")
        return handle


@pytest.fixture
def _vh_maker(request: pytest.FixtureRequest, vh_evidence: Evidence, _vh_folder: str, vh_timeout: float) -> "Iterator[_Maker]":
    maker = _Maker(request, vh_evidence, _vh_folder, vh_timeout)
    try:
        yield maker
    finally:
        maker.stack.close()


# Targets


class Target:
    """What is tested."""

    def __init__(self, spec: Spec, type_: str, address: str, backend: "launch.Backend | None", tracer: "Tracer | None") -> None:
        self.spec, self.type, self.address, self.backend, self.tracer = spec, type_, address, backend, tracer

    def __repr__(self) -> str:
        return f"<Target {self.spec.where}{' of type ' + self.type if self.type else ''} at {self.address}>"

    def is_a(self, type_: str) -> None:
        """Skip if it is known to be something else."""
        if self.type not in ("", type_):
            pytest.skip(f"{self.spec.where} is no {type_} device, but {self.type}")


@pytest.fixture
def _vh_spec(request: pytest.FixtureRequest) -> Spec:
    return getattr(request, "param", Spec(BUILT_IN, ""))


def _wanted(request: pytest.FixtureRequest) -> str:
    """What device a test is about, as far as it says."""
    for mark in request.node.iter_markers("vh"):
        if mark.kwargs.get("device"):
            return str(mark.kwargs["device"])
    return next((t for name, t in _FROM_FIXTURES.items() if name in request.fixturenames), "blk")


@pytest.fixture
def vh_device(request: pytest.FixtureRequest) -> "Iterator[vh.Device]":
    """The device of vh_pair, and of all others without --vh-target: 16 MiB of RAM, or a network device that sends back.
    Define a fixture with that name for one of your own."""
    import vh
    device = vh.NetDev.loopback() if _wanted(request) == "net" else vh.Device.ram(16 * MIB)
    with device:
        yield device


@pytest.fixture
def vh_target(request: pytest.FixtureRequest, _vh_spec: Spec, _vh_maker: _Maker) -> Target:
    """What is tested, as a Target: address is for vh.open_target(), backend the process of exec:, tracer has the messages."""
    spec, type_ = _vh_spec, _vh_spec.type
    backend = None
    if not spec.built_in:
        _check(request, spec)
    if spec.built_in:
        type_ = _wanted(request)
        slave, thread = _vh_maker.served(request.getfixturevalue("vh_device"))
        address = "unix:" + _vh_maker.path("device")
        slave.listen(address)
        thread.start()
        _check(request, spec, address)
    elif spec.where.startswith("exec:"):
        backend = _vh_maker.backend(spec.where[5:], socket=_vh_maker.path("backend"))
        address = f"unix:{backend.path}"
    else:
        address = spec.where
    if spec.vdpa:
        type_ = type_ or _offered(request.config, spec).type
        tracer = None
    else:
        address, tracer = _vh_maker.traced(address)
    request.node.user_properties.append(("vh_target", spec.where))
    _vh_maker.device = TYPES.get(type_ or _wanted(request), 0)
    return Target(spec, type_, address, backend, tracer)


@dataclass(frozen=True)
class Offered:
    """What a target has, asked once."""

    features: int
    protocol: int
    type: str


_OFFERED = pytest.StashKey["dict[Spec, Any]"]()


def _offered(config: pytest.Config, spec: Spec) -> Offered:
    known: "dict[Spec, Offered]" = config.stash.setdefault(_OFFERED, {})
    if spec in known:
        return known[spec]
    timeout = float(config.getoption("--vh-timeout"))
    with contextlib.ExitStack() as stack:
        if spec.vdpa:
            found = _asked_vdpa(spec)
        elif spec.where.startswith("exec:"):  # one of its own: it may serve one connection only
            from vh import launch
            found = _asked(stack.enter_context(launch.start(spec.where[5:], timeout=timeout)).path or "", timeout)
        else:
            found = _asked(spec.where[5:] if spec.where.startswith("unix:") else spec.where, timeout)
    known[spec] = found
    return found


def _asked(path: str, timeout: float) -> Offered:
    from vh.testing import FE, F, FrontEnd
    with FrontEnd.connect(path, timeout=timeout) as front:
        features = front.get_u64(FE.GET_FEATURES)
        return Offered(features, front.get_u64(FE.GET_PROTOCOL_FEATURES) if features >> F.PROTOCOL_FEATURES & 1 else 0, "")


def _asked_vdpa(spec: Spec) -> Offered:
    import vh
    try:
        with vh.Vdpa(spec.where.removeprefix("vdpa:")) as device:
            info = device.info
            types = [name for name, n in TYPES.items() if n == info.device_id]
            return Offered(info.features, 0, types[0] if types else str(info.device_id))
    except OSError as e:
        pytest.skip(f"{spec.where}: {e}")


def _bit(name: "str | int", space: int) -> int:
    """The number of a bit by its name, as vh.feature_name() has it: of a device of that type, or 0, the protocol features."""
    import vh
    if isinstance(name, int):
        return name.bit_length() - 1
    for bit in range(64):
        if vh.feature_name(bit, space) == name:
            return bit
    raise pytest.UsageError(f"the marker vh names {name!r}, which is no feature that libvh knows")


def _check(request: pytest.FixtureRequest, spec: Spec, built_in: str = "") -> None:
    """Skip, with the reason, what the marker wants and the target has not. @built_in: where the built-in one listens."""
    for mark in request.node.iter_markers("vh"):
        unknown = set(mark.kwargs) - {"features", "protocol", "device", "root"}
        if unknown or mark.args:
            raise pytest.UsageError(f"the marker vh takes features=, protocol=, device=, root=, and not {sorted(unknown) or mark.args}")
        device, wants = mark.kwargs.get("device"), {key: _list(mark.kwargs.get(key)) for key in ("features", "protocol")}
        if mark.kwargs.get("root") and os.geteuid():
            pytest.skip("needs root")
        type_ = spec.type or (device or _wanted(request) if spec.built_in else _offered(request.config, spec).type if spec.vdpa else "")
        if device and not type_:
            pytest.skip(f"needs a {device} device, and what {spec.where} is was not told; --vh-target {device}={spec.where} says so")
        if device and device != type_:
            pytest.skip(f"needs a {device} device; {spec.where} is {type_}")
        if wants["features"] or wants["protocol"]:
            _check_bits(request, spec, wants, type_, built_in)


def _check_bits(request: pytest.FixtureRequest, spec: Spec, wants: "dict[str, Sequence[Any]]", type_: str,
                built_in: str) -> None:
    offered = _asked(built_in.removeprefix("unix:"), request.config.getoption("--vh-timeout")) if built_in else _offered(request.config, spec)
    for key, has, space in (("features", offered.features, TYPES.get(type_, 2)), ("protocol", offered.protocol, 0)):
        for name in wants[key]:
            if not has >> _bit(name, space) & 1:
                pytest.skip(f"needs {name}; {spec.where} does not offer it")


def _list(value: "Any") -> "Sequence[Any]":
    return () if value is None else (value,) if isinstance(value, (str, int)) else tuple(value)


# Fixtures for tests


class Pair:
    """A front-end and a back-end in one process, connected: front is a vh.Master, back a vh.Slave that a thread serves."""

    def __init__(self, front: "vh.Master", back: "vh.Slave", device: "vh.Device") -> None:
        self.front, self.back, self.device = front, back, device


@pytest.fixture
def vh_pair(_vh_maker: _Maker, vh_device: "vh.Device", vh_timeout: float) -> Pair:
    """A front-end and a back-end with vh_device over a socketpair, as a Pair. Nothing is negotiated yet."""
    import vh
    back, thread = _vh_maker.served(vh_device)
    ours, theirs = _vh_maker.traced_pair()
    back.adopt(theirs.fileno())
    theirs.close()
    thread.start()
    front = vh.Master(timeout=vh_timeout)
    _vh_maker.stack.callback(front.close)
    front.adopt(ours.fileno())
    ours.close()
    return Pair(front, back, vh_device)


class Started:
    """A back-end that vh_backend has started: path is for the front-end, and is traced; the rest is that of launch.Backend."""

    def __init__(self, backend: "launch.Backend", path: "str | None", tracer: "Tracer | None") -> None:
        self.backend, self.path, self.tracer = backend, path, tracer

    def __getattr__(self, name: str) -> "Any":
        return getattr(self.backend, name)


@pytest.fixture
def vh_backend(_vh_maker: _Maker) -> "Callable[..., Started]":
    """vh_backend(command, ...) starts a back-end as vh.launch.start() does, and ends it with the test."""
    def start(command: "Any", *args: str, trace: bool = True, **options: "Any") -> Started:
        backend = _vh_maker.backend(command, *args, **options)
        if not trace or backend.path is None:
            return Started(backend, backend.path, None)
        address, tracer = _vh_maker.traced(f"unix:{backend.path}")
        return Started(backend, address.removeprefix("unix:"), tracer)
    return start


@pytest.fixture
def vh_faults(vh_target: Target, _vh_maker: _Maker) -> "Callable[[str], str]":
    """vh_faults(script) is an address of the target by way of a bad line: vh.testing.faults tells what a script is."""
    from vh.testing.faults import Faults

    def line(script: str) -> str:
        path = _vh_maker.path("faults")
        if vh_target.spec.vdpa:
            pytest.skip(f"{vh_target.spec.where} is no vhost-user back-end")
        faults = _vh_maker.stack.enter_context(Faults(script, listen=path, connect=vh_target.address.removeprefix("unix:"), timeout=_vh_maker.timeout))
        _vh_maker.evidence.text("faults", lambda: "\n".join(map(repr, faults.faults)))
        return "unix:" + path
    return line


def _hostile_names() -> "list[str]":
    from vh.testing.hostile import TRICKS
    return list(TRICKS)


@pytest.fixture
def vh_hostile(_vh_trick: str, _vh_maker: _Maker) -> "Any":
    """A vh.testing.hostile.HostileBackEnd; the test runs with each of its tricks. address is for the front-end."""
    from vh.testing.hostile import HostileBackEnd
    path = _vh_maker.path("hostile")
    back: "Any" = _vh_maker.stack.enter_context(HostileBackEnd(path, _vh_trick))
    back.address = "unix:" + path
    return back


@pytest.fixture
def _vh_trick(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def vh_mem() -> "Iterator[vh.Memory]":
    """Guest memory: 16 MiB at 1 MiB."""
    import vh
    with vh.Memory() as memory:
        memory.alloc(MIB, 16 * MIB)
        yield memory


@pytest.fixture
def vh_frontend(vh_target: Target, _vh_maker: _Maker, vh_timeout: float) -> "vh.Master":
    """A vh.Master, connected to the target. Nothing is negotiated yet."""
    import vh
    if vh_target.spec.vdpa:
        pytest.skip(f"{vh_target.spec.where} is no vhost-user back-end")
    front = vh.connect(vh_target.address, timeout=vh_timeout)
    _vh_maker.stack.callback(front.close)
    return front


@pytest.fixture
def vh_wire(vh_target: Target, _vh_maker: _Maker, vh_timeout: float) -> "Any":
    """A vh.testing.FrontEnd, connected to the target: it may send anything, however wrong."""
    from vh.testing import FrontEnd
    if vh_target.spec.vdpa:
        pytest.skip(f"{vh_target.spec.where} is no vhost-user back-end")
    return _vh_maker.stack.enter_context(FrontEnd.connect(vh_target.address.removeprefix("unix:"), timeout=vh_timeout))


@pytest.fixture
def vh_blk(request: pytest.FixtureRequest, vh_target: Target, _vh_maker: _Maker, vh_timeout: float) -> "vh.Blk":
    """A vh.Blk on the target. Of a --vh-target nothing is written without --vh-allow-write: the test is skipped there."""
    import vh
    vh_target.is_a("blk")
    disk: "vh.Blk" = _vh_maker.driven(vh.Blk(vh_target.address, timeout=vh_timeout))
    if not vh_target.spec.built_in and not request.config.getoption("--vh-allow-write"):
        _guard(disk, vh_target)
    return disk


def _guard(disk: "vh.Blk", target: Target) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.skip(f"would overwrite what {target.spec.where} holds; --vh-allow-write lets it")

    def submit(ios: "Any", queue: int = 0) -> int:
        import vh
        ios = [vh.BlkIo(*io) for io in ios]
        if any(io.op not in (vh.BlkOp.READ, vh.BlkOp.FLUSH, vh.BlkOp.GET_ID) for io in ios):
            refuse()
        return int(plain(ios, queue))
    plain = disk.submit
    for name, instead in (("write", refuse), ("discard", refuse), ("write_zeroes", refuse), ("submit", submit)):
        setattr(disk, name, instead)


@pytest.fixture
def vh_net(vh_target: Target, _vh_maker: _Maker, vh_timeout: float) -> "vh.Net":
    """A vh.Net on the target."""
    import vh
    vh_target.is_a("net")
    return _vh_maker.driven(vh.Net(vh_target.address, timeout=vh_timeout))  # type: ignore[no-any-return]


@pytest.fixture
def vh_vdpa(request: pytest.FixtureRequest, _vh_spec: Spec, _vh_maker: _Maker) -> "vh.Vdpa":
    """A vh.Vdpa on a target that is one; skipped, with the reason, elsewhere."""
    import vh
    if not _vh_spec.vdpa:
        pytest.skip("needs a vDPA device: --vh-target vdpa:NAME")
    target: Target = request.getfixturevalue("vh_target")
    return _vh_maker.stack.enter_context(vh.Vdpa(target.address.removeprefix("vdpa:")))
