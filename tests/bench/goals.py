# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What a queue may cost, in instructions for each chain under callgrind (gcc 12.2 -O2): exact, whatever else the machine
does. ./run test cost holds it; ./run bench prints it beside what it measured."""
from collections import namedtuple

# mode, shape, regions and batch are as queue_cost takes them.
Cost = namedtuple("Cost", "mode shape regions batch most")

# What was promised for pop and push, in batches of 32, interrupts off by flag.
PROMISED = {"s0": 150, "s1": 300, "s2": 650, "s3": 340, "ps0": 170, "ps1": 330, "ps2": 690, "ps3": 360}
# A device written by hand that checks the same, and keeps no record of what is in flight.
FLOORS = {"s0": 80, "s1": 182, "s2": 437, "s3": 216, "ps0": 110, "ps1": 210, "ps2": 460, "ps3": 227}
# The same of a driver, submit and reap, and what may be had for the record.
DRIVER_FLOORS = {"s0": 122, "s1": 196, "s2": 375, "ps0": 131, "ps1": 223, "ps2": 453}
BY_DRIVER = 1.5
# s1 at 509 regions, against the same at 1.
BY_REGIONS = 1.25

# What was reached, and a little, but never above what was promised: who spends more has to mean it.
COSTS = (
    Cost("device", "s0", 1, 32, 135),
    Cost("device", "s1", 1, 32, 220),
    Cost("device", "s2", 1, 32, 392),
    Cost("device", "s3", 1, 32, 273),
    Cost("device", "ps0", 1, 32, 127),
    Cost("device", "ps1", 1, 32, 271),
    Cost("device", "ps2", 1, 32, 461),
    Cost("device", "ps3", 1, 32, 295),
    Cost("device", "s1", 509, 32, 276),
    Cost("device", "ps1", 509, 32, 325),
    Cost("device", "s1", 1, 1, 475),
    Cost("device", "s1", 1, 4, 282),
    Cost("device", "ps1", 1, 1, 572),
    Cost("device", "ps0", 1, 1, 465),
    Cost("device", "s0", 1, 256, 140),
    Cost("device", "ps0", 1, 256, 116),
    Cost("event", "s1", 1, 32, 225),
    Cost("event", "ps1", 1, 32, 276),
    Cost("copy", "s0", 1, 32, 158),
    Cost("copy", "s4", 1, 32, 176),
    Cost("copy", "ps0", 1, 32, 148),
    Cost("copy", "ps4", 1, 32, 148),
    Cost("source", "s5", 1, 32, 232),
    Cost("source", "ps5", 1, 32, 205),
    Cost("sink", "s0", 1, 32, 148),
    Cost("sink", "ps0", 1, 32, 139),
    Cost("pop", "s0", 1, 1, 83),
    Cost("pop", "ps0", 1, 1, 76),
    Cost("reap", "s0", 1, 1, 66),
    Cost("reap", "ps0", 1, 1, 78),
    Cost("driver", "s0", 1, 32, 173),
    Cost("driver", "s1", 1, 32, 253),
    Cost("driver", "s2", 1, 32, 409),
    Cost("driver", "s3", 1, 32, 284),
    Cost("driver", "ps0", 1, 32, 178),
    Cost("driver", "ps1", 1, 32, 295),
    Cost("driver", "ps2", 1, 32, 456),
    Cost("driver", "ps3", 1, 32, 276),
)

# Full fences in one batch, locked instructions included.
FENCES = {"device": 1, "copy": 1, "event": 2, "driver": 1, "source": 1, "sink": 1, "pop": 0, "reap": 0}
