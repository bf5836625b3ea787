"""Whether ranks reach each other's plain memory: all of them, or none."""

from __future__ import annotations

import os

import numpy as np
import pytest

from hal.interface.executor import Membership
from hal_collectives import Communicator, run_local
from hal_host import _native, single_copy
from hal_host.segment import Handle


def told(*others: int) -> Membership:
    """A group in which the others have said this."""
    return Membership(0, 1 + len(others), lambda own: [own, *(str(other).encode() for other in others)], (0,))


@pytest.mark.parametrize(
    ("least", "others", "agreed"),
    [(64, (64,), 64), (64, (100, 7), 100), (0, (64,), None), (64, (64, 0), None), (0, (0,), None)],
)
def test_ranks_agree(least: int, others: tuple[int, ...], agreed: int | None) -> None:
    assert single_copy.agree(told(*others), [], least) == agreed


def test_what_the_kernel_does_not_let() -> None:
    """No process has this number."""
    x = np.zeros(8)
    own = Handle(os.getpid(), 0, 0, x.nbytes, 0, x.nbytes, x.ctypes.data)
    other = Handle(2**22 + 1, 0, 0, x.nbytes, 0, x.nbytes, x.ctypes.data)
    assert single_copy.agree(told(64), [own], 64) == 64
    assert single_copy.agree(told(64), [own, other], 64) is None


def test_one_rank_that_may_not_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(_native, "readable", lambda pid, address: bool(asked.append(pid)) or len(asked) != 2)

    def body(comm: Communicator) -> list[bool]:
        x = np.full(1 << 16, comm.rank + 1, np.float32)
        comm.broadcast(x)
        assert (x == 1).all()
        kept = comm._caller.calls._kept.values()
        return [executable.native.ran_plain for executable in kept]  # type: ignore[attr-defined]  # the host's have it

    assert run_local(2, body, timeout=20) == [[False]] * 2
    assert len(asked) >= 2
