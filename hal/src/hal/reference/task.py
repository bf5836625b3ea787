"""Tasks: what the interpreter runs in turns. Each is a generator that pauses wherever others may go first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hal.reference.deadlock import Stall


@dataclass(frozen=True)
class Pause:
    """A point at which a task lets others run. It goes on when `ready` says so; `stalls` says what is missing."""

    ready: Callable[[], bool] = lambda: True
    stalls: Callable[[], list[Stall]] = list


Steps = Iterator[Pause]

ANY_TIME = Pause()


@dataclass(eq=False)
class Task:
    """A block of one rank, the deliverer of what was posted on one of its channels, or the launcher of a rank.

    `kind` is `block`, `port` or `launcher`; `number` the block or the channel, 0 for a launcher.
    """

    kind: str
    rank: int
    number: int
    launch: int
    steps: Steps = field(repr=False)
    pause: Pause = field(default=ANY_TIME, repr=False)
    done: bool = False

    def ready(self) -> bool:
        """Whether it can take its next step."""
        return not self.done and self.pause.ready()

    def step(self) -> None:
        """Run to the next pause or to the end."""
        pause = next(self.steps, None)
        if pause is None:
            self.done = True
        else:
            self.pause = pause
