"""The headers as files and as text, and the source of the executor kernel."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError

ENTRY = "hal_execute"
"""The name of the executor kernel."""

INTRINSICS = "intrinsics.h"
"""The file that a vendor supplies; headers include it by this name."""

_ARGUMENTS = (
    "group",
    "code",
    "mapped",
    "what",
    "count",
    "plan",
    "input",
    "input_bytes",
    "output",
    "output_bytes",
    "timeout_ns",
    "blocks",
)
"""The arguments of the executor kernel, each 64 bits (see `kernel_source`)."""


def include_path() -> Path:
    """The folder to give a compiler, beside that of a vendor's `intrinsics.h`. Headers are `<hal/device/NAME.h>`."""
    return Path(__file__).parent / "include"


def sources() -> dict[str, str]:
    """The headers, by the names under which they include each other, for compilers that take text."""
    folder = include_path()
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.h"))}


def kernel_source(dtype: DType, ops: Iterable[ReduceOp], name: str = ENTRY, *, multicast: bool = False) -> str:
    """The source of the executor kernel for `dtype` and moves that reduce by one of `ops`.

    A compiler that takes C++17 makes it a kernel `name`, given the headers and a vendor's `intrinsics.h`. It is
    launched with a block for each of the larger program (lanes a block: at most 1024) on all ranks; blocks wait for
    each other, so that all must be resident at once. Arguments, 64 bits each: the addresses of the group
    (`hal.device.group`), of the packed program, and of the one for mapped buffers or 0; three words of the call's key;
    address and bytes of the input, then of the output; nanoseconds to the deadline; the blocks of the grid.
    With `multicast` it runs programs that use multicast memory too (`pack`), for intrinsics that have it.
    `UsageError` for an operation that the type does not have.
    """
    wanted = sorted(set(ops))
    for op in wanted:
        op.check(dtype)
    if not wanted:
        raise UsageError("a kernel needs at least one operation, also where it reduces nothing: name sum")
    bits = sum(1 << op for op in wanted)
    parameters = ", ".join(f"u64 {name}" for name in _ARGUMENTS)
    return f"""\
// {dtype.label}: {", ".join(op.label for op in wanted)}
#include <hal/device/executor.h>

namespace hal::device {{

HAL_KERNEL void {name}({parameters}) {{
  const Arguments arguments{{reinterpret_cast<const Group*>(group), {{reinterpret_cast<const i64*>(code)}},
                            {{reinterpret_cast<const i64*>(mapped)}}, {{what, count, plan}},
                            input, input_bytes, output, output_bytes, timeout_ns, blocks}};
  execute<{int(dtype)}, {bits}{", true" * multicast}>(arguments);
}}

}}  // namespace hal::device
"""
