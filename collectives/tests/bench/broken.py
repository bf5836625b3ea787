"""Communicators that do one thing wrong."""

import numpy as np


class Wrapped:
    """Another communicator's calls, but for those that a subclass replaces."""

    def __init__(self, comm):
        self._comm = comm

    def __getattr__(self, name):
        return getattr(self._comm, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return self._comm.__exit__(*error)


def flip(array, index):
    """Change one bit of one element."""
    array.view(np.uint8)[index * array.itemsize] ^= 1


class FlipsABit(Wrapped):
    """The last rank's results of all_reduce have one wrong element."""

    def all_reduce(self, x, out=None, op="sum", **options):
        result = self._comm.all_reduce(x, out, op, **options)
        if self._comm.rank == self._comm.size - 1:
            flip(out, len(out) // 2)
        return result


class LeavesOutARank(Wrapped):
    """Rank 0 contributes nothing to all_reduce."""

    def all_reduce(self, x, out=None, op="sum", **options):
        source = np.zeros_like(x) if self._comm.rank == 0 else x
        return self._comm.all_reduce(source, out, op, **options)


class DoesNothing(Wrapped):
    """all_gather of data leaves its output alone."""

    def all_gather(self, x, out=None, **options):
        return out if x.dtype == np.float32 else self._comm.all_gather(x, out, **options)


class SwapsBlocks(Wrapped):
    """all_to_all gives the blocks in the wrong order."""

    def all_to_all(self, x, out=None, **options):
        self._comm.all_to_all(x, out, **options)
        out[:] = np.roll(out.reshape(self._comm.size, -1), 1, axis=0).reshape(-1)
        return out


class ScribblesOnItsInput(Wrapped):
    """broadcast writes to the input of the root."""

    def broadcast(self, x, out=None, root=0, **options):
        result = self._comm.broadcast(x, out, root, **options)
        if self._comm.rank == root and x is not out:
            x.view(np.uint8)[0] = 0xFF
        return result
