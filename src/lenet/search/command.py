"""`lenet search`: from what was typed to a session that is checked, can be stopped, and is shown."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from lenet.config.params import Params
from lenet.core.atomic_io import read_json
from lenet.core.errors import Stopped
from lenet.core.paths import SEARCH_METRICS
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.data.datasets import ensure_prepared
from lenet.execution.runner import validate_resources
from lenet.pipeline.dvc_metrics import write_metrics
from lenet.search.dashboard import check_dashboard, dashboard
from lenet.search.results import SUMMARY, check_target
from lenet.search.runner import SearchRunner
from lenet.search.spec import read_spec
from lenet.search.storage import open_storage, storage_errors, study_url


def search(
    project: Project,
    words: Sequence[str],
    is_joining: bool,
    has_dashboard: bool,
    into: Path | None,
    tell: Callable[[str], None],
) -> None:
    """Search, from where it was left, until the budget is spent.

    Args:
        project: where things are.
        words: `search=<name>`, `search.<key>=<value>`, overrides for every trial.
        is_joining: another command leads this search; work along, and end it where that one is gone.
        has_dashboard: serve optuna-dashboard on the study, while the search runs and after.
        into: where the findings are copied to at the end.
        tell: takes a line for the user.

    Raises:
        ConfigError: the search is not right; nothing was written.
        LenetError: the database does not answer, or another command leads this search.
        Stopped: a signal ended it; what is done is safe.
    """
    question = read_spec(project, words)
    if has_dashboard:
        check_dashboard()
    target = None if into is None else check_target(into)
    validate_resources(project, question.base)
    url = study_url(project, question.search.storage)
    digest = training_digest(ensure_prepared(project, question.base.data.name, tell))
    storage = open_storage(project, url)
    session = SearchRunner(question, storage, question.study_name(digest), tuple(words), tell)
    with _stoppable(), dashboard(url, tell) if has_dashboard else nullcontext(), storage_errors(url):
        session.run(is_joining, target)


def pipeline_words(params: Params) -> list[str]:
    """Return what params.yaml says of the pipeline's search, as one types it; its overrides hold for every trial."""
    words = [f"search={params.search.name}", f"data={params.data}"]
    words += [f"search.trials={params.search.trials}", f"search.workers={params.search.workers}"]
    for override in params.overrides:
        key, equals, value = override.partition("=")
        words.append(f"search.epochs={value}" if key.lstrip("+") == "trainer.epochs" and equals else override)
    return words


def write_search_metrics(project: Project, findings: Path) -> None:
    """Write the validation error of the best trial, in percent, where DVC compares it.

    Args:
        project: where things are.
        findings: the folder that `search` copied them to.
    """
    best = read_json(findings / SUMMARY)["best"]
    write_metrics(project.root / SEARCH_METRICS, {"best_val_error": best["val_error"]})


@contextmanager
def _stoppable() -> Iterator[None]:
    """Within the block SIGTERM ends the command as Ctrl-C does."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Stopped(signum)

    before = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
