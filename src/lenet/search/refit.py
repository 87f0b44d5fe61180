"""Refit: train the search's best recipes with several seeds, choose by the mean, confirm on further seeds.

The lowest of many noisy values understates the error of its recipe (the winner's curse): it was chosen for its luck as
well as for its merit. So the best few are trained again with seeds that the search has not used, and the choice is made
on the means. The lowest of a few means is lucky too, if less: the error of the chosen recipe, and its comparison with
the baseline, use further seeds, which have chosen nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lenet.config.params import Params, read_variant
from lenet.config.schema import Config, parse_config
from lenet.core.atomic_io import read_json
from lenet.core.errors import ConfigError, LenetError
from lenet.core.paths import PARAMS, REFITTED, SEARCH
from lenet.core.project import Project
from lenet.evaluation.metrics import spread
from lenet.evaluation.stats.welch import welch_test
from lenet.execution.local import RunRequest, run_all
from lenet.runs.get_or_train import RunMetadata
from lenet.runs.run_dir import FINISHED, RunDir
from lenet.search.results import CANDIDATES
from lenet.search.search_config import VALIDATION_ERROR

logger = logging.getLogger(__name__)

DECIMALS = 4
"""Of an error in percent."""


@dataclass(frozen=True)
class Recipe:
    """A recipe of the search.

    Attributes:
        trial: the trial that proposed it.
        search_error: the trial's validation error in percent, of one seed.
        config: with the search's epochs and seed.
    """

    trial: int
    search_error: float
    config: Config

    def with_epochs(self, epochs: int) -> Recipe:
        """Return the recipe with another number of epochs."""
        return replace(self, config=replace(self.config, trainer=replace(self.config.trainer, epochs=epochs)))

    def requests(self, seeds: Sequence[int], sweep: str) -> list[RunRequest]:
        """Return a request of a run with each seed."""
        config = replace(self.config, name=REFITTED)
        names = {seed: f"{REFITTED} trial={self.trial} seed={seed}" for seed in seeds}
        return [RunRequest(config.with_seed(seed), RunMetadata(names[seed], sweep)) for seed in seeds]


@dataclass(frozen=True)
class SeedRuns:
    """The runs of one recipe.

    Attributes:
        runs: config and run of each seed that trained to its end.
        failed: the seeds that did not.
    """

    runs: list[tuple[Config, RunDir]]
    failed: tuple[int, ...]

    @classmethod
    def of(cls, runs: list[tuple[Config, RunDir]]) -> SeedRuns:
        """Separate the runs that trained to their end from the others."""
        finished = [(config, folder) for config, folder in runs if folder.state() == FINISHED]
        return cls(finished, tuple(config.seed for config, folder in runs if folder.state() != FINISHED))

    @property
    def errors(self) -> list[float]:
        """Validation errors in percent, in the order of the seeds."""
        return [float(folder.headline()[VALIDATION_ERROR]) for _, folder in self.runs]

    def tree(self) -> dict[str, Any]:
        """Return the errors and the runs by seed."""
        return {
            "validation_error": asdict(spread(self.errors)) if self.runs else None,
            "by_seed": {str(config.seed): error for (config, _), error in zip(self.runs, self.errors, strict=True)},
            "runs": {str(config.seed): folder.fingerprint for config, folder in self.runs},
            "failed": list(self.failed),
        }


@dataclass(frozen=True)
class RefitResult:
    """The outcome of a refit.

    Attributes:
        confirmed: the chosen recipe's runs with the confirming seeds.
        report: candidates, choice, comparison and winner's curse, as results/refit.json has them.
    """

    confirmed: SeedRuns
    report: dict[str, Any]


def refit(project: Project, params: Params, sweep: str) -> RefitResult:
    """Train the search's best recipes again, choose by the mean, and compare with the baseline on further seeds.

    A recipe that fails with a seed, such as one that diverges, is not chosen.

    Args:
        project: the project.
        params: number of candidates, seeds, confirming seeds, baseline.
        sweep: the name under which MLflow groups the runs.

    Raises:
        ConfigError: a seed of params.yaml is the search's own.
        LenetError: the search left no candidate, none trains with every seed, or the baseline does not.
    """
    candidates = read_json(project.root / SEARCH / CANDIDATES)["candidates"][: params.refit.candidates]
    if not candidates:
        raise LenetError(f"{SEARCH / CANDIDATES}: the search left no candidate; give it more trials")
    searched = [Recipe(one["trial"], one["val_error"], parse_config(one["config"])) for one in candidates]
    _check_unseen(params, searched[0].config.seed)
    name, seeds, confirming = params.refit.baseline, params.refit.seeds, params.refit.confirm
    baseline_configs = [read_variant(project, name, seed) for seed in confirming]
    epochs = baseline_configs[0].trainer.epochs
    recipes = [one.with_epochs(epochs) for one in searched]

    def train(*groups: list[RunRequest]) -> list[SeedRuns]:
        requests = [request for group in groups for request in group]
        done = iter(run_all(project, requests, params.search.workers, may_fail=True))
        return [SeedRuns.of([(request.config, next(done).run_dir) for request in group]) for group in groups]

    *tried, fresh = train(*(one.requests(seeds, sweep) for one in recipes), searched[0].requests(seeds, sweep))
    if not fresh.runs:
        raise LenetError(f"trial {searched[0].trial}, the search's best, trains with none of the seeds {list(seeds)}")
    baseline_requests = [RunRequest(one, RunMetadata(f"{name} seed={one.seed}", sweep)) for one in baseline_configs]
    trained = [(one, runs) for one, runs in zip(recipes, tried, strict=True) if not runs.failed]
    for recipe, _ in sorted(trained, key=lambda pair: spread(pair[1].errors).mean):
        confirmed, baseline = train(recipe.requests(confirming, sweep), baseline_requests)
        if baseline.failed:
            raise LenetError(f"{name}: failed with seed {baseline.failed[0]}; there is no baseline")
        if not confirmed.failed:
            break
        logger.info(f"trial {recipe.trial}: failed with seed {confirmed.failed[0]}; the next best is tried")
    else:
        raise LenetError(
            f"{SEARCH / CANDIDATES}: none of the best {len(recipes)} trains with every seed of refit.seeds and"
            f" refit.confirm in params.yaml (`lenet runs` shows why); allow more refit.candidates"
        )
    report = {
        "epochs": epochs,
        "chosen": recipe.trial,
        "candidates": [
            {"trial": one.trial, "search_error": one.search_error} | runs.tree()
            for one, runs in zip(recipes, tried, strict=True)
        ],
        "confirmed": confirmed.tree(),
        "baseline": {"variant": name} | baseline.tree(),
        "comparison": asdict(welch_test(confirmed.errors, baseline.errors)),
        "winners_curse": _winners_curse(searched[0], fresh),
    }
    _log_report(report)
    return RefitResult(confirmed, report)


def _check_unseen(params: Params, searched: int) -> None:
    for where, seeds in (("refit.seeds", params.refit.seeds), ("refit.confirm", params.refit.confirm)):
        if searched in seeds:
            raise ConfigError(f"{PARAMS}: {where} has {searched}, the search's own seed, whose luck would count twice")


def _winners_curse(recipe: Recipe, fresh: SeedRuns) -> dict[str, Any]:
    """Return the error of the search's best recipe with fresh seeds and the search's epochs, and its optimism."""
    found = fresh.tree()
    return {
        "trial": recipe.trial,
        "epochs": recipe.config.trainer.epochs,
        "search_error": recipe.search_error,
        "fresh_seeds": found["validation_error"],
        "runs": found["runs"],
        "optimism": round(found["validation_error"]["mean"] - recipe.search_error, DECIMALS),
    }


def _log_report(report: dict[str, Any]) -> None:
    for one in report["candidates"]:
        error, failed = one["validation_error"], one["failed"]
        found = f"{_with_spread(error)} % over {error['n']} seeds" if error else "no seed trained"
        found += f", failed with {len(failed)}" if failed else ""
        logger.info(f"trial {one['trial']}: {found}; in the search {one['search_error']:.2f} %")
    baseline, comparison = report["baseline"], report["comparison"]
    ours, theirs = report["confirmed"]["validation_error"], baseline["validation_error"]
    logger.info(f"chosen: trial {report['chosen']}; over {ours['n']} further seeds {_with_spread(ours)} %")
    logger.info(
        f"{baseline['variant']} over the same seeds: {_with_spread(theirs)} %;"
        f" difference {comparison['mean']:+.3f} points, p = {comparison['p']:.3g}"
    )


def _with_spread(error: dict[str, Any]) -> str:
    deviation = error["deviation"]
    return f"{error['mean']:.2f}" + (f" ± {deviation:.2f}" if deviation is not None else "")
