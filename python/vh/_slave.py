# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The back-end: a device behind a unix socket."""
import contextlib
import dataclasses
import os
import weakref
from typing import Any, Callable, Sequence

from vh import _aio, _error, _event
from vh._byhand import FrontendRequest, answered, callable_or_none
from vh._channel import Asking
from vh._device import Device
from vh._event import target
from vh._handle import create, expect, pointer
from vh._lib import fd_of, ffi, microseconds, milliseconds, new_ops, new_sized, path_bytes, record
from vh._memory import Snapshot, take_snapshot
from vh._metrics import Metrics
from vh._model import SlaveStats
from vh._reconnect import Reconnect, policy_of
from vh._serving import Serving


@dataclasses.dataclass(frozen=True)
class SlaveState:
    """What Slave.export_state() gives. The file descriptors are yours: send them, or pass them on by inheritance, and close()."""

    data: bytes
    fds: "tuple[int, ...]"

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


class Slave(Serving, Asking):
    """A device and one connection at a time. It serves while dispatch(), wait() or serve() is called."""

    _free = "vh_slave_free"
    _side = "vh_slave"

    def __init__(self, device: Device, *, message_timeout: "float | None" = None, drain_timeout: "float | None" = None,
                 more_features: int = 0,
                 budget: int = 0, mask_features: int = 0, mask_protocol_features: int = 0, require_seal: bool = False,
                 socket_mode: int = 0, postcopy: bool = False, poll: float = 0, max_state_bytes: int = 0,
                 more_protocol_features: int = 0, dialect: int = 0, coalesce: int = 0,
                 on_request: "Callable[[FrontendRequest], int | FrontendRequest | None] | None" = None):
        """Times in seconds; poll: how long a queue is looked at after its last request, before its driver is asked to kick
        again (math.inf: always, which takes a processor); budget: requests per queue and wake-up; dialect: DIALECT_SPEC or what the front-end speaks;
        coalesce: completions for a call, see Queue.set_coalescing().

        on_request gets the requests of the front-end that neither the library nor the device answers, those of
        more_protocol_features among them: it returns None for yes, a negative errno value to refuse, the request itself
        to answer() it another time.
        """
        opts = new_sized("vh_slave_opts", more_features=more_features, message_timeout_ms=milliseconds(message_timeout),
                         drain_timeout_ms=milliseconds(drain_timeout), budget=budget, mask_features=mask_features,
                         mask_protocol_features=mask_protocol_features, require_seal=int(require_seal),
                         socket_mode=socket_mode, postcopy=int(postcopy), poll_us=microseconds(poll),
                         max_state_bytes=max_state_bytes, more_protocol_features=more_protocol_features, dialect=dialect,
                         coalesce=coalesce)
        self._on_request = callable_or_none("on_request", on_request)
        ops, ctx = ffi.NULL, ffi.NULL
        ptr = expect(device, Device)._enter()
        try:
            if on_request is not None:
                ops = new_ops("vh_slave_ops", {"destroy": "vhpy_slave_destroy", "request": "vhpy_slave_request"})
                ctx = _event.context(weakref.ref(self))
            self._adopt(create("vh_slave_new", "vh_slave", opts, ptr, ops, ctx), device)
        finally:
            device._leave()
        self._serves(device)

    def listen(self, path: "str | bytes | os.PathLike[str]") -> None:
        """Listen on a unix socket: a path, "unix:/path", "@abstract", "fd:3", or "systemd:name" of socket activation."""
        self._call("vh_slave_listen", path_bytes(path))

    def connect(self, path: "str | bytes | os.PathLike[str]", policy: "Reconnect | None" = None) -> None:
        """Connect to a front-end that listens. With a policy: while it serves, and again after each end; events tell."""
        self._call("vh_slave_connect", path_bytes(path), policy_of(policy))

    def adopt(self, fd: Any) -> None:
        """Use a unix stream socket that is open already, listening or connected; it stays yours."""
        self._call("vh_slave_adopt", fd_of(fd))

    def wake(self) -> None:
        """Make wait() return, as if something had come; from any thread."""
        self._call("vh_slave_wake")

    def snapshot(self) -> Snapshot:
        """The guest memory that the front-end shares now."""
        return take_snapshot(self, "vh_slave_dup_snapshot")

    def pause(self, timeout: "float | None" = None) -> bool:
        """Take nothing new, and serve until nothing is owed or in flight. False: the time passed; it is still asked for."""
        end = _aio.deadline(timeout)
        while not self._is_quiet():
            left = _aio.left(end)
            if not self.wait(left) and left == 0.0:
                return False
        return True

    def _is_quiet(self) -> bool:
        try:
            self._call("vh_slave_pause")
        except BlockingIOError:
            return False
        return True

    def resume(self) -> None:
        """Go on after pause(), also after export_state() when the successor did not come up."""
        self._call("vh_slave_resume")

    def export_state(self) -> SlaveState:
        """What a successor needs to go on where this one stands; it has to be paused. Close this one when that serves."""
        n_fds = ffi.new("uint32_t *")
        size = self._call("vh_slave_export", ffi.NULL, 0, ffi.NULL, 0, n_fds)
        buf, fds = ffi.new("char[]", size), ffi.new("vh_fd[]", n_fds[0])
        self._call("vh_slave_export", buf, size, fds, n_fds[0], n_fds)
        return SlaveState(bytes(ffi.buffer(buf, size)), tuple(fds))

    def import_state(self, data: bytes, fds: "Sequence[Any]") -> None:
        """Go on where another slave stood: bytes and files of its SlaveState, which stay yours. This one is new."""
        numbers = [fd_of(fd) for fd in fds]
        self._call("vh_slave_import", ffi.from_buffer(data), len(data), ffi.new("vh_fd[]", numbers), len(numbers))

    def set_metrics(self, metrics: "Metrics | None", name: "str | None" = None) -> None:
        """Show this back-end and its queues on a page that other processes can look at, by this name; None: no more."""
        with pointer(metrics, Metrics) as ptr:
            self._call("vh_slave_set_metrics", ptr, ffi.NULL if name is None else os.fsencode(name))

    @property
    def stats(self) -> SlaveStats:
        out = new_sized("vh_slave_stats")
        self._call("vh_slave_get_stats", out)
        return record(SlaveStats, out)  # type: ignore[no-any-return]



def serve(device: Device, path: "str | bytes | os.PathLike[str]", *, metrics: "Metrics | str | None" = None,
          **options: Any) -> None:
    """Serve a device on a unix socket until Ctrl-C. metrics: show what it does, on a page or on one of its own of that name."""
    own = Metrics(metrics) if isinstance(metrics, str) else None
    with own or contextlib.nullcontext(), Slave(device, **options) as slave:
        if own or isinstance(metrics, Metrics):
            slave.set_metrics(own or metrics)  # type: ignore[arg-type]
        slave.listen(path)
        slave.serve()


def _request(ctx: Any, req: Any) -> int:
    return answered(target(ctx)(), req, FrontendRequest)


_error.bind("vhpy_slave_request", _request)
