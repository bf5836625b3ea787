"""All mutants, in the order of the specification."""

from hal_mutant import (  # noqa: F401, I001 -- importing them fills the catalogue
    discovery,
    memory,
    sharing,
    streams,
    signals,
    transfers,
    executors,
    reductions,
    faults,
    transports,
)
