"""`hydra/sweeper=optuna`: a sweep whose values Optuna proposes, over the same runs as any other.

Hydra imports each module here whose name has no leading underscore at every start, so these are light.
"""
