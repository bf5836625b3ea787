"""Writing the package: all files rendered first, then put in place at once."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import attrs
import jinja2

from hal.device import include_path
from hal.interface.errors import UsageError
from hal.plugins import INTERFACE_VERSION
from hal_conformance.clauses import clauses
from hal_conformance.new_backend.names import Names
from hal_conformance.new_backend.primitives import level, stub
from hal_conformance.next_step import page_of
from hal_conformance.results import Subject
from hal_conformance.settings import PROFILES

ExecutorKind = Literal["own", "device-code"]

_SUFFIX = ".jinja"
_OF_A_DEVICE = ("device.py", "streams.py", "executor.py")
_OF_A_TRANSPORT = ("transport.py",)


@attrs.frozen
class Choices:
    """What the package is to hold."""

    names: Names
    facets: Sequence[str] = ("device",)
    """`device`, `transport` or both."""
    executor: ExecutorKind = "own"
    """How a device runs plans: by an executor of its own, or by the portable device code, which it compiles."""

    @property
    def capabilities(self) -> list[str]:
        """What the device declares from the start."""
        if "device" not in self.facets:
            return []
        return ["executor"] if self.executor == "own" else ["compile", "executor"]

    @property
    def transport_capabilities(self) -> list[str]:
        """What the transport declares from the start."""
        return ["atomic_add", "get"] if "transport" in self.facets else []


def write(choices: Choices, directory: Path) -> Path:
    """Write the package into a new folder of `directory`, which is made where it is missing; the folder.

    `UsageError` where the folder exists or cannot be written; then nothing is left behind.
    """
    target = directory / choices.names.distribution
    files = render(choices)
    if os.path.lexists(target):
        raise UsageError(f"{target} exists already: give another --directory, or remove it")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        made = directory / f".{target.name}-{secrets.token_hex(4)}"
        try:
            for name, text in files.items():
                path = made / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
            made.rename(target)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from None
    return target


def render(choices: Choices) -> dict[str, str]:
    """The text of every file, by its path in the package's folder."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # what is rendered is Python and TOML, for which HTML's escapes are wrong
    )
    environment.globals.update(stub=stub, level=level, page_of=page_of)
    names = choices.names
    context = {
        **{name: getattr(names, name) for name in ("name", "package", "distribution", "prefix")},
        "facets": choices.facets,
        "executor": choices.executor,
        "capabilities": choices.capabilities,
        "transport_capabilities": choices.transport_capabilities,
        "interface_version": INTERFACE_VERSION,
        "clauses": _applicable(choices),
        "profiles": PROFILES,
    }
    files = {}
    for template in environment.list_templates():
        if _wanted(template, choices):
            path = template.removesuffix(_SUFFIX).replace("src/package/", f"src/{names.package}/")
            files[path] = environment.get_template(template).render(context)
    if choices.executor == "device-code":
        text = (include_path() / "hal" / "device" / "intrinsics_template.h").read_text("utf-8")
        files[f"src/{names.package}/include/intrinsics.h"] = text
    return files


def _wanted(template: str, choices: Choices) -> bool:
    name = Path(template).name.removesuffix(_SUFFIX)
    if name in _OF_A_DEVICE:
        return "device" in choices.facets
    return name not in _OF_A_TRANSPORT or "transport" in choices.facets


def _applicable(choices: Choices) -> list[object]:
    """The clauses that apply to what the package declares."""
    declared = (*choices.capabilities, *choices.transport_capabilities)
    subject = Subject("", "", "", tuple(choices.facets), declared, "", "")
    return [clause for clause in clauses().values() if subject.applies(clause.feature)]
