# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A tracer for vhost-user: it stands between a front-end and a back-end, and tells every message that passes.

`vhctl trace` is this from a shell; docs/trace.md tells how it is used::

    from vh.trace import Tracer
    with Tracer(listen="/tmp/front.sock", connect="/tmp/back.sock") as tracer:
        ...  # a front-end talks to /tmp/front.sock
    assert not tracer.violations
"""

from vh.trace.files import Recording as Recording, read as read
from vh.trace.message import BACK_END as BACK_END, BACKEND as BACKEND, FRONT_END as FRONT_END, MAIN as MAIN, Fd as Fd, \
    Message as Message, Note as Note, Violation as Violation
from vh.trace.output import Printer as Printer, message_text as message_text
from vh.trace.rings import RingState as RingState
from vh.trace.session import Session as Session
from vh.trace.tracer import Tracer as Tracer

__all__ = ["BACK_END", "BACKEND", "FRONT_END", "MAIN", "Fd", "Message", "Note", "Printer", "Recording", "RingState", "Session", "Tracer",
           "Violation", "message_text", "read"]
