"""Measurements of HAL beside other libraries; not installed, run from the root of the repository."""
