"""The conformance suite: whether a backend does what the specification says, clause by clause.

`hal conformance --backend NAME` runs it, and so does `pytest --pyargs hal_conformance`. The tests lie in
`hal_conformance.suite`, one module for each profile; what they test is named in `clauses.yaml`.
"""

from pathlib import Path

SUITE = Path(__file__).parent / "suite"
"""Where the tests lie."""
