# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Drive a block device from Python, with the words of `vhctl io blk`: so that one exercise serves both.

    blk_drive.py TARGET read|write|verify [--offset N] [--size N] [--seed N] [--json]
"""
import argparse
import hashlib
import json
import os
import sys

import vh

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
from pattern import pattern  # noqa: E402  pylint: disable=wrong-import-position


def main():
    args = argparse.ArgumentParser()
    args.add_argument("target")
    args.add_argument("step", choices=("read", "write", "verify"))
    args.add_argument("--offset", type=int, default=0)
    args.add_argument("--size", type=int)
    args.add_argument("--seed", type=int)
    args.add_argument("--json", action="store_true")
    args = args.parse_args()
    with vh.Blk(args.target) as blk:
        size = args.size or blk.info.capacity - args.offset
        expected = None if args.seed is None else pattern(args.seed, args.offset, size)
        if args.step != "read":
            blk.write(args.offset, expected)
            blk.flush()
        if args.step == "write":
            data = expected
        else:
            data = blk.read(args.offset, size)
            if expected not in (None, data):
                sys.exit("what was read is not the pattern")
    if args.json:
        print(json.dumps({"bytes": size, "sha256": hashlib.sha256(data).hexdigest()}))


if __name__ == "__main__":
    main()
