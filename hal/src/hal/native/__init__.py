"""C headers that native parts of backends share; `INCLUDE` is the folder for `#include "hal/native/transport.h"`."""

from pathlib import Path

INCLUDE = Path(__file__).resolve().parents[2]
