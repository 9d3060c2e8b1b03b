# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `layers`: an include that goes up, or sideways, does not compile. For the build folder that is the argument.

For every pair of folders of src/, a file of the one that includes a header of the other is really compiled, with the
flags that the build has for that folder: pairs that src/CMakeLists.txt names must compile, all others must not.
"""
import glob
import json
import os
import re
import shlex
import subprocess
import sys

import parse

# Whatever src/CMakeLists.txt says: these never meet.
NEVER = {"base": {"*"}, "uapi": {"*"}, "gpu": {"mem", "master", "slave"}, "wire": {"sock", "mem", "queue"}, "queue": {"sock", "wire"},
         "device": {"sock", "wire"}, "master": {"slave", "device"}, "kern": {"sock", "wire", "master", "slave"},
         "slave": {"master", "backend"}, "vduse": {"sock", "wire", "master", "slave"},
         "vdpa": {"sock", "wire", "master", "slave", "kern", "device"},
         "driver": {"sock", "wire", "master", "slave", "kern", "vdpa", "vduse"}}
SRC = os.path.join(parse.TOP, "src")


def allowed():
    """{folder: set of folders it may include} from src/CMakeLists.txt."""
    with open(os.path.join(SRC, "CMakeLists.txt"), encoding="utf-8") as f:
        lines = re.findall(r"^vh_layer\(([\w ]+)\)", f.read(), flags=re.M)
    return {line.split()[0]: set(line.split()) for line in lines}


def flags(build):
    """{folder: compiler command without its source and output} from the compilation database."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        database = json.load(f)
    found = {}
    for entry in database:
        folder = os.path.dirname(os.path.relpath(entry["file"], SRC))
        if entry["file"].endswith("base/sys.c") or folder.startswith("..") or folder in found:
            continue
        argv = shlex.split(entry["command"])
        cut = argv.index("-o")
        found[folder] = argv[:cut] + ["-fsyntax-only", "-w", "-x", "c", "-"]
    return found


def compiles(command, header):
    got = subprocess.run(command, input=f'#include "{header}"\n'.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         check=False)
    return got.returncode == 0, got.stdout.decode(errors="replace")


def check_paths():
    """An include with a folder in it would get past the include directories."""
    wrong = []
    for path in glob.glob(os.path.join(SRC, "*", "*.[ch]")):
        with open(path, encoding="utf-8") as f:
            for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', f.read(), flags=re.M):
                if "/" in name and not re.fullmatch(r"vh/\w+\.h", name):
                    wrong.append(f"{os.path.relpath(path, parse.TOP)}: includes {name} by path")
    return wrong


def main():
    may, commands = allowed(), flags(sys.argv[1])
    wrong, good, bad = check_paths(), 0, 0
    folders = sorted(d for d in os.listdir(SRC) if os.path.isdir(os.path.join(SRC, d)))
    wrong += [f"src/{d} is not named in src/CMakeLists.txt" for d in folders if d not in may]
    for folder, others in sorted(may.items()):
        never = NEVER.get(folder, set())
        wrong += [f"src/CMakeLists.txt lets {folder} include {o}" for o in sorted(others - {folder}) if o in never or "*" in never]
    wrong += [f"src/{d} has no source in the build" for d in may if d not in commands]
    for folder in sorted(set(may) & set(commands)):
        for other in folders:
            for header in sorted(glob.glob(os.path.join(SRC, other, "*.h"))):
                ok, text = compiles(commands[folder], os.path.basename(header))
                if other in may[folder]:
                    good += 1
                    if not ok:
                        wrong.append(f"src/{folder} may include {other}/{os.path.basename(header)}, but: {text.strip()[:200]}")
                else:
                    bad += 1
                    if ok:
                        wrong.append(f"src/{folder} can include {other}/{os.path.basename(header)}, which it may not")
                    elif "No such file" not in text and "file not found" not in text:
                        wrong.append(f"src/{folder} with {other}/{os.path.basename(header)} failed otherwise: {text.strip()[:200]}")
    if not good or not bad:
        wrong.append("nothing was tried")
    for line in wrong:
        print(line)
    print(f"{good} includes that compile, {bad} that must not and don't, {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
