"""HAL on AMD GPUs, through HIP."""
