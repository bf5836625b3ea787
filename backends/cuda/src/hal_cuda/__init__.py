"""HAL on NVIDIA GPUs, through CuPy."""
