"""Configuration: `hal.yaml`, `HAL_*` variables and arguments become one validated `Config`."""

from hal.config import kinds
from hal.config.algorithms import AlgorithmRule
from hal.config.config import Config, Origin
from hal.config.load import load
from hal.config.schema import Key
from hal.config.settings import Algorithms, Bootstrap, General, NoSettings, setting

__all__ = [
    "AlgorithmRule",
    "Algorithms",
    "Bootstrap",
    "Config",
    "General",
    "Key",
    "NoSettings",
    "Origin",
    "kinds",
    "load",
    "setting",
]
