"""The `tcp` section of the configuration."""

from __future__ import annotations

import attrs

from hal.config import kinds, setting

AUTO = "auto"


@attrs.frozen
class TcpSettings:
    """Where connections over TCP are made."""

    interface: str = setting(
        AUTO, kinds.word("a network interface"), "network interface, or its address, that peers connect to; auto: any"
    )
    first_port: int = setting(0, kinds.integer(), "first port that is tried for listening; 0: any free one")
    last_port: int = setting(0, kinds.integer(), "last port that is tried for listening; used with first_port")
