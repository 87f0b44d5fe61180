"""`hydra/launcher=pool`, the default: the jobs of a sweep fill the machine.

Hydra imports the modules here at every start, so they import what is heavy in functions.
"""
