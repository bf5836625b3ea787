"""The version of the interface between HAL and its backends, and which plug-ins it can work with."""

from __future__ import annotations

import re

INTERFACE_VERSION = "1.0"
"""`MAJOR.MINOR`: the major number changes when a backend has to change, the minor one when something is added."""

_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})", re.ASCII)


def version_fault(version: object) -> str | None:
    """Why a plug-in written for interface `version` cannot be used, or None where it can.

    It can where the major version is ours and the minor one is not newer than ours.
    """
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if match is None:
        return f"hal_interface_version returned {version!r} in place of a version such as {INTERFACE_VERSION!r}"
    major, minor = (int(part) for part in INTERFACE_VERSION.split("."))
    if int(match[1]) != major:
        return f"it is written for interface {version}, and this hal-core has {INTERFACE_VERSION}"
    if int(match[2]) > minor:
        return f"it needs interface {version}, and this hal-core has {INTERFACE_VERSION}: install a newer hal-core"
    return None
