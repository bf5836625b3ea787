"""Groups of ranks on devices, and plans loaded to run on them."""

from hal.runtime.group import Group

__all__ = ["Group"]
