"""`hal tune`: measure every algorithm on this machine, and write the selection table that follows.

- `measure` times the algorithms on the ranks of a job, in turn; `decide` makes rules of the times
- `write` the table as YAML, and what it gains; `cli` the command, `__main__` one rank of it
"""

from hal_collectives.tune.cli import app

__all__ = ["app"]
