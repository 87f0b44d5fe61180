"""The refit: the search's best few recipes trained with several seeds, since the best of many single seeds is lucky.

The lowest of many noisy values understates what its recipe gives (the winner's curse): it is chosen for its luck as
well as for its merit. So the best few are trained again with seeds that the search has not seen, and the choice is made
on the means. The lowest of a few means is lucky too, if less: what is said of the chosen recipe, and its comparison
with the baseline, stands on further seeds, which have chosen nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lenet.config.params import Params, read_variant
from lenet.config.schema import Config, parse_config
from lenet.core.atomic_io import read_json, write_json, write_text
from lenet.core.errors import ConfigError, LenetError
from lenet.core.paths import PARAMS, REFIT, REFIT_RECIPE, REFITTED, SEARCH
from lenet.core.project import Project
from lenet.evaluation.metrics import spread
from lenet.evaluation.stats.welch import welch_test
from lenet.execution.local import RunRequest, run_all
from lenet.pipeline.outs import write_variant
from lenet.pipeline.stages import PIPELINE
from lenet.runs.get_or_train import RunMetadata
from lenet.runs.run_dir import FINISHED, RunDir
from lenet.search.objective import MEASURE
from lenet.search.results import CANDIDATES, experiment

DECIMALS = 4
"""Of an error in percent."""


Runs = list[tuple[Config, RunDir]]


@dataclass(frozen=True)
class Recipe:
    """A recipe of the search's best.

    Attributes:
        trial: the trial that proposed it.
        search_error: the search's own value of it, in percent, of one seed.
        config: with the search's budget and seed.
    """

    trial: int
    search_error: float
    config: Config

    def with_epochs(self, epochs: int) -> Recipe:
        """Return the recipe with another budget."""
        return replace(self, config=replace(self.config, trainer=replace(self.config.trainer, epochs=epochs)))

    def wishes(self, seeds: Sequence[int]) -> list[RunRequest]:
        """Return a wish for a run with each seed."""
        configs = [self.config.with_seed(seed) for seed in seeds]
        return [
            RunRequest(one, RunMetadata(f"{REFITTED} trial={self.trial} seed={one.seed}", PIPELINE)) for one in configs
        ]


@dataclass(frozen=True)
class RefitRecipe:
    """What came of one recipe with some seeds.

    Attributes:
        runs: config and run of each seed that trained to its end.
        failed: the seeds with which it did not.
    """

    runs: Runs
    failed: tuple[int, ...]

    @property
    def errors(self) -> list[float]:
        """Validation errors in percent, in the order of the seeds."""
        return [float(folder.headline()[MEASURE]) for _, folder in self.runs]

    def tree(self) -> dict[str, Any]:
        """Return the errors and the runs by seed."""
        seeds = [str(config.seed) for config, _ in self.runs]
        return {
            "validation_error": asdict(spread(self.errors)) if self.runs else None,
            "by_seed": dict(zip(seeds, self.errors, strict=True)),
            "runs": {seed: folder.fingerprint for seed, (_, folder) in zip(seeds, self.runs, strict=True)},
            "failed": list(self.failed),
        }


def refit(project: Project, params: Params, tell: Callable[[str], None]) -> None:
    """Train the search's best recipes anew, choose by the mean, and compare with the baseline on further seeds.

    Writes the chosen recipe's weights, curves and measures like any variant's, results/refit.json, and the recipe as
    an experiment, results/refit/best.yaml. A recipe that fails with a seed, such as one that diverges, is not chosen.

    Raises:
        ConfigError: a seed of params.yaml is the search's own.
        LenetError: the search left no candidate, none trains with every seed, or the baseline does not.
    """
    found = read_json(project.root / SEARCH / CANDIDATES)["candidates"][: params.refit.candidates]
    if not found:
        raise LenetError(f"{SEARCH / CANDIDATES}: the search left no candidate; give it more trials")
    own = [Recipe(one["trial"], one["val_error"], _named(parse_config(one["config"]))) for one in found]
    _check_unseen(params, own[0].config.seed)
    name, confirming = params.refit.baseline, params.refit.confirm
    base_configs = [read_variant(project, name, seed) for seed in confirming]
    epochs = base_configs[0].trainer.epochs
    recipes = [recipe.with_epochs(epochs) for recipe in own]

    def train(*asked: list[RunRequest]) -> list[RefitRecipe]:
        wishes = [wish for block in asked for wish in block]
        outcomes = iter(run_all(project, wishes, params.search.workers, tell, may_fail=True))
        return [_sorted([(wish.config, next(outcomes).folder) for wish in block]) for block in asked]

    seeds = params.refit.seeds
    *tried, fresh = train(*(recipe.wishes(seeds) for recipe in recipes), own[0].wishes(seeds))
    if not fresh.runs:
        raise LenetError(f"trial {own[0].trial}, the search's best, trains with none of the seeds {list(seeds)}")
    base = [RunRequest(config, RunMetadata(f"{name} seed={config.seed}", PIPELINE)) for config in base_configs]
    whole = [number for number, one in enumerate(tried) if not one.failed]
    for number in sorted(whole, key=lambda number: spread(tried[number].errors).mean):
        confirmed, baseline = train(recipes[number].wishes(confirming), base)
        if baseline.failed:
            raise LenetError(f"{name}: did not train with seed {baseline.failed[0]}; nothing can be compared with it")
        if not confirmed.failed:
            break
        tell(f"trial {recipes[number].trial}: did not train with seed {confirmed.failed[0]}; the next best is tried")
    else:
        raise LenetError(
            f"{SEARCH / CANDIDATES}: none of the best {len(own)} trains with every seed of refit.seeds and"
            f" refit.confirm in params.yaml (`lenet runs` shows why); allow more refit.candidates"
        )
    write_variant(project, REFITTED, confirmed.runs)
    recipe = recipes[number]
    write_text(
        project.root / REFIT_RECIPE, experiment(confirmed.runs[0][0], REFITTED, f"`lenet refit`: trial {recipe.trial}")
    )
    body = {
        "epochs": epochs,
        "threads": sorted({count for _, folder in confirmed.runs + baseline.runs for count in folder.threads()}),
        "chosen": recipe.trial,
        "candidates": [
            {"trial": one.trial, "search_error": one.search_error} | block.tree()
            for one, block in zip(recipes, tried, strict=True)
        ],
        "confirmed": confirmed.tree(),
        "baseline": {"variant": name} | baseline.tree(),
        "comparison": asdict(welch_test(confirmed.errors, baseline.errors)),
        "winners_curse": _curse(own[0], fresh),
    }
    write_json(project.root / REFIT, body)
    _tell(body, tell)


def _named(config: Config) -> Config:
    return replace(config, name=REFITTED)


def _check_unseen(params: Params, searched: int) -> None:
    for where, seeds in (("refit.seeds", params.refit.seeds), ("refit.confirm", params.refit.confirm)):
        if searched in seeds:
            raise ConfigError(
                f"{PARAMS}: {where} has {searched}, the search's own seed: what was lucky with it would count twice"
            )


def _sorted(runs: Runs) -> RefitRecipe:
    """Tell the runs that were trained to their end from those that were not."""
    done = [(config, folder) for config, folder in runs if folder.state() == FINISHED]
    return RefitRecipe(done, tuple(config.seed for config, folder in runs if folder.state() != FINISHED))


def _curse(recipe: Recipe, fresh: RefitRecipe) -> dict[str, Any]:
    """Return what the search's best recipe gives with seeds that the search has not seen, on the search's budget."""
    found = fresh.tree()
    return {
        "trial": recipe.trial,
        "epochs": recipe.config.trainer.epochs,
        "search_error": recipe.search_error,
        "fresh_seeds": found["validation_error"],
        "runs": found["runs"],
        "optimism": round(found["validation_error"]["mean"] - recipe.search_error, DECIMALS),
    }


def _tell(body: dict[str, Any], tell: Callable[[str], None]) -> None:
    for one in body["candidates"]:
        found = one["validation_error"]
        told = f"{_with_spread(found)} % over {found['n']} seeds" if found else "trained with no seed"
        told += f", failed with {len(one['failed'])}" if one["failed"] else ""
        tell(f"trial {one['trial']}: {told}; the search said {one['search_error']:.2f}")
    base, found, ours = body["baseline"], body["comparison"], body["confirmed"]["validation_error"]
    tell(f"chosen: trial {body['chosen']}; over {ours['n']} further seeds {_with_spread(ours)} %")
    tell(
        f"{base['variant']} over the same seeds: {_with_spread(base['validation_error'])} %;"
        f" difference {found['mean']:+.3f} points, p = {found['p']:.3g}"
    )


def _with_spread(found: dict[str, Any]) -> str:
    deviation = found["deviation"]
    return f"{found['mean']:.2f}" + (f" ± {deviation:.2f}" if deviation is not None else "")
