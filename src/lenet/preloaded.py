"""What every training process needs, imported once by the server that forks them: seconds."""

from __future__ import annotations

from lenet.collector import collect_rarely
from lenet.deferred import defer_signal

collect_rarely()  # before the imports, which are what takes long
defer_signal()

import optuna  # noqa: E402, F401

import lenet.asking  # noqa: E402
import lenet.training.fit  # noqa: E402, F401
