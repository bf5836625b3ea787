"""The name of a new backend: whether it can be one, and what it leads to."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import re

import attrs

from hal.config.schema import RESERVED_NAMES
from hal.interface.errors import UsageError
from hal.plugins import installed

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)
_LONGEST = 32


@attrs.frozen
class Names:
    """All names of one backend."""

    name: str
    """That of the plug-in, as `backend:` in `hal.yaml` has it: `my_chip`."""

    @property
    def package(self) -> str:
        """What is imported: `hal_my_chip`."""
        return f"hal_{self.name}"

    @property
    def distribution(self) -> str:
        """What is installed, and the folder it is written to: `hal-my-chip`."""
        return f"hal-{self.name.replace('_', '-')}"

    @property
    def prefix(self) -> str:
        """What the names of its classes begin with: `MyChip`."""
        return "".join(word.capitalize() for word in self.name.split("_"))


def check_name(name: str) -> Names:
    """The names that a backend's name leads to; `UsageError` where it cannot be one, or is taken."""

    def refuse(why: str) -> UsageError:
        return UsageError(f"a backend cannot be called {name!r}: {why}")

    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        allowed = "a-z, digits and single _ between them, beginning with a letter"
        near = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")
        hint = f"; such as {near!r}" if _NAME.fullmatch(near) and len(near) <= _LONGEST else ""
        raise refuse(f"allowed are {allowed}, at most {_LONGEST} characters{hint}")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise refuse("it is a keyword of Python")
    if name in RESERVED_NAMES:
        raise refuse("it is the name of a setting of HAL itself")
    names = Names(name)
    for one in installed():
        if one.name == name:
            raise refuse(f"a backend of this name is installed ({one.origin})")
    try:
        version = importlib.metadata.version(names.distribution)
    except importlib.metadata.PackageNotFoundError:
        pass
    else:
        raise refuse(f"a package {names.distribution} {version} is installed")
    if importlib.util.find_spec(names.package) is not None:
        raise refuse(f"a module {names.package} is there already")
    return names
