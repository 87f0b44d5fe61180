"""Train the jobs of a sweep at once, in the pool of processes that the pipeline uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus

from lenet.config.validation import flatten
from lenet.core.atomic_io import read_json, write_json
from lenet.execution.local import RunRequest, run_all
from lenet.hydra_app.main import DESCRIPTION, compose_job, folder_of, project_of, run_name, try_out
from lenet.hydra_app.results_table import Row
from lenet.runs.get_or_train import RunMetadata

if TYPE_CHECKING:
    from omegaconf import DictConfig


def train_jobs(config: DictConfig, jobs: Sequence[Sequence[str]], first: int, workers: int) -> list[JobReturn]:
    """Get or train the run of each job; one that fails does not stop the others.

    Args:
        config: the sweep's, with Hydra's own part.
        jobs: the overrides of each.
        first: number of the first job within the sweep.
        workers: processes; 0: one per GPU, or one per core.

    Returns:
        The jobs in their order, with their validation errors in percent, for Hydra's sweepers.
    """
    project, folder = project_of(config), folder_of(config)
    configs = [compose_job(config, words) for words in jobs]
    if any(one.trainer.max_batches is not None for one in configs):  # nothing is kept
        return [_done(words, try_out(project, one)) for words, one in zip(jobs, configs, strict=True)]
    sweep = str(read_json(folder / DESCRIPTION)["name"])
    requests = [
        RunRequest(one, RunMetadata(run_name(one, words), sweep, tuple(words)))
        for words, one in zip(jobs, configs, strict=True)
    ]
    results = run_all(project, requests, workers, may_fail=True)
    returned = []
    for number, (words, one, result) in enumerate(zip(jobs, configs, results, strict=True), start=first):
        row = Row(result.run_dir.fingerprint, result.outcome, dict(flatten(one.tree())))
        write_json(folder / f"{number:06d}.json", asdict(row))
        returned.append(_done(words, row.error(project)))
    return returned


def _done(words: Sequence[str], error: float | None) -> JobReturn:
    done = JobReturn(overrides=words, status=JobStatus.COMPLETED)
    done.return_value = error
    return done
