"""What a run was made with and on: versions, the machine, and which suite it was."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform

from hal.plugins import INTERFACE_VERSION
from hal_conformance import SUITE

PACKAGES = ("hal-core", "hal-conformance", "numpy", "ml_dtypes", "pytest", "hypothesis")


def environment() -> dict[str, str]:
    """Versions of packages, of Python and of the system; nothing that names the machine or its user."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        **found,
        "interface": INTERFACE_VERSION,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "os": _system(),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpus": str(os.cpu_count() or "unknown"),
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):  # it is no Linux, or one without the file
        return platform.platform(terse=True)


def suite() -> dict[str, str]:
    """The version and the digest of the suite that is installed."""
    return {"version": importlib.metadata.version("hal-conformance"), "digest": suite_digest()}


def suite_digest() -> str:
    """SHA-256 of all that decides what is tested: the tests, the clauses, and the code that runs and judges them.

    These are the package's files in Python, YAML and INI, each with its path. How the report looks is no part of it.
    """
    package = SUITE.parent
    total = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".yaml", ".ini") and path.is_file():
            name, data = path.relative_to(package).as_posix().encode(), path.read_bytes()
            total.update(b"%d %s %d\n" % (len(name), name, len(data)) + data)
    return f"sha256:{total.hexdigest()}"
