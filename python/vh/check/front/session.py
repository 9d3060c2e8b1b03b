# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What a front-end says to a device that does as it should. The rules of single messages are those of vh.trace."""

from __future__ import annotations

from vh.check.core import FRONT_END, MUST, SHOULD, USER, check, require
from vh.check.front.context import Context, ended
from vh.testing.wire import FE
from vh.trace import rules
from vh.trace.message import FRONT_END as BY_FRONT_END
from vh.trace.message import Message


def requests(c: Context, *wanted: int) -> list[Message]:
    return [m for m in c.heard().messages if m.sender == BY_FRONT_END and not m.is_reply and (not wanted or m.request in wanted)]


@check("front.connects", MUST, f"{USER}: Communication", side=FRONT_END)
def connects(c: Context) -> None:
    """A front-end connects, and asks for features before it sets any."""
    names = [m.request for m in requests(c)]
    require(FE.GET_FEATURES in names, "it never asked for features")
    if FE.SET_FEATURES in names:
        require(names.index(FE.GET_FEATURES) < names.index(FE.SET_FEATURES), "it set features before it had asked for them")


@check("front.owner", MUST, f"{USER}: SET_OWNER", side=FRONT_END)
def owner(c: Context) -> None:
    """SET_OWNER is sent before memory and rings are set up."""
    names = [m.request for m in requests(c)]
    setup = [names.index(r) for r in (FE.SET_MEM_TABLE, FE.ADD_MEM_REG, FE.SET_VRING_NUM) if r in names]
    if setup:
        require(FE.SET_OWNER in names[: min(setup)], "memory or a ring is set up before SET_OWNER")


@check("front.stops", SHOULD, f"{USER}: Ring states", side=FRONT_END)
def stops(c: Context) -> None:
    """Rings that were started are stopped by GET_VRING_BASE before the connection ends."""
    started = {m.fields["index"] for m in requests(c, FE.SET_VRING_KICK)}
    stopped = {m.fields["index"] for m in requests(c, FE.GET_VRING_BASE)}
    require(started <= stopped, f"rings {sorted(started - stopped)} were started, and not stopped")


@check("front.ends", MUST, f"{USER}: Communication", "command", side=FRONT_END)
def ends(c: Context) -> None:
    """With a device that does as it should the command does its work: it ends in time, with exit code 0."""
    heard = c.heard()
    why = ended(heard) or (f"exit code {heard.code}" if heard.code else "")
    require(not why, f"{why}: {heard.output}")


def _topic(topic: str, section: str, rule: str, names: tuple[str, ...]) -> None:
    """A check that none of these rules of vh.trace is broken."""

    def run(c: Context) -> None:
        broken = [v for v in c.heard().violations if v.rule in names]
        require(not broken, f"{broken[0].rule}: {broken[0].text}" + (f" (and {len(broken) - 1} more)" if broken[1:] else "")
                if broken else "")  # fmt: skip

    run.__doc__ = rule
    severity = MUST if any(rules.BY_NAME[n].severity == "error" for n in names) else SHOULD
    check(f"front.{topic}", severity, section, side=FRONT_END)(run)


#: topic -> section, what the rules say, their names in vh.trace
TOPICS = {
    "messages": (f"{USER}: Message specification", "Each message is whole, has a number that exists, version 1, and the size and as many fds as its "
                 "request has.", ("header-version", "header-flags", "cut-short", "request-direction", "unknown-request",
                                  "payload-size", "fd-count")),
    "need-reply": (f"{USER}: Reply acknowledgement", "need_reply is set only after REPLY_ACK was negotiated.", ("need-reply",)),
    "negotiation": (f"{USER}: Feature negotiation", "Only what was offered is acknowledged, with what it depends on, and bit 30 stands before "
                    "protocol features.", ("ack-features", "ack-protocol-features", "bit-30", "protocol-feature-needs",
                                           "features-while-running")),
    "features-used": (f"{USER}: Protocol features", "Requests that belong to a feature are sent only when it was negotiated.",
                      ("protocol-feature", "feature-offered", "feature-acked")),
    "owner-once": (f"{USER}: SET_OWNER", "SET_OWNER is sent once for a connection.", ("owner-twice",)),
    "memory": (f"{USER}: Memory regions description", "Regions have one fd each, lie in their files, are not empty, don't wrap around or overlap; "
               "what is removed is there.", ("table-fds", "table-padding", "region-range", "region-overlap", "region-file",
                                             "region-unknown")),
    "ring-setup": (f"{USER}: Vring descriptions", "Rings exist, have sizes that can be, bases and addresses of their kind, aligned and in memory, and "
                   "the fds that their flags tell.", ("ring-index", "ring-size", "base-value", "address-flags", "address-alignment",
                                                      "address-memory", "ring-fd", "ring-eventfd", "enable-value")),
    "ring-order": (f"{USER}: Ring states", "A ring has size and addresses before it starts, and they don't change while it runs.",
                   ("ring-running", "ring-incomplete")),
    "config": (f"{USER}: Virtio device config space", "Requests of the configuration space have as many bytes as they say, and stay within it.",
               ("config-length", "config-range")),
    "channel": (f"{USER}: Back-end communication", "What is given as the back-end's channel is a socket.", ("channel-socket",)),
    "values": (f"{USER}: Front-end message types", "The status has eight bits, an MTU is one, and a log comes with its fd.",
               ("status-value", "mtu-value", "log-fd")),
}  # fmt: skip

for _name, (_section, _rule, _names) in TOPICS.items():
    _topic(_name, _section, _rule, _names)
