"""The heap of the shared memory: that of `hal.runtime.heap`."""

from hal.runtime.heap import ALIGN, PAGE, Heap, HeapFull

__all__ = ["ALIGN", "PAGE", "Heap", "HeapFull"]
