"""Run a search, for `lenet search` and for `train.py -m hydra/sweeper=optuna`: check, open the study, run."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from lenet.core.errors import Stopped
from lenet.data.arrays import training_digest
from lenet.data.datasets import ensure_prepared
from lenet.execution.runner import validate_resources
from lenet.search.dashboard import check_dashboard, dashboard
from lenet.search.results import check_target
from lenet.search.runner import SearchRunner
from lenet.search.spec import SearchSpec
from lenet.search.storage import open_storage, storage_errors, study_url
from lenet.search.trial_records import TrialRecord

logger = logging.getLogger(__name__)


def search(
    spec: SearchSpec,
    words: Sequence[str],
    is_joining: bool = False,
    has_dashboard: bool = False,
    into: Path | None = None,
) -> list[TrialRecord]:
    """Run a search from where it was left until the budget is spent, and return its trials.

    Args:
        spec: the search.
        words: what was typed, for the description.
        is_joining: help a search that another command leads, and finish it if that command ends.
        has_dashboard: serve optuna-dashboard on the study, while the search runs and after.
        into: the folder that the results are copied to.

    Raises:
        ConfigError: the search is not right; nothing was written.
        LenetError: the database does not answer, or another command leads this search.
        Stopped: a signal ended it; the same search resumes.
    """
    project = spec.project
    if has_dashboard:
        check_dashboard()
    target = None if into is None else check_target(into)
    validate_resources(project, spec.base)
    url = study_url(project, spec.search.storage)
    digest = training_digest(ensure_prepared(project, spec.base.data.name, logger.info))
    runner = SearchRunner(spec, open_storage(project, url), digest, tuple(words))
    with _stop_on_signals(), dashboard(url) if has_dashboard else nullcontext(), storage_errors(url):
        return runner.run(is_joining, target)


@contextmanager
def _stop_on_signals() -> Iterator[None]:
    """Raise Stopped at Ctrl-C and SIGTERM within the block."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Stopped(signum)

    before = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
