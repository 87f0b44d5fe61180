"""Keys of the user attributes that are written beside Optuna's own."""

from __future__ import annotations

SEAT = "lenet.seat"
"""Of a trial: the seat of the worker that is at it, or was last."""

SEATS = "lenet.seats"
"""Of the study: how many seats were given."""

SESSION = "lenet.session."
"""Start of the study's keys that say when it was worked at."""

FINGERPRINT = "lenet.fingerprint"
"""Of a trial: its run."""

OUTCOME = "lenet.outcome"
"""Of a trial: what its worker told at its end."""

FAULTS = "lenet.faults"
"""Of a trial: how many errors ended the work at it."""
