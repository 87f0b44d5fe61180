"""The refit: the search's best few recipes trained with several seeds, since the best of many single seeds is lucky.

The lowest of many noisy values understates what its recipe gives (the winner's curse): it is chosen for its luck as
well as for its merit. So the best few are trained again with more seeds, the choice is made on the means, and the
difference between the search's value and the mean over fresh seeds is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lenet.asking import Origin
from lenet.config import Config, parse_config
from lenet.durable import read_json, write_json
from lenet.errors import LenetError
from lenet.evaluation.measures import spread
from lenet.evaluation.over_seeds import paired_over_seeds
from lenet.parallel import Wish, ask_all
from lenet.pipeline import REFIT, SEARCH, SEARCHED, Params, read_variant
from lenet.project import Project
from lenet.runs import RunFolder
from lenet.search.findings import CANDIDATES
from lenet.search.trial import MEASURE
from lenet.stages import PIPELINE, write_variant

DECIMALS = 4
"""Of an error in percent."""


@dataclass(frozen=True)
class Refitted:
    """A recipe with all its seeds.

    Attributes:
        trial: the trial that proposed it.
        search_error: the search's own value of it, in percent, of one seed.
        runs: config and run of each seed.
    """

    trial: int
    search_error: float
    runs: list[tuple[Config, RunFolder]]

    @property
    def errors(self) -> dict[int, float]:
        """Validation error in percent, by seed."""
        return {config.seed: folder.headline()[MEASURE] for config, folder in self.runs}

    @property
    def fingerprints(self) -> dict[str, str]:
        """Each run's fingerprint, by seed."""
        return _fingerprints(self.runs)


def refit(project: Project, params: Params, tell: Callable[[str], None]) -> None:
    """Train the search's best recipes with every seed, choose by the mean, and compare with the baseline.

    Writes the chosen recipe's weights, curves and measures like any variant's, and results/refit.json.

    Raises:
        LenetError: the search left no candidate.
        RunFailedError: a training failed for a reason of its own.
    """
    found = read_json(project.root / SEARCH / CANDIDATES)["candidates"][: params.refit.candidates]
    if not found:
        raise LenetError(f"{SEARCH / CANDIDATES}: the search left no candidate; give it more trials")
    seeds, baseline_name = params.refit.seeds, params.refit.baseline
    baseline_configs = [read_variant(project, baseline_name, seed) for seed in seeds]
    budget = baseline_configs[0].trainer
    wishes = [Wish(config, Origin(f"{baseline_name} seed={config.seed}", PIPELINE)) for config in baseline_configs]
    fresh: list[Wish] = []
    for number, candidate in enumerate(found):
        config = replace(parse_config(candidate["config"]), name=SEARCHED)
        full = replace(config, trainer=replace(config.trainer, epochs=budget.epochs))
        wishes += [_wish(full.with_seed(seed), candidate["trial"]) for seed in seeds]
        if number == 0:  # the same budget as the search's, with seeds that it has not seen
            fresh = [_wish(config.with_seed(seed), candidate["trial"]) for seed in seeds if seed != config.seed]
    outcomes = ask_all(project, [*wishes, *fresh], params.search.workers, tell)
    runs = [(wish.config, outcome.folder) for wish, outcome in zip([*wishes, *fresh], outcomes, strict=True)]
    blocks = [runs[start : start + len(seeds)] for start in range(0, len(wishes), len(seeds))]
    baseline = Refitted(-1, float("nan"), blocks[0])
    candidates = [Refitted(one["trial"], one["val_error"], block) for one, block in zip(found, blocks[1:], strict=True)]
    best = min(candidates, key=lambda one: spread(list(one.errors.values())).mean)
    write_variant(project, SEARCHED, best.runs)
    body = _body(candidates, best, baseline, baseline_name, runs[len(wishes) :], budget.epochs, found[0])
    write_json(project.root / REFIT, body)
    _tell(body, tell)


def _fingerprints(runs: Sequence[tuple[Config, RunFolder]]) -> dict[str, str]:
    return {str(config.seed): folder.fingerprint for config, folder in runs}


def _wish(config: Config, trial: int) -> Wish:
    return Wish(config, Origin(f"{SEARCHED} trial={trial} seed={config.seed}", PIPELINE))


def _body(
    candidates: Sequence[Refitted],
    best: Refitted,
    baseline: Refitted,
    baseline_name: str,
    fresh: Sequence[tuple[Config, RunFolder]],
    epochs: int,
    first: dict[str, Any],
) -> dict[str, Any]:
    ours, theirs = list(best.errors.values()), list(baseline.errors.values())
    fresh_errors = [folder.headline()[MEASURE] for _, folder in fresh]
    fresh_spread = spread(fresh_errors)
    return {
        "epochs": epochs,
        "chosen": best.trial,
        "candidates": [
            {
                "trial": one.trial,
                "search_error": one.search_error,
                "validation_error": asdict(spread(list(one.errors.values()))),
                "by_seed": {str(seed): error for seed, error in one.errors.items()},
                "runs": one.fingerprints,
            }
            for one in candidates
        ],
        "baseline": {
            "variant": baseline_name,
            "validation_error": asdict(spread(theirs)),
            "by_seed": {str(seed): error for seed, error in baseline.errors.items()},
            "runs": baseline.fingerprints,
        },
        "paired": asdict(paired_over_seeds(ours, theirs)),
        "winners_curse": {
            "trial": first["trial"],
            "epochs": first["epochs"],
            "search_error": first["val_error"],
            "fresh_seeds": asdict(fresh_spread),
            "runs": _fingerprints(fresh),
            "optimism": round(fresh_spread.mean - first["val_error"], DECIMALS),
        },
    }


def _tell(body: dict[str, Any], tell: Callable[[str], None]) -> None:
    for one in body["candidates"]:
        found = one["validation_error"]
        tell(
            f"trial {one['trial']}: {found['mean']:.2f} ± {found['deviation']:.2f} % over {found['n']} seeds,"
            f" the search said {one['search_error']:.2f}"
        )
    base, paired = body["baseline"], body["paired"]
    tell(f"{base['variant']}: {base['validation_error']['mean']:.2f} % over {base['validation_error']['n']} seeds")
    tell(f"chosen: trial {body['chosen']}; difference {paired['mean']:+.3f} points, p = {paired['p']:.3g}")
