# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""
Which executions of a few loads and stores are possible: by C11, and by processors.

An execution is a list of events with what each load read from (rf) and the order of the stores to each location (co). A
model says whether it can be. A relation is a list of bit masks: bit j of r[i] says that i comes before j.

- c11: the repaired model of Lahav, Vafeiadis, Kang, Hur and Dreyer (2017), without accesses that are seq_cst themselves,
  and with C++20's release sequences.
- weak: a processor that orders what AArch64 and RISC-V both order when a compiler translates for them, and nothing else;
  so what can't be here can't be on either. Stores become visible to all others at once.
- x86: total store order.

A membarrier() is a fence in its own thread and one in each other thread, somewhere between its begin and its end.
"""


class Event:
    def __init__(self, kind, thread, place, loc=None, value=None, reg=None, acquire=False, release=False, sync=None):
        self.kind, self.thread, self.place = kind, thread, place  # kind: R, W or F; thread -1 wrote the initial values
        self.loc, self.value, self.reg = loc, value, reg
        self.acquire, self.release = acquire, release
        self.rmw = None  # the other half
        self.control = False  # what a condition before it depends on has to be known first
        self.sync = sync  # of a membarrier: begin, end, or remote


def closure(rel):
    rel = list(rel)
    for k, after in enumerate(rel):
        bit = 1 << k
        after = rel[k]
        for i, row in enumerate(rel):
            if row & bit:
                rel[i] = row | after
    return rel


def acyclic(rel):
    return not any(row >> i & 1 for i, row in enumerate(closure(rel)))


def union(*rels):
    return [a if len(rels) == 1 else _or(a) for a in zip(*rels)]


def _or(rows):
    mask = 0
    for row in rows:
        mask |= row
    return mask


def compose(a, b):
    out = []
    for row in a:
        mask, j = 0, 0
        while row:
            if row & 1:
                mask |= b[j]
            row >>= 1
            j += 1
        out.append(mask)
    return out


def keep(rel, test):
    """The pairs of rel for which test(i, j) holds."""
    return [sum(1 << j for j in range(len(rel)) if row >> j & 1 and test(i, j)) for i, row in enumerate(rel)]


class Execution:
    """Events with rf (load -> store) and co (pairs of stores to one location, transitive)."""

    def __init__(self, events, rf, co):
        self.events, n = events, len(events)
        self.po = [0] * n
        for i, a in enumerate(events):
            for j, b in enumerate(events):
                if i != j and (a.thread < 0 <= b.thread or (a.thread == b.thread >= 0 and a.place < b.place)):
                    self.po[i] |= 1 << j
        self.rf = [0] * n
        self.fr = [0] * n
        for load, store in rf.items():
            self.rf[store] |= 1 << load
            self.fr[load] = co[store] & ~(1 << load)
            if events[load].rmw is not None:
                self.fr[load] &= ~0
        self.co = co
        self.same = lambda i, j: events[i].loc is not None and events[i].loc == events[j].loc
        self.po_loc = keep(self.po, self.same)

    def other(self, rel):
        return keep(rel, lambda i, j: self.events[i].thread != self.events[j].thread)

    def coherent(self):
        """One location at a time all is well; and nothing came between the halves of an exchange."""
        if not acyclic(union(self.po_loc, self.rf, self.co, self.fr)):
            return False
        between = compose(self.fr, self.co)
        return not any(e.kind == "R" and e.rmw is not None and between[i] >> e.rmw & 1 for i, e in enumerate(self.events))

    def syncs(self):
        """Edges between the fences of a membarrier."""
        out = [0] * len(self.events)
        for i, a in enumerate(self.events):
            for j, b in enumerate(self.events):
                if (a.sync, b.sync) in (("begin", "remote"), ("remote", "end")):
                    out[i] |= 1 << j
        return out


def c11(x):
    ev, n = x.events, len(x.events)
    writes = [i for i in range(n) if ev[i].kind == "W"]
    fences = [i for i in range(n) if ev[i].kind == "F"]
    # Release sequences: a store and the exchanges that read from it.
    sw = x.syncs()
    for w in writes:
        heads = [w] if ev[w].release else []
        heads += [f for f in fences if x.po[f] >> w & 1]
        if not heads:
            continue
        sequence, grown = {w}, True
        while grown:
            reads = {r for r in range(n) if any(x.rf[s] >> r & 1 for s in sequence)}
            more = {ev[r].rmw for r in reads if ev[r].rmw is not None} - sequence
            grown = bool(more)
            sequence |= more
        for r in (r for r in range(n) if any(x.rf[s] >> r & 1 for s in sequence)):
            tails = [r] if ev[r].acquire else []
            tails += [f for f in fences if x.po[r] >> f & 1]
            for a in heads:
                for b in tails:
                    if ev[a].thread != ev[b].thread:
                        sw[a] |= 1 << b
    hb = closure(union(x.po, sw))
    eco = closure(union(x.rf, x.co, x.fr))
    hb_eco = compose(hb, eco)
    if any(hb[i] >> i & 1 or hb_eco[i] >> i & 1 for i in range(n)):
        return False
    psc = keep(union(hb, compose(hb_eco, hb)), lambda i, j: ev[i].kind == "F" and ev[j].kind == "F")
    return acyclic(psc) and acyclic(union(x.po, x.rf))


def weak(x):
    ev = x.events

    def ordered(i, j):
        a, b = ev[i], ev[j]
        if a.thread < 0:
            return False
        if a.kind == "F" or b.kind == "F" or a.acquire and a.kind == "R" or b.release and b.kind == "W":
            return True
        if a.rmw == j or (x.same(i, j) and b.kind == "W"):
            return True
        return a.kind == "R" and a.control and b.kind == "W" and a.control <= b.place

    order = keep(x.po, ordered)
    return acyclic(union(order, x.syncs(), x.other(x.rf), x.co, x.fr))


def x86(x):
    ev = x.events

    def ordered(i, j):
        a, b = ev[i], ev[j]
        if a.thread < 0:
            return False
        # A store may wait while a later load is done; an exchange waits for nothing and lets nobody pass.
        return not (a.kind == "W" and b.kind == "R") or a.rmw is not None or b.rmw is not None

    order = keep(x.po, ordered)
    return acyclic(union(order, x.syncs(), x.other(x.rf), x.co, x.fr))


MODELS = {"c11": c11, "weak": weak, "x86": x86}
