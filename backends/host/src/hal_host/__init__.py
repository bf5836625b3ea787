"""HAL's embedded default: CPUs of one machine over shared memory."""
