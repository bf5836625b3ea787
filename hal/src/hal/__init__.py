"""HAL: one communication layer for every accelerator."""
