"""`hydra/sweeper=optuna`: a sweep as a search.

Hydra imports the modules here at every start, so they import what is heavy in functions.
"""
