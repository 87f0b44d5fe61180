"""What every training process needs, imported once by the server that forks them: seconds."""

from __future__ import annotations

from lenet.core.deferred_scipy import defer_signal
from lenet.core.gc_tuning import raise_gc_thresholds

raise_gc_thresholds()  # before the imports, which are what takes long
defer_signal()

import optuna  # noqa: E402, F401

import lenet.runs.get_or_train  # noqa: E402
import lenet.training.fit  # noqa: E402, F401
