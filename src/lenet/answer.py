"""The answer in plain sentences: which variant is best, by how much, and whether that is chance.

Pure: from results/evaluation.json, results/quality.json and the validation errors that the training stages kept. The
choice and the runner-up are those of validation; the test set is asked whether two networks differ, and chooses
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lenet.errors import LenetError
from lenet.evaluation.measures import PERCENT
from lenet.evaluation.over_seeds import SeedComparison, paired_over_seeds

SIGNIFICANT = 0.05
"""Level of both tests."""

CLAIM_SEEDS = 5
"""Paired seeds from which on a difference of recipes may be claimed (CONTRIBUTING.md, figures)."""

ErrorsBySeed = Mapping[str, Mapping[int, float]]
"""For each variant its validation error in percent, by seed."""


@dataclass(frozen=True)
class Answer:
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


def answer(evaluation: Mapping[str, Any], quality: Mapping[str, Any], errors: ErrorsBySeed) -> Answer:
    """Return which variant was chosen, by how much it is ahead, and whether chance explains that.

    Args:
        evaluation: results/evaluation.json.
        quality: results/quality.json, for its `pairs`; nothing is said of two that it did not compare.
        errors: validation errors by seed; variants may have different seeds, the shared ones are paired.
    """
    best, *others = ranking(evaluation)
    validation, test = evaluation["variants"][best]["validation_error"], evaluation["variants"][best]["test_error"]
    chosen = (
        f"{best} was chosen: {with_spread(validation)} % validation error (mean ± standard deviation, n ="
        f" {seeds(validation['n'])}). It misreads {with_spread(test)} % of the {evaluation['images']:,} test images."
    )
    if not others:
        return Answer(f"{chosen} No other variant was trained.", ())
    second = others[0]
    behind = evaluation["variants"][second]["validation_error"]
    gap = f"The runner-up on validation is {second} with {with_spread(behind)} % (n = {seeds(behind['n'])})"
    compared = compare_on_seeds(errors, best, second, evaluation["confidence"])
    recipes = _told_seeds(compared, best, second, len(others) + 1)
    networks = _told_images(quality["pairs"], best, second, evaluation)
    return Answer(
        f"{chosen} {gap}. {_verdict(compared, second)}",
        (recipes, *networks, *_lower_on_test(evaluation, best)),
    )


def compare_on_seeds(errors: ErrorsBySeed, a: str, b: str, confidence: float) -> SeedComparison | str:
    """Return the paired t-test of a's validation error against b's over the shared seeds, or why there is none."""
    shared = sorted(set(errors[a]) & set(errors[b]))
    try:
        return paired_over_seeds([errors[a][seed] for seed in shared], [errors[b][seed] for seed in shared], confidence)
    except LenetError as error:
        return str(error)


def _verdict(found: SeedComparison | str, second: str) -> str:
    """Return the last sentence of the lead: whether it is chance."""
    if isinstance(found, str):
        return "Whether the difference is chance cannot be said: no two seeds or more that both were trained with."
    if found.p >= SIGNIFICANT:
        return f"That difference may well be chance: over {found.n} shared seeds, p = {found.p:.2g}."
    if found.mean > 0:
        return f"Over the {found.n} shared seeds {second} is the better one (p = {found.p:.2g}): train both with more."
    if found.n < CLAIM_SEEDS:
        return (
            f"Over {found.n} shared seeds chance would seldom show as much (p = {found.p:.2g}), but so few seeds carry"
            f" no claim; {CLAIM_SEEDS} or more would."
        )
    return f"Chance would seldom show as much: over {found.n} shared seeds, p = {found.p:.2g}."


def _told_seeds(found: SeedComparison | str, best: str, second: str, contestants: int) -> str:
    if isinstance(found, str):
        return f"Recipes, over seeds: {best} and {second} cannot be compared ({found})."
    side = "lower" if found.mean < 0 else "higher"
    half = (found.high - found.low) / 2
    told = (
        f"Recipes, over seeds: paired over the {found.n} seeds that both were trained with, {best}'s validation error"
        f" is {abs(found.mean):.2f} points {side} than {second}'s ({PERCENT * found.confidence:g} % interval"
        f" {found.low:+.2f} to {found.high:+.2f}, paired t-test p = {found.p:.2g})."
    )
    if found.p >= SIGNIFICANT:
        told += f" {found.n} seeds with this spread could have shown some {half:.2f} points or more, and no less."
    if contestants > 2:
        told += f" The best of {contestants} was picked by the same figures, so p is too small rather than too large."
    if found.n < CLAIM_SEEDS:
        told += f" {found.n} seeds say little; with {CLAIM_SEEDS} or more (seeds in params.yaml) the test has a chance."
    return told


def _told_images(
    pairs: Sequence[Mapping[str, Any]], best: str, second: str, evaluation: Mapping[str, Any]
) -> tuple[str, ...]:
    pair = next((one for one in pairs if {one["a"], one["b"]} == {best, second}), None)
    if pair is None:
        return ()
    sign = 1 if pair["a"] == best else -1
    only_best, only_second = (pair["only_a"], pair["only_b"])[::sign]
    low, high = sorted(sign * limit for limit in pair["interval"])
    verdict = "chance explains that" if pair["holm_p"] >= SIGNIFICANT else "chance would seldom do that"
    adjusted = f", {pair['holm_p']:.2g} after Holm for {len(pairs)} comparisons" if len(pairs) > 1 else ""
    told = (
        f"Networks, on the test images: of the network of each with the lowest validation error, {best}'s alone"
        f" misreads {only_best} of {evaluation['images']:,} images and {second}'s alone {only_second}, a difference of"
        f" {sign * pair['difference']:+.2f} points ({PERCENT * evaluation['confidence']:g} % interval {low:+.2f} to"
        f" {high:+.2f}; McNemar's exact test, p = {pair['p']:.2g}{adjusted}): {verdict}. This speaks of two networks,"
        " not of two recipes, and has chosen nothing."
    )
    return (told,)


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
