"""An example backend: System V shared memory, and HAL's portable executor kernel compiled for CPUs.

Written from the specification alone, to be read by those who bring up hardware: each file is one concern of a backend.
"""
