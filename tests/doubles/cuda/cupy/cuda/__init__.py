"""The modules that hal_cuda uses."""
