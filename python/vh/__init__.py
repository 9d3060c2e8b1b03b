# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""libvh for Python: vhost-user back-ends (Slave, Device), front-ends (connect, Master), drivers (Driver, Blk, Net), rings
(Queue) and guest memory (Memory, Snapshot). vh.testing, the conformance kit for peers, works without the C library.
"""
import importlib
import pkgutil
import types
from typing import TYPE_CHECKING, Any

# In a build tree the compiled part lies in a folder of its own.
__path__ = pkgutil.extend_path(__path__, __name__)

if TYPE_CHECKING:
    from vh._backend import Backend as Backend, Drivable as Drivable
    from vh._blk import Blk as Blk, BlkDone as BlkDone, BlkIo as BlkIo
    from vh._byhand import BackendRequest as BackendRequest, FrontendRequest as FrontendRequest, Reply as Reply
    from vh._channel import AnswerLater as AnswerLater, BackendHandler as BackendHandler, ShmemMap as ShmemMap
    from vh._device import CryptoSession as CryptoSession, Device as Device, Later as Later
    from vh._dirty import Dirty as Dirty
    from vh._driver import Driver as Driver, Ring as Ring
    from vh._error import VhError as VhError, error_name as error_name
    from vh._event import Message as Message, event_name as event_name, \
        feature_name as feature_name, message_name as message_name
    from vh._inflight import Inflight as Inflight
    from vh._iotlb import Iotlb as Iotlb
    from vh._gpu import GpuDevice as GpuDevice, GpuDisplay as GpuDisplay, GpuMessage as GpuMessage
    from vh._kern import Kern as Kern
    from vh._lib import version as version
    from vh._master import Master as Master, connect as connect
    from vh._memory import Memory as Memory, Snapshot as Snapshot, guard_install as guard_install, \
        guard_remove as guard_remove
    from vh._metrics import Metrics as Metrics, MetricsInfo as MetricsInfo, MetricsProperty as MetricsProperty, \
        MetricsReader as MetricsReader, feature_names as feature_names, metrics_properties as metrics_properties
    from vh._model import *
    from vh._model import __version__ as __version__
    from vh._net import Frame as Frame, Net as Net, NetInfo as NetInfo
    from vh._netdev import NetDev as NetDev
    from vh._postcopy import Postcopy as Postcopy
    from vh._queue import ALL as ALL, Batch as Batch, Completion as Completion, Queue as Queue, Request as Request
    from vh._reconnect import Reconnect as Reconnect
    from vh._slave import Slave as Slave, SlaveState as SlaveState, serve as serve
    from vh._target import open_target as open_target
    from vh._vdpa import Vdpa as Vdpa
    from vh._vdpa_mgmt import VdpaConfig as VdpaConfig, VdpaDev as VdpaDev, VdpaMgmt as VdpaMgmt, \
        VdpaMgmtDev as VdpaMgmtDev, VdpaPlace as VdpaPlace
    from vh._vduse import Vduse as Vduse

_FROM = {
    "_backend": "Backend Drivable",
    "_blk": "Blk BlkDone BlkIo",
    "_byhand": "BackendRequest FrontendRequest Reply",
    "_channel": "AnswerLater BackendHandler ShmemMap",
    "_device": "CryptoSession Device Later",
    "_dirty": "Dirty",
    "_driver": "Driver Ring",
    "_error": "VhError error_name",
    "_event": "Message event_name feature_name message_name",
    "_inflight": "Inflight",
    "_iotlb": "Iotlb",
    "_gpu": "GpuDevice GpuDisplay GpuMessage",
    "_kern": "Kern",
    "_lib": "version",
    "_master": "Master connect",
    "_memory": "Memory Snapshot guard_install guard_remove",
    "_metrics": "Metrics MetricsInfo MetricsProperty MetricsReader feature_names metrics_properties",
    "_net": "Frame Net NetInfo",
    "_netdev": "NetDev",
    "_postcopy": "Postcopy",
    "_queue": "ALL Batch Completion Queue Request",
    "_reconnect": "Reconnect",
    "_slave": "Slave SlaveState serve",
    "_target": "open_target",
    "_vdpa": "Vdpa",
    "_vdpa_mgmt": "VdpaConfig VdpaDev VdpaMgmt VdpaMgmtDev VdpaPlace",
    "_vduse": "Vduse",
}
_WHERE = {name: module for module, names in _FROM.items() for name in names.split()}


def _public() -> "list[str]":
    model = vars(importlib.import_module("vh._model"))
    return sorted([*_WHERE, *(n for n, value in model.items() if n[0] != "_" and not isinstance(value, types.ModuleType))])


def __getattr__(name: str) -> Any:
    """The C library is loaded when something of it is asked for; constants and enumerations need none."""
    if name == "__all__":
        return _public()
    if name != "__version__" and name not in _WHERE and (name.startswith("_") or name not in _public()):
        raise AttributeError(f"module 'vh' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"vh.{_WHERE.get(name, '_model')}"), name)
    return value


def __dir__() -> "list[str]":
    return sorted({*_public(), "__all__", "__version__", *(n for n in globals() if n.startswith("__"))})
