"""The answer in plain sentences: which variant is best, by how much, and whether that is chance.

Pure: from results/evaluation.json, results/quality.json and the validation errors that the training stages kept. The
choice and the runner-up are those of validation; the test set is asked whether two recipes differ, and chooses
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lenet.core.errors import LenetError
from lenet.evaluation.metrics import PERCENT, SIGNIFICANT
from lenet.evaluation.stats.welch import CLAIM_SEEDS, POWER, SeedComparison, welch_test

ErrorsBySeed = Mapping[str, Mapping[int, float]]
"""For each variant its validation error in percent, by seed."""


@dataclass(frozen=True)
class Summary:
    """What came out.

    Attributes:
        lead: the answer itself, a few sentences.
        grounds: what it stands on, paragraph by paragraph.
    """

    lead: str
    grounds: tuple[str, ...]


def ranking(evaluation: Mapping[str, Any]) -> list[str]:
    """Return the variants, lowest mean validation error first; the chosen one leads, of equals too."""
    choice = evaluation["choice"]["variant"]
    found = evaluation["variants"]
    return sorted(found, key=lambda name: (found[name]["validation_error"]["mean"], name != choice))


def with_spread(measure: Mapping[str, Any], decimals: int = 2) -> str:
    """Return mean ± standard deviation; the mean alone where one run shows no spread."""
    mean, deviation = measure["mean"], measure["deviation"]
    return f"{mean:.{decimals}f}" + ("" if deviation is None else f" ± {deviation:.{decimals}f}")


def seeds(count: int) -> str:
    """Return `1 seed`, `2 seeds`."""
    return f"{count} seed{'s' * (count != 1)}"


def summarize(evaluation: Mapping[str, Any], quality: Mapping[str, Any], errors: ErrorsBySeed) -> Summary:
    """Return which variant was chosen, by how much it is ahead, and whether that is more than chance.

    Args:
        evaluation: results/evaluation.json.
        quality: results/quality.json, for its `pairs`; nothing is said of two that it did not compare.
        errors: validation errors in percent by seed; variants may have different seeds.
    """
    best, *others = ranking(evaluation)
    validation, test = evaluation["variants"][best]["validation_error"], evaluation["variants"][best]["test_error"]
    chosen = (
        f"{best} was chosen: {with_spread(validation)} % validation error (mean ± standard deviation, n ="
        f" {seeds(validation['n'])}). It misreads {with_spread(test)} % of the {evaluation['images']:,} test images."
    )
    if not others:
        return Summary(f"{chosen} No other variant was trained.", ())
    second = others[0]
    behind = evaluation["variants"][second]["validation_error"]
    gap = f"The runner-up on validation is {second} with {with_spread(behind)} % (n = {seeds(behind['n'])})"
    compared = compare_on_seeds(errors, best, second, evaluation["confidence"])
    return Summary(
        f"{chosen} {gap}. {_verdict(compared, second)}",
        (
            *_told_baseline(evaluation, best),
            _told_seeds(compared, best, second, len(others) + 1),
            *_told_images(quality["pairs"], best, second, evaluation),
            *_lower_on_test(evaluation, best),
        ),
    )


def compare_on_seeds(errors: ErrorsBySeed, a: str, b: str, confidence: float) -> SeedComparison | str:
    """Return Welch's test of a's validation error against b's over their seeds, or why there is none."""
    try:
        return welch_test(list(errors[a].values()), list(errors[b].values()), confidence)
    except LenetError as error:
        return str(error)


def _verdict(found: SeedComparison | str, second: str) -> str:
    """Return the last sentence of the lead: whether it is chance."""
    if isinstance(found, str):
        return f"Whether the difference is chance cannot be said ({found})."
    over = f"over {found.n_a} and {found.n_b} seeds, p = {found.p:.2g}"
    if found.fewest < CLAIM_SEEDS:
        return f"So few seeds carry no claim ({over}): {CLAIM_SEEDS} or more of either would."
    if found.p >= SIGNIFICANT:
        return f"That difference is not shown: {over}."
    if found.mean > 0:
        return f"By all its seeds {second} is the better one ({over}): train both with more."
    return f"Chance would seldom show as much: {over}."


def _told_baseline(evaluation: Mapping[str, Any], best: str) -> tuple[str, ...]:
    """Tell the last thing that was done: the chosen recipe against the baseline on images that chose nothing."""
    found = evaluation.get("against_baseline")
    if found is None:
        return ()
    told = (
        f"On images that chose nothing: {best} against {found['baseline']}, the baseline that was named beforehand, on"
        f" the {evaluation['images']:,} test images with all seeds ({found['seeds'][0]} and {found['seeds'][1]}):"
        f" {_difference(found, evaluation)}, over images and seeds: {_told_p(found['p'], found['seeds'])}."
    )
    return (told,)


def _told_seeds(found: SeedComparison | str, best: str, second: str, evaluated_variants: int) -> str:
    if isinstance(found, str):
        return f"Recipes, over seeds: {best} and {second} cannot be compared ({found})."
    side = "lower" if found.mean < 0 else "higher"
    told = (
        f"Recipes, over seeds: {best}'s validation error is {abs(found.mean):.2f} points {side} than {second}'s"
        f" ({found.n_a} and {found.n_b} seeds, {PERCENT * found.confidence:g} % interval {found.low:+.2f} to"
        f" {found.high:+.2f}, Welch's test p = {found.p:.2g}). With this spread and so many seeds a true difference of"
        f" {found.detectable:.2f} points is found with {PERCENT * POWER:g} % power, a smaller one less often. The p"
        " speaks of seeds only: the same validation digits served every choice before it."
    )
    if evaluated_variants > 2:
        told += f" The best of {evaluated_variants} was picked by the same figures: p is too small, not too large."
    if found.fewest < CLAIM_SEEDS:
        told += f" {found.fewest} seeds show a spread and carry no claim; {CLAIM_SEEDS} or more (params.yaml) would."
    return told


def _told_images(
    pairs: Sequence[Mapping[str, Any]], best: str, second: str, evaluation: Mapping[str, Any]
) -> tuple[str, ...]:
    pair = next((one for one in pairs if {one["a"], one["b"]} == {best, second}), None)
    if pair is None:
        return ()
    if pair["a"] != best:
        low, high = pair["interval"]
        turned = {"difference": -pair["difference"], "interval": [-high, -low], "seeds": pair["seeds"][::-1]}
        pair = {**pair, **turned}
    adjusted = f", {pair['holm_p']:.2g} after Holm for {len(pairs)} comparisons" if len(pairs) > 1 else ""
    told = (
        f"On the test images, with all seeds, {best} against the runner-up {second}: {_difference(pair, evaluation)}"
        f" over images and seeds, p = {pair['p']:.2g}{adjusted}: {_told_p(pair['holm_p'], pair['seeds'], bare=True)}."
        " This has chosen nothing."
    )
    return (told,)


def _difference(found: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    low, high = found["interval"]
    return (
        f"{found['difference']:+.2f} points ({PERCENT * evaluation['confidence']:g} % interval {low:+.2f} to"
        f" {high:+.2f})"
    )


def _told_p(p: float, counts: Sequence[int], bare: bool = False) -> str:
    """Return what a p says of a difference of recipes with so many seeds, `bare` without the p itself."""
    if min(counts) < CLAIM_SEEDS:
        said = "so few seeds carry no claim"
    else:
        said = "chance would seldom do that" if p < SIGNIFICANT else "a difference is not shown"
    return said if bare else f"p = {p:.2g}, {said}"


def _lower_on_test(evaluation: Mapping[str, Any], best: str) -> tuple[str, ...]:
    """Say it where another variant has the lower test error, which a reader of the table would ask."""
    found = evaluation["variants"]
    lowest = min(found, key=lambda name: found[name]["test_error"]["mean"])
    if found[lowest]["test_error"]["mean"] >= found[best]["test_error"]["mean"]:
        return ()
    return (
        f"The lowest mean test error is {lowest}'s, {with_spread(found[lowest]['test_error'])} %. It was not chosen for"
        " that: a model chosen by the test set has no honest test error any more.",
    )
