# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Send frames to a network back-end that sends each of them back, and compare: net_drive.py SOCKET split|packed FRAMES

VH_TRACE is as vhctl has it.
"""
import os
import random
import sys

import vh

HEADER = vh.NET_HDR_SIZE
ROOM, BUFFERS, WAIT = 2048, 128, 10


class Session:
    def __init__(self, master, packed):
        mask = 0 if packed else 1 << vh.F_RING_PACKED
        self.driver = vh.Driver(master, type=vh.DeviceType.NET, mask_features=mask)
        assert bool(self.driver.features & (1 << vh.F_RING_PACKED)) == packed, "the back-end chose another layout"
        memory = self.driver.alloc(2 * BUFFERS * ROOM)
        self.rooms = [memory[i * ROOM:(i + 1) * ROOM] for i in range(BUFFERS)]
        self.outs = [memory[i * ROOM:(i + 1) * ROOM] for i in range(BUFFERS, 2 * BUFFERS)]
        self.driver.start()
        self.rx, self.tx = self.driver.queue(0), self.driver.queue(1)
        assert self.rx.submit(([], [room], i) for i, room in enumerate(self.rooms)) == BUFFERS

    def send(self, slot, frame):
        data = bytes(HEADER) + frame
        self.outs[slot][:len(data)] = data
        assert self.tx.submit([([self.outs[slot][:len(data)]], [], slot)]) == 1

    def receive(self):
        """The next frames; their buffers are offered again."""
        while not (done := self.rx.reap(BUFFERS)):
            assert self.rx.wait(WAIT), "frames were lost"
        frames = [bytes(self.rooms[c.user][HEADER:c.written]) for c in done]
        assert self.rx.submit(([], [self.rooms[c.user]], c.user) for c in done) == len(done)
        return frames


def exercise(session, frames, rng):
    """Some frames under way at a time, of all lengths; they come back in order."""
    sent, waiting, free = 0, [], list(range(BUFFERS))
    got = 0
    while got < frames:
        while sent < frames and len(waiting) < 24:
            frame = b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x88\xb5" + rng.randbytes(rng.randrange(46, 1501))
            while not free:
                free += [c.user for c in session.tx.reap(BUFFERS)]
            session.send(free.pop(), frame)
            waiting.append(frame)
            sent += 1
        for frame in session.receive():
            assert frame == waiting.pop(0), f"frame {got} came back changed"
            got += 1
        free += [c.user for c in session.tx.reap(BUFFERS)]


def main():
    path, layout, frames = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with open(os.environ.get("VH_TRACE", os.devnull), "a", encoding="utf-8") as trace, vh.Master() as master:
        master.set_trace(lambda message: print(message.json(), file=trace, flush=True))
        master.connect(path)
        session = Session(master, layout == "packed")
        exercise(session, frames, random.Random(frames))
        session.driver.stop()
        session.driver.start()
        exercise(session, frames, random.Random(layout))
        session.driver.stop()
        in_order = ", in order" if session.driver.features & vh.Features.IN_ORDER else ""
        print(f"{2 * frames} frames came back, rings {layout}{in_order}")
        session.driver.close()


if __name__ == "__main__":
    main()
