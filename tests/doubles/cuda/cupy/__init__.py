"""A double of CuPy: the calls that hal_cuda makes, on this machine's memory and processors. No GPU is involved."""

__version__ = "0.0 (double)"
