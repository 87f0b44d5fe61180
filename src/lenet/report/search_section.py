"""What the report says of the search and the refit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lenet.evaluation.metrics import SIGNIFICANT
from lenet.evaluation.stats.welch import CLAIM_SEEDS
from lenet.report.document import Table
from lenet.runs.run_dir import SHORT

CAPTIONS = {
    "history.png": "Each trial's validation error, and the best so far",
    "importance.png": "What sets the best trials apart from the others, by field",
    "parallel.png": "Every complete trial across the fields",
    "learning.png": "Each trial's validation error by epoch",
    "front.png": "What no other trial beats in both objectives",
}


def search_paragraphs(summary: dict[str, Any], refit: dict[str, Any]) -> tuple[str, ...]:
    """Return what came of the search: its size, the choice, the comparison, the winner's curse."""
    trials, found, curse, base = summary["trials"], refit["comparison"], refit["winners_curse"], refit["baseline"]
    saved = 100 * (1 - summary["epochs"] / summary["epochs_unpruned"]) if summary["epochs_unpruned"] else 0.0
    better = "lower" if found["mean"] < 0 else "higher"
    fresh = curse["fresh_seeds"]
    most = max(len(one["runs"]) + len(one["failed"]) for one in refit["candidates"])
    return (
        f"{summary['sampler'].upper()} proposed {trials['all']} trials, of which {trials['pruned']} were ended early"
        f" ({summary['pruner']}), which saved {saved:.0f} % of the epochs. The best {len(refit['candidates'])} recipes"
        f" were trained again with {most} seeds on {refit['epochs']} epochs; trial {refit['chosen']} has the"
        " lowest mean validation error.",
        f"What it is worth is told by {found['n_a']} further seeds, which chose nothing; with these it is evaluated as"
        f" “refitted”. Its validation error is {abs(found['mean']):.2f} points {better} than {base['variant']}'s with"
        f" {found['n_b']} seeds ({100 * found['confidence']:g} % interval {found['low']:+.2f} to {found['high']:+.2f},"
        f" Welch's test p = {found['p']:.2g}): {_shown(found)}. The p speaks of seeds only: the same validation digits"
        " served the search, the refit and this comparison. The test images, which chose nothing, are asked under “Is"
        " it chance?”.",
        f"The winner's curse: the search's best single value was {curse['search_error']:.2f} % (trial"
        f" {curse['trial']}); the same recipe with {fresh['n']} fresh seeds and the same {curse['epochs']} epochs gives"
        f" {_with_spread(fresh)} %. The search was {curse['optimism']:+.2f} points too hopeful.",
    )


def _shown(found: dict[str, Any]) -> str:
    if min(found["n_a"], found["n_b"]) < CLAIM_SEEDS:
        return f"so few seeds carry no claim, {CLAIM_SEEDS} or more would"
    return "chance would seldom show as much" if found["p"] < SIGNIFICANT else "a difference is not shown"


def refit_table(refit: dict[str, Any]) -> Table:
    """Return the refitted recipes, lowest mean first, and the comparison of the chosen one with the baseline."""
    rows = [
        (_named(one), f"{one['search_error']:.2f}", one["validation_error"])
        for one in sorted(refit["candidates"], key=_mean)
    ]
    rows.append((f"trial {refit['chosen']}, further seeds", "–", refit["confirmed"]["validation_error"]))
    rows.append((f"{refit['baseline']['variant']}, the same seeds", "–", refit["baseline"]["validation_error"]))
    return Table(
        ("recipe", "the search's value %", "validation error %", "seeds"),
        [
            (name, searched, _with_spread(found), str(found["n"])) if found else (name, searched, "–", "0")
            for name, searched, found in rows
        ],
    )


def _mean(candidate: dict[str, Any]) -> float:
    found = candidate["validation_error"]
    return float(found["mean"]) if found and not candidate["failed"] else math.inf


def _named(candidate: dict[str, Any]) -> str:
    failed = candidate["failed"]
    return f"trial {candidate['trial']}" + (f" (failed with seed {', '.join(map(str, failed))})" if failed else "")


def refit_runs(summary: dict[str, Any], refit: dict[str, Any], trials: str) -> dict[str, list[str]]:
    """Return the runs behind these figures, by recipe, as starts of fingerprints; the search's are in `trials`."""
    recipes = {f"trial {one['trial']}": one["runs"] for one in refit["candidates"]}
    recipes[f"trial {refit['chosen']}, further seeds"] = refit["confirmed"]["runs"]
    recipes[refit["baseline"]["variant"]] = refit["baseline"]["runs"]
    curse = refit["winners_curse"]
    found = {name: [run[:SHORT] for run in by_seed.values()] for name, by_seed in recipes.items()}
    found[f"fresh seeds of trial {curse['trial']}"] = [run[:SHORT] for run in curse["runs"].values()]
    found["the search's best"] = [summary["best"]["run"][:SHORT]]
    return found | {f"those of all trials stand in {trials}": []}


def search_pictures(folder: Path) -> tuple[tuple[Path, str], ...]:
    """Return the search's pictures with their captions, as far as there are any."""
    return tuple((folder / name, caption) for name, caption in CAPTIONS.items() if (folder / name).is_file())


def _with_spread(measure: dict[str, Any]) -> str:
    if measure["deviation"] is None:
        return f"{measure['mean']:.2f}"
    return f"{measure['mean']:.2f} ± {measure['deviation']:.2f}"
