# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""
The protocols of a ring and of its gate, each as a litmus test: check.py [FILE ...] [-v]

A file has tests of this form:

    test NAME
    about TEXT
    start LOCATION VALUE                       (else 0)
    thread NAME
        store LOCATION VALUE [release]
        load REGISTER LOCATION [acquire]
        swap REGISTER LOCATION OLD NEW [acquire] [release]      compare-and-swap; REGISTER is what was there
        when REGISTER VALUE                    what follows is done if it has this value
        fence                                  a full one
        compiler                               for the compiler only
        membarrier                             in all threads
        kill                                   of all other threads, at any moment
    never EXPRESSION                           in any execution, by any model
    sometimes EXPRESSION                       can be, by every model: the test is about something

A register that was not loaded is None. For processors a compiler comes first: it may exchange what nothing keeps in order.
Then each acquire, release, fence, compiler and membarrier is taken out, one at a time, and "never" has to become possible in
one of the models: so each is needed, and the test can tell. "spare" after an instruction says that it is not.
"""
import glob
import itertools
import os
import sys

from models import MODELS, Event, Execution

HERE = os.path.dirname(os.path.abspath(__file__))


class Instr:
    def __init__(self, op, args, flags, line):
        self.op, self.args, self.flags, self.line = op, args, frozenset(flags), line

    def text(self):
        return " ".join([self.op, *map(str, self.args), *sorted(self.flags - {"spare"})])

    def without(self, flag):
        return Instr(self.op, self.args, self.flags - {flag}, self.line)


class Test:
    def __init__(self, name):
        self.name, self.about, self.start, self.threads, self.names = name, "", {}, [], []
        self.never, self.sometimes = None, None

    def weakened(self):
        """What is taken out, and the test without it."""
        for t, thread in enumerate(self.threads):
            for i, instr in enumerate(thread):
                if "spare" in instr.flags:
                    continue
                for flag in sorted(instr.flags & {"acquire", "release"}):
                    yield f"{flag} of '{instr.text()}'", self.replaced(t, i, [instr.without(flag)])
                if instr.op in ("fence", "compiler", "membarrier"):
                    yield f"{instr.op} of {self.names[t]}", self.replaced(t, i, [])

    def replaced(self, t, i, instrs):
        other = Test(self.name)
        other.start, other.names, other.never = self.start, self.names, self.never
        other.threads = list(self.threads)
        other.threads[t] = self.threads[t][:i] + instrs + self.threads[t][i + 1:]
        return other


SHAPES = {"store": 2, "load": 2, "swap": 4, "when": 2, "fence": 0, "compiler": 0, "membarrier": 0, "kill": 0}


def parse(path):
    tests = []
    with open(path, encoding="utf-8") as f:
        for number, raw in enumerate(f, 1):
            words = raw.split("#")[0].split()
            if not words:
                continue
            word, args = words[0], words[1:]
            if word == "test":
                tests.append(Test(" ".join(args)))
                continue
            test = tests[-1]
            if word in ("about", "never", "sometimes"):
                setattr(test, word, " ".join(filter(None, (getattr(test, word), " ".join(args)))))
            elif word == "start":
                test.start[args[0]] = int(args[1])
            elif word == "thread":
                test.threads.append([])
                test.names.append(args[0])
            elif word in SHAPES and len(args) >= SHAPES[word]:
                n = SHAPES[word]
                flags = args[n:]
                if not set(flags) <= {"acquire", "release", "spare"}:
                    raise SystemExit(f"{path}:{number}: {raw.strip()}")
                values = [int(a) if a.lstrip("-").isdigit() else a for a in args[:n]]
                test.threads[-1].append(Instr(word, values, flags, number))
            else:
                raise SystemExit(f"{path}:{number}: {raw.strip()}")
    return tests


def location(instr):
    return {"store": 0, "load": 1, "swap": 1}.get(instr.op)


def may_pass(a, b):
    """Whether a compiler may put b before a, which stands right before it."""
    if {a.op, b.op} & {"fence", "compiler", "membarrier", "kill", "swap"}:
        return False
    if a.op == "when":
        return b.op == "load"  # nobody sees it if it was not to be done
    if b.op == "when":
        return not (a.op == "load" and a.args[0] == b.args[0])
    if a.args[location(a)] == b.args[location(b)]:
        return False
    return not (a.op == "load" and "acquire" in a.flags or b.op == "store" and "release" in b.flags)


def orders(thread):
    """All that a compiler may make of it."""
    if thread[0].op == "kill":
        return [thread]  # the others are dead: nothing moves any more
    seen, todo = {tuple(thread)}, [tuple(thread)]
    while todo:
        order = todo.pop()
        for i in range(len(order) - 1):
            if may_pass(order[i], order[i + 1]):
                other = order[:i] + (order[i + 1], order[i]) + order[i + 2:]
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
    return [[i for i in order if i.op != "compiler"] for order in seen]


REMOTE = Instr("remote", [], [], 0)


def placed(threads):
    """A membarrier's fences in the other threads, at all places; a kill's as well, and nothing after them."""
    sources = [(t, i) for t, thread in enumerate(threads) for i, instr in enumerate(thread) if instr.op in ("membarrier", "kill")]
    if not sources:
        yield threads
        return
    ((source, at),) = sources
    kill = threads[source][at].op == "kill"
    others = [range(len(thread) + 1) if t != source else [None] for t, thread in enumerate(threads)]
    for places in itertools.product(*others):
        out = []
        for thread, place in zip(threads, places):
            out.append(thread if place is None else
                       thread[:place] + [REMOTE] + ([] if kill else thread[place:]))
        yield out


def paths(thread):
    """The ways through a thread: instructions that are done, and (register, value, equal) that has to hold for that."""
    def go(i, done, holds):
        if i == len(thread):
            yield done, holds
            return
        instr = thread[i]
        if instr.op == "when":
            yield from go(i + 1, done + [instr], holds + [(*instr.args, True)])
            yield done + [r for r in thread[i:] if r.op == "remote"], holds + [(*instr.args, False)]
        elif instr.op == "swap":
            for equal in (True, False):
                yield from go(i + 1, done + [(instr, equal)], holds + [(instr.args[0], instr.args[2], equal)])
        else:
            yield from go(i + 1, done + [instr], holds)
    return go(0, [], [])


def events_of(t, path):
    events = []

    def add(kind, **more):
        events.append(Event(kind, t, len(events), **more))

    for instr in path:
        swapped = None
        if isinstance(instr, tuple):
            instr, swapped = instr
        flags = {f: True for f in instr.flags if f in ("acquire", "release")}
        if instr.op == "store":
            add("W", loc=instr.args[0], value=instr.args[1], **flags)
        elif instr.op == "load":
            add("R", reg=instr.args[0], loc=instr.args[1], **flags)
        elif instr.op == "swap":
            reg, loc, _, new = instr.args
            add("R", reg=reg, loc=loc, acquire="acquire" in flags)
            if swapped:
                add("W", loc=loc, value=new, release="release" in flags)
                events[-2].rmw, events[-1].rmw = 1, -1  # made absolute later
        elif instr.op == "when":
            for e in events:
                if e.reg == instr.args[0] and not e.control:
                    e.control = len(events)
        elif instr.op == "fence":
            add("F")
        elif instr.op == "remote":
            add("F", sync="remote")
        elif instr.op in ("membarrier", "kill"):
            add("F", sync="begin")
            add("F", sync="end")
    return events


def outcomes(test, model, wanted):
    """The executions that the model allows, as registers, of those whose registers are wanted."""
    processor = model != "c11"
    needs_order = processor or any(i.op in ("membarrier", "kill") for thread in test.threads for i in thread)
    compiled = [orders(t) if needs_order else [[i for i in t if i.op != "compiler"]] for t in test.threads]
    for threads in itertools.product(*compiled):
        for variant in placed(list(threads)):
            for ways in itertools.product(*(list(paths(t)) for t in variant)):
                yield from run(test, MODELS[model], ways, wanted)


def run(test, model, ways, wanted):
    locs = sorted({i.args[location(i)] for thread in test.threads for i in thread if location(i) is not None})
    events = [Event("W", -1, 0, loc=loc, value=test.start.get(loc, 0)) for loc in locs]
    holds = []
    for t, (path, conditions) in enumerate(ways):
        mine = events_of(t, path)
        for k, e in enumerate(mine):
            if e.rmw is not None:
                e.rmw += len(events) + k
        events += mine
        holds += conditions
    loads = [i for i, e in enumerate(events) if e.kind == "R"]
    stores = {loc: [i for i, e in enumerate(events) if e.kind == "W" and e.loc == loc] for loc in locs}
    for sources in itertools.product(*(stores[events[i].loc] for i in loads)):
        regs = {events[i].reg: events[s].value for i, s in zip(loads, sources)}
        if any((regs.get(reg) == value) != equal for reg, value, equal in holds) or not wanted(regs):
            continue
        for co in coherence_orders(len(events), stores):
            x = Execution(events, dict(zip(loads, sources)), co)
            if x.coherent() and model(x):
                yield regs


def coherence_orders(n, stores):
    for orders_ in itertools.product(*(itertools.permutations(s[1:]) for s in stores.values())):
        co = [0] * n
        for first, rest in zip((s[0] for s in stores.values()), orders_):
            line = [first, *rest]
            for i, a in enumerate(line):
                for b in line[i + 1:]:
                    co[a] |= 1 << b
        yield co


def possible(test, model, expression, registers):
    code = compile(expression, test.name, "eval")
    none = dict.fromkeys(registers)

    def wanted(regs):
        return eval(code, {}, {**none, **regs})

    return any(True for _ in outcomes(test, model, wanted))


def check(test, verbose):
    """Lines that say what is wrong with it."""
    registers = {i.args[0] for thread in test.threads for i in thread if i.op in ("load", "swap")}
    for model in MODELS:
        if not possible(test, model, test.sometimes, registers):
            yield f"{model}: '{test.sometimes}' can't be; the test says nothing"
        if possible(test, model, test.never, registers):
            yield f"{model}: '{test.never}' can be"
    for what, other in test.weakened():
        red = [model for model in MODELS if possible(other, model, test.never, registers)]
        if verbose:
            print(f"    without {what}: {', '.join(red) or 'nothing'}")
        if not red:
            yield f"without {what} it is just as good"


def main(argv):
    verbose = "-v" in argv
    files = [a for a in argv if a != "-v"] or sorted(glob.glob(os.path.join(HERE, "*.lit")))
    tests = [test for path in files for test in parse(path)]
    wrong = removed = 0
    for test in tests:
        if verbose:
            print(f"{test.name}: {test.about}")
        removed += sum(1 for _ in test.weakened())
        for line in check(test, verbose):
            print(f"{test.name}: {line}")
            wrong += 1
    print(f"{len(tests)} litmus tests hold in {len(MODELS)} models, {removed} weaker ones do not" if not wrong else f"{wrong} failures")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
