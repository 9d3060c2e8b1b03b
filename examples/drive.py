# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
import sys
import vh

with vh.Blk(sys.argv[1]) as disk:
    disk.write(0, b"hello".ljust(512))
    assert disk.read(0, 512).startswith(b"hello")
    print(f"{disk.capacity} bytes; the first are {disk.read(0, 512)[:5]!r}")
