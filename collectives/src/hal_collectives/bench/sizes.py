"""The sizes of a sweep: `8`, `64K`, `128M`, from the smallest to the largest by a factor or an increment."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hal.interface.errors import UsageError, unknown_name

_SIZE = re.compile(r"(?P<number>\d{1,18}(\.\d{1,18})?)\s*(?P<unit>[A-Z]*)", re.ASCII)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_LARGEST = 1 << 62


def parse_size(text: str, option: str) -> int:
    """The bytes that `text` means, in nccl-tests' way: K, M and G are powers of 1024, fractions are allowed (`1.5K`).

    `UsageError` that names the option where it is no size.
    """
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None:
        raise UsageError(f"{option} is {text!r}: expected bytes as a number, or with K, M or G such as 64K or 1.5M")
    unit = match["unit"].removesuffix("B").removesuffix("I") if match["unit"] != "B" else ""
    if unit not in _UNITS:
        raise UsageError(f"{option} is {text!r}: {unknown_name('unit', match['unit'], ['K', 'M', 'G'])}")
    size = int(float(match["number"]) * _UNITS[unit])
    if not 0 < size <= _LARGEST:
        raise UsageError(f"{option} is {text!r}: expected at least 1 byte and less than {_LARGEST >> 30}G")
    return size


def sweep(smallest: int, largest: int, *, factor: int | None = None, step: int | None = None) -> Iterator[int]:
    """The sizes from `smallest` on that are at most `largest`: each the last one times `factor` or plus `step`."""
    size = smallest
    while size <= largest:
        yield size
        size = size * factor if factor is not None else size + (step or _LARGEST)


def show_size(size: int) -> str:
    """Bytes in the largest unit that leaves them whole: `64K`."""
    for name, unit in reversed(_UNITS.items()):
        if size and size % unit == 0:
            return f"{size // unit}{name}"
    return str(size)
