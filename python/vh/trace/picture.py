# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A session as a picture: an arrow for each message between two lines, as SVG."""

from __future__ import annotations

from html import escape
from typing import Sequence

from vh.trace.message import FRONT_END, Message
from vh.trace.output import payload_text

_WIDTH, _LEFT, _RIGHT, _STEP, _TOP = 1000, 110, 800, 21, 70
_REQUEST, _REPLY, _WRONG, _GREY = "#1f6feb", "#1a7f37", "#cf222e", "#6e7781"
_CHARS = 92  # of a label that fit between the lines


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'


def _arrow(y: int, right: bool, colour: str, dashed: bool) -> str:
    a, b = (_LEFT, _RIGHT - 7) if right else (_RIGHT, _LEFT + 7)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    tip = 7 if right else -7
    return (f'<line x1="{a}" y1="{y}" x2="{b}" y2="{y}" stroke="{colour}"{dash}/>'
            f'<path d="M{b} {y - 4} l{tip} 4 l{-tip} 4 z" fill="{colour}"/>')


def _label(m: Message, device: int) -> str:
    fds = f"  [{', '.join(map(str, m.fds))}]" if m.fds else ""
    text = f"{m.name} {payload_text(m, device)}".rstrip()
    room = _CHARS - len(fds)
    return (text if len(text) <= room else text[:room - 3] + "...") + fds


def picture(messages: Sequence[Message], title: str, device: int = 0) -> str:
    """The replies that only say whether it was done stand beside their requests."""
    statuses = {m.reply_to: m for m in messages if m.is_status and m.reply_to}
    rows: list[str] = []
    y = _TOP
    for m in messages:
        if m.is_status and m.reply_to and not m.violations:
            continue
        y += _STEP
        right = m.sender == FRONT_END
        colour = _WRONG if m.violations else _REPLY if m.is_reply else _REQUEST
        rows += [_text(_LEFT - 12, y, f"{m.time_ns / 1e6:.2f}", _GREY, "end"), _text(_LEFT + 14, y - 3, _label(m, device), colour),
                 _arrow(y + 2, right, colour, m.is_reply)]
        status = statuses.get(m.number)
        if m.is_reply and m.reply_to:
            rows.append(_text(_RIGHT + 12, y + 3, f"{m.latency_ns / 1000:.0f} us", _REPLY))
        elif status:
            bad = any(status.payload)
            rows.append(_text(_RIGHT + 12, y + 3, f"{'refused' if bad else 'ok'}, {status.latency_ns / 1000:.0f} us",
                              _WRONG if bad else _REPLY))
        for v in m.violations:
            y += _STEP - 4
            rows.append(_text(_LEFT + 14, y, f"!! {v.rule}: {v.text}", _WRONG))
    height = y + 30
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
            'font-family="ui-monospace,Menlo,Consolas,monospace" font-size="12">',
            f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#ffffff" stroke="#d0d7de"/>',
            _text(16, 24, title, "#1f2328"), _text(_LEFT - 42, 54, "ms", _GREY, "end")]
    for x, name in ((_LEFT, "front-end"), (_RIGHT, "back-end")):
        head += [_text(x, 54, name, "#1f2328", "middle"),
                 f'<line x1="{x}" y1="62" x2="{x}" y2="{height - 12}" stroke="#d0d7de" stroke-width="2"/>']
    return "\n".join([*head, *rows, "</svg>"]) + "\n"
