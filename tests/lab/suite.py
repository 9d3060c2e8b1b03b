# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Packages of another Debian suite, unpacked privately into the cache: the system's own package state stays as it is.

No mirror is named here: the site is the one that this machine's own Debian sources have.
"""
import fcntl
import glob
import os
import re
import subprocess
import sys

from kernel import Missing, cache_dir

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def _run(*argv, cwd=None):
    done = subprocess.run(argv, cwd=cwd, env=dict(os.environ, LC_ALL="C"), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False)
    return done.returncode, done.stdout.decode(errors="replace")


def _site():
    with open("/etc/os-release", encoding="utf-8") as f:
        release = dict(line.rstrip().split("=", 1) for line in f if "=" in line)
    _, out = _run("apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages",
                  "Origin: Debian")
    for line in out.splitlines():
        site, _, codename = line.partition(" ")
        if codename == release.get("VERSION_CODENAME"):
            return site
    raise Missing("apt", "no package lists of this release; run apt-get update")


def _options(work, suite, arch=None):
    for d in ("lists/partial", "archives/partial"):
        os.makedirs(os.path.join(work, d), exist_ok=True)
    source = os.path.join(work, "sources.list")
    with open(source, "w", encoding="utf-8") as f:
        f.write(f"deb [signed-by={KEYRING}{f' arch={arch}' if arch else ''}] {_site()} {suite} main\n")
    none = os.path.join(work, "none")
    os.makedirs(none, exist_ok=True)
    settings = {"Dir::Etc::SourceList": source, "Dir::Etc::SourceParts": none, "Dir::Etc::Preferences": "/dev/null",
                "Dir::Etc::PreferencesParts": none, "Dir::State::Lists": os.path.join(work, "lists"),
                "Dir::Cache::pkgcache": "", "Dir::Cache::srcpkgcache": "", "Acquire::Languages": "none",
                "APT::Sandbox::User": "root", **({"APT::Architecture": arch, "APT::Architectures::": arch} if arch else {})}
    return [word for k, v in settings.items() for word in ("-o", f"{k}={v}")]


def unpack(suite, *packages, arch=None):
    """The folder that holds the packages' files (usr/...), fetched when they are not there yet. @arch: not this machine's."""
    return _unpacked(suite, packages, f"-{arch}" if arch else "", lambda options, archives: _run(
        "apt-get", *options, "download", "-qq", *packages, cwd=archives), arch)


def kernel_packages(suite, meta="linux-image-cloud-amd64"):
    """What holds the files of that suite's newest kernel: the image's package, and those into which it may be divided."""
    options = _options(os.path.join(cache_dir(), f"apt-{suite}"), suite)
    rc, out = _run("apt-get", *options, "update", "-qq")
    if rc:
        raise Missing(meta, f"no lists of {suite}: {out.strip()[-200:]}")

    def depends(package, pattern):
        return re.findall(rf"^\s*Depends: ({pattern})$", _run("apt-cache", *options, "depends", package)[1], flags=re.M)
    image = depends(meta, r"linux-image-\d\S+")
    if not image:
        raise Missing(meta, f"not in the lists of {suite}")
    return image + depends(image[0], r"linux-(?:base|binary|modules)-\S+")


def unpack_whole(suite, *packages):
    """The same with all that they depend on, down to the C library, for run_in()."""
    def fetch(options, archives):
        nothing = os.path.join(archives, "installed")  # apt is to think that nothing is
        open(nothing, "w", encoding="utf-8").close()
        return _run("apt-get", *options, "-o", f"Dir::State::status={nothing}", "-o", f"Dir::Cache::archives={archives}/",
                    "-o", "Debug::NoLocking=1", "--no-install-recommends", "-y", "-qq", "--download-only", "install", *packages)
    return _unpacked(suite, packages, "-whole", fetch)


def run_in(root, program):
    """The words that begin a command line of a program in such a folder."""
    return [os.path.join(root, "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", os.path.join(root, "usr/lib/x86_64-linux-gnu"),
            os.path.join(root, program)]


def _unpacked(suite, packages, kind, fetch, arch=None):
    dest = os.path.join(cache_dir(), f"{suite}{kind}-{'-'.join(packages)}")
    with open(os.path.join(cache_dir(), f"lock-{suite}"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(os.path.join(dest, ".complete")):
            return dest
        work = os.path.join(cache_dir(), f"apt-{suite}{f'-{arch}' if arch else ''}")
        options = _options(work, suite, arch)
        rc, out = _run("apt-get", *options, "update", "-qq")
        if rc:
            raise Missing(packages[0], f"no lists of {suite}: {out.strip()[-200:]}")
        archives = os.path.join(work, "archives")
        for old in glob.glob(os.path.join(archives, "*.deb")):
            os.unlink(old)
        rc, out = fetch(options, archives)
        if rc:
            raise Missing(packages[0], f"apt-get: {out.strip()[-200:]}")
        os.makedirs(dest, exist_ok=True)
        for deb in glob.glob(os.path.join(archives, "*.deb")):
            rc, out = _run("dpkg", "-x", deb, dest)
            if rc:
                raise Missing(packages[0], f"dpkg -x: {out.strip()[-200:]}")
            os.unlink(deb)
        open(os.path.join(dest, ".complete"), "w", encoding="utf-8").close()
    return dest


if __name__ == "__main__":
    words, machine = sys.argv[1:], None
    if words[:1] == ["--arch"]:
        machine, words = words[1], words[2:]
    try:
        print(unpack(*words, arch=machine))
    except Missing as e:
        sys.exit(str(e))
