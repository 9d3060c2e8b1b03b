# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Section R, case 258: a field of a ring is loaded or stored by one instruction of its width, on each machine that there is a
compiler for in cmake/packages. The type (VHI_SHM, which clang does not dereference) sees to it that there is no other way."""

import re
import subprocess
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
#: compiler -> (what touches memory, one-instruction forms of 16 bits, of 32 bits)
MACHINES = {
    "gcc": (r"\(%r[a-ds]", r"movzw[lq]|movw|mov .*%[a-ds][xi],\(", r"movl?"),
    "i686-linux-gnu-gcc": (r"\s\(%e[a-d][x]\)|,\(%e[a-d]x\)", r"movzwl|movw|mov .*%[a-ds][xi],\(", r"movl?"),
    "aarch64-linux-gnu-gcc": (r"\[x[0-9]+\]", r"ldrh|ldarh|ldaprh|strh|stlrh", r"ldr|ldar|ldapr|str|stlr"),
}
WIDTHS = {16: 1, 32: 2}


def accessors():
    """[(name, width, is a store)] of vhi_shm.h."""
    text = (SRC / "base" / "vhi_shm.h").read_text("utf-8")
    found = re.findall(r"static inline \w+ (vhi_shm_(load|store)(16|32)\w*)\(", text)
    return [(name, int(width), what == "store") for name, what, width in found]


def program():
    """A function for each accessor, so that the compiler has to make it."""
    lines = ['#include "vhi_shm.h"']
    for name, width, store in accessors():
        kind = f"uint{width}_t"
        head = f"void f_{name}({kind} VHI_SHM *p, {kind} v)" if store else f"{kind} f_{name}(const {kind} VHI_SHM *p)"
        body = f"{name}(p, v);" if store else f"return {name}(p);"
        lines.append(f"{head};\n{head} {{ {body} }}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("compiler", MACHINES)
def test_case_258_one_instruction_for_a_field(tmp_path, compiler, level):
    source, made = tmp_path / "access.c", tmp_path / "access.o"
    source.write_text(program(), "utf-8")
    subprocess.run([compiler, level, "-std=c11", "-D_GNU_SOURCE", f"-I{SRC / 'base'}", "-c", source, "-o", made], check=True)
    listing = subprocess.run([compiler.replace("gcc", "objdump"), "-dr", "--no-show-raw-insn", made], check=True, text=True,
                             stdout=subprocess.PIPE).stdout
    bodies = dict(re.findall(r"^[0-9a-f]+ <f_(\w+)>:\n((?:.+\n)+)", listing, re.M))
    memory, *forms = MACHINES[compiler]
    assert len(accessors()) >= 7
    for name, width, _ in accessors():
        # Without optimisation the accessor is a function of its own; what is asked for is that nothing is called in it.
        body = bodies[name] if level == "-O2" else re.search(rf"<{name}>:\n((?:.+\n)+)", listing)[1]
        assert not re.search(r"memcpy|memmove|__atomic_", body), body
        if level == "-O2":
            lines = [line.split("\t", 1)[1] for line in body.splitlines() if "\t" in line]
            touching = [line for line in lines if re.search(memory, line) and not re.match(r"nop|data16|lea|cs", line)]
            assert len(touching) == 1 and re.match(forms[WIDTHS[width] - 1], touching[0]), f"{name}: {lines}"


def test_case_258_there_is_no_other_way():
    """Bytes are copied out of shared memory by the walker of indirect tables alone, in all of src/queue."""
    found = sorted(f"{path.name}: {call}" for path in (SRC / "queue").glob("*.[ch]")
                   for call in re.findall(r"\bvhi_shm_(?:copy_in|copy_out|zero)\b|VHI_SHM_RAW\(\w*16_t", path.read_text("utf-8")))
    assert [one for one in found if "inflight" not in one] == ["chain.c: vhi_shm_copy_in"], found
