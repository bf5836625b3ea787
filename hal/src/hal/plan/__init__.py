"""Plans: what each rank does in a collective, as data that any backend executes.

Write one with `PlanBuilder`, keep it with `dumps` / `loads`, run it anywhere: `hal.reference.run` in this process,
`hal.runtime` on devices.
"""
