"""A network for today's specimen, at the microscope: expose pairs → check → train → calibrate → compare → offer it.

What exposes is the engine of a run, what trains is `care_live.training`. Nothing here changes a running daemon.
"""
