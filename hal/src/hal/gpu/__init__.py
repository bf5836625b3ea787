"""What backends for GPUs have in common: memory, streams, graphs, compiled code, the executor, over one driver.

A backend for a maker's GPUs implements `hal.gpu.driver.Driver`, some forty calls as thin as its binding allows, writes
the `intrinsics.h` of its device code, and a plug-in that opens a `hal.gpu.device.GpuDevice`. All else is here, once:

| module | holds |
|---|---|
| `driver` | the calls that a maker's driver has to offer |
| `device`, `segment`, `streams` | `hal.interface.device` on these calls |
| `multicast`, `descriptors` | scratch that is multicast memory, and how its handles go between processes |
| `apart` | a run-time compiler in a process of its own |
| `program` | device code to kernels: compiled at run time, kept on disk |
| `executor`, `group`, `lane`, `report` | `hal.interface.executor`: one launch a collective, and the host around it |
| `settings` | the settings that every such backend has |
"""
