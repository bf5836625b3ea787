"""Imported once by the process from which the ranks are forked: what the tests import, but no backend."""

import hal.channels
import hal.plan
import hal.reference
import hal.runtime

__all__ = ["hal"]
