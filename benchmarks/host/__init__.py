"""HAL beside its peers on one host: MPICH, Open MPI, Intel MPI (all through mpi4py) and torch's gloo.

`make bench-host` runs it. Absolute times on a shared or virtual machine move several times with where it places the
cores, so only what is measured side by side can be compared: the processes of every contender stay alive, all but one
contender's sleep, and a conductor lets each contender in turn run a short batch, in rotating order, for many rounds.

- `environment` the peers' environment, `contenders` who takes part, `launch` starting and ending their ranks
- `rank` one rank's process, `adapters/` each library behind the same few calls, `control` how a rank takes orders
- `conductor` the rounds, `cases` what is measured, `statistics` medians and ratios
- `limits` what memory and cores can do, `machine` what this machine is
- `results` the JSON file, `page` and `plots` what people read
"""
