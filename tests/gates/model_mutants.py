# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `model-mutants`: tests/model notices a ring that is wrong. Each mutant is a change of src/queue in a scratch copy. The
gate makes those marked quick, VH_FULL=1 all of them; the seed is always the same, so that none survives by chance.
"""
import os
import sys
import tempfile

from scratch import Failed, Scratch, chosen, run, verdict

TESTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "model")
SPLIT, PACKED = "src/queue/split_device.c", "src/queue/packed_device.c"
ORDER, ORDER_DRIVER = "src/queue/in_order.c", "src/queue/in_order_driver.c"
CHAIN, POSITION, RING, SUBMIT = "src/queue/vhi_chain.h", "src/queue/vhi_packed.h", "src/queue/vhi_vring.h", "src/queue/vhi_submit.h"
QUICK = True
# name, quick, edits
MUTANTS = (
    ("a wrong mask where used elements go", QUICK, ((SPLIT, "2 * (at++ & mask)", "2 * (at++ & (mask >> 1))"),)),
    ("a wrap counter that does not turn", QUICK, ((POSITION, "(at - num) | (wrap ^ VHI_PACKED_WRAP));\n}\n\nstatic inline uint16_t packed_back",
                                                   "(at - num) | wrap);\n}\n\nstatic inline uint16_t packed_back"),)),
    ("a written length that is not clamped", QUICK, ((SPLIT, "len = VHI_MIN(cpl->written, slots[head].wr_len);",
                                                      "len = cpl->written;"),)),
    ("an event index that is one too late", QUICK, ((RING, "(uint16_t)(now - event - 1) < (uint16_t)(now - old)",
                                                     "(uint16_t)(now - event - 1) <= (uint16_t)(now - old)"),)),
    ("unpop goes back one place for a chain", QUICK, ((PACKED, "vhi_move(&q->next_avail, packed_back(q->num, q->next_avail, passed));",
                                                       "vhi_move(&q->next_avail, packed_back(q->num, q->next_avail, n));"),)),
    ("a wrap counter that does not turn back", False, ((POSITION, "(at + num - n) | (wrap ^ VHI_PACKED_WRAP)", "(at + num - n) | wrap"),)),
    ("a packed event that is one too late", False, ((POSITION, "packed_between(q->num, old, event) < n", "packed_between(q->num, old, event) <= n"),)),
    ("an event behind the ring is believed", False, ((POSITION, " && packed_at(event) < q->num)", ")"),)),
    ("a run goes on behind the end of the ring", QUICK, ((PACKED, "kind ^= MARKS;", ""),)),
    ("a run does not look at what it is followed by", False, ((PACKED, "waits = !((word ^ kind) & MARKS);\n\t\t\tif (waits)", "waits = false;\n\t\t\tif (waits)"),)),
    ("a chain is one place in the ring", False, ((PACKED, "u->at += slot->n_desc;", "u->at += 1;"),)),
    ("no WRITE in what is used", False, ((PACKED, "word |= (uint64_t)VHI_DESC_WRITE << 48;", ";"),)),
    ("a next descriptor just outside", False, ((CHAIN, "VHI_SITE_QUEUE_NEXT, at >= ", "VHI_SITE_QUEUE_NEXT, at > "),)),
    ("writable buffers begin anew at each", False, ((CHAIN, "w->side = VHI_DESC_WRITE;", ""),)),
    ("arm looks one ahead", False, ((SPLIT, "on ? vhi_shm_load16(avail(q) + IDX) :", "on ? vhi_shm_load16(avail(q) + IDX) + 1 :"),)),
    ("a driver's chain without its WRITE", False, ((SUBMIT, "(i >= req->n_rd ? VHI_DESC_WRITE : 0)", "(i > req->n_rd ? VHI_DESC_WRITE : 0)"),)),
    ("a used length that is one too long", False, ((SUBMIT, "len > slot->wr_len", "len > slot->wr_len + 1"),)),
    ("a used id just outside", False, ((SUBMIT, "VHI_SITE_QUEUE_USED_ID, id >= ", "VHI_SITE_QUEUE_USED_ID, id > "),)),
    ("a used id that is free", False, ((SUBMIT, "VHI_SITE_QUEUE_USED_FREE, !slot->state", "VHI_SITE_QUEUE_USED_FREE, 0"),)),
    ("in order: what is done is told at once", False, ((ORDER, "if (q->slots[id].state != VHI_SLOT_DONE)\n\t\t\tbreak;", ""),)),
    ("in order: a run ends one too early", False, ((ORDER_DRIVER, "c->run = n;", "c->run = n > 1 ? n - 1 : n;"),)),
)


def notices(s):
    """Whether the tests are red."""
    s.make()
    code, output = run("timeout", "300", "/usr/bin/python3", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", os.path.join(TESTS, "test_model.py"), ok=False,
                       env={"VH_BUILD": s.build, "VH_PYTHON_MODE": "abi", "VH_SEED": "1", "VH_FULL": "0", "VH_MODEL_SCALE": "0.3",
                            "PYTHONPATH": os.path.join(s.top, "python")})
    if code in (0, 1, 134, 139) or code < 0:
        return code != 0  # it may die of a mutant
    raise Failed(f"exit code {code} of the tests\n{output[-3000:]}")


def main():
    made = chosen(MUTANTS)
    with tempfile.TemporaryDirectory() as folder:
        s = Scratch(folder)
        s.configure("-DVH_PYTHON=OFF", "-DVH_TOOLS=OFF")
        if notices(s):
            print("the tests are red without a mutant")
            return 1
        wrong = s.survivors(made, lambda: notices(s))
    return verdict(wrong, len(made), len(MUTANTS))


if __name__ == "__main__":
    sys.exit(main())
