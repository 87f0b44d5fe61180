"""The gate: decide from the predictions of challenger, champion and reference whether the challenger becomes champion.

A pure function: the same predictions give the same decision. "Higher accuracy wins" promotes an equal network almost
half of the time; this gate requires a challenger to pass every one of these checks:

- floor: its error stays below a fixed one, the upper limit of chance included;
- champion, reference: it is not worse than either by the margin or more (the reference never changes; without it a
  chain of promotions, each within the margin, could lead downhill);
- classes: in no class it is significantly worse than the champion;
- quality: it is better than the champion by more than chance, or there is a stated reason to replace it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lenet.config.params import Thresholds
from lenet.core.errors import LenetError
from lenet.evaluation.metrics import PERCENT, exact_interval
from lenet.evaluation.stats.mcnemar import holm, mcnemar, mcnemar_worse
from lenet.evaluation.stats.noninferiority import noninferiority
from lenet.evaluation.stats.pairs import PairedCounts, count_pairs
from lenet.gate.decision import QUALITY, Check, GateDecision, Outcome

Predictions = NDArray[np.floating] | NDArray[np.integer]
"""Logits, float [n, classes], or predicted classes, integer [n]."""

Misclassified = NDArray[np.bool_]


def decide(
    labels: NDArray[np.integer],
    challenger: Predictions,
    champion: Predictions | None,
    reference: Predictions | None,
    thresholds: Thresholds,
    *,
    reason: str | None = None,
    gate_uses: int = 0,
    classes: tuple[str, ...] = (),
) -> GateDecision:
    """Decide whether the challenger becomes champion.

    Args:
        labels: integer [n].
        challenger: its predictions for images that it was not selected by.
        champion: those of the champion for the same images; None where there is no champion yet.
        reference: those of a network that never changes; None where there is none.
        thresholds: the gate's thresholds.
        reason: why the champion should be replaced by one that is no better, such as "new data" or "security"; it
            spares the challenger the check for quality and no other.
        gate_uses: how often these images were used for a decision before.
        classes: names of the classes, for messages; default: their numbers.

    Raises:
        LenetError: predictions and labels do not belong together, a logit is not finite, or the reason is blank.
    """
    if reason is not None and not reason.strip():
        raise LenetError("the reason is blank: state in a few words why the champion should be replaced")
    if labels.ndim != 1 or not labels.size or not np.issubdtype(labels.dtype, np.integer):
        raise LenetError(f"labels {labels.dtype}{list(labels.shape)} are not integer [n] with at least one image")
    n = len(labels)
    predicted = _classes("challenger", challenger, labels)
    wrong = predicted != labels
    checks, discordant = [_floor(int(np.count_nonzero(wrong)), n, thresholds)], None
    if champion is not None:
        other = _classes("champion", champion, labels)
        if reason is None and np.array_equal(predicted, other):
            alike = Check("difference", False, f"challenger and champion classify all {n:,} images alike")
            return GateDecision("nothing to decide", (alike,), reason, n, gate_uses, thresholds)
        counts = count_pairs(wrong, other != labels)
        discordant = counts.only_a + counts.only_b
        checks.append(_no_worse("champion", counts, thresholds))
    if reference is not None:
        fixed = _classes("reference", reference, labels)
        checks.append(_no_worse("reference", count_pairs(wrong, fixed != labels), thresholds))
    if champion is not None:
        checks.append(_each_class(labels, wrong, other != labels, thresholds, classes))
        checks.append(_quality(counts, reason, thresholds))
    outcome: Outcome = "promote" if all(check.passed for check in checks) else "refuse"
    return GateDecision(outcome, tuple(checks), reason, n, gate_uses, thresholds, discordant)


def _classes(name: str, predictions: Predictions, labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the predicted classes, integer [n]; of equal logits the first."""
    if predictions.shape[:1] != labels.shape or predictions.ndim > 2:
        shape = f"predictions {list(predictions.shape)} for {len(labels):,} labels"
        raise LenetError(f"{name}: {shape}; predict the same images again")
    if predictions.ndim == 1:
        if not np.issubdtype(predictions.dtype, np.integer):
            raise LenetError(f"{name}: {predictions.dtype} [n] are no classes; give integer [n] or logits [n, classes]")
        return predictions.astype(np.int64)
    if not np.isfinite(predictions).all():
        raise LenetError(f"{name}: a logit is not finite; the gate cannot judge a network that diverged")
    return np.asarray(predictions.argmax(axis=1))


def _floor(wrong: int, n: int, thresholds: Thresholds) -> Check:
    # The upper end of the two-sided interval of 2c - 1 is the one-sided limit of c.
    upper = exact_interval(wrong, n, 2 * thresholds.confidence - 1)[1]
    error = f"misclassifies {wrong:,} of {n:,} images ({PERCENT * wrong / n:.2f} %), at most {upper:.2f} %"
    floor = thresholds.floor_error_percent
    required = f"required: below {floor:.2f} %, the floor for this data set (params.yaml)"
    return Check("floor", upper < floor, f"{error} {_confidence(thresholds)}; {required}")


def _no_worse(name: str, counts: PairedCounts, thresholds: Thresholds) -> Check:
    found = noninferiority(counts, thresholds.margin_points, thresholds.confidence)
    difference = f"error {counts.error_a:.2f} %, the {name}'s {counts.error_b:.2f} %: {found.difference:+.2f} points"
    limit = f"at most {found.upper:+.3f} {_confidence(thresholds)}; required: below {found.margin:+.3f} ({_p(found.p)})"
    return Check(name, found.passed, f"{difference}, {limit}")


def _each_class(
    labels: NDArray[np.integer],
    wrong: Misclassified,
    other: Misclassified,
    thresholds: Thresholds,
    names: tuple[str, ...],
) -> Check:
    numbers, index, images = np.unique(labels, return_inverse=True, return_counts=True)
    only_a = np.bincount(index[wrong & ~other], minlength=len(numbers)).tolist()
    only_b = np.bincount(index[other & ~wrong], minlength=len(numbers)).tolist()
    adjusted = holm([mcnemar_worse(a, b) for a, b in zip(only_a, only_b, strict=True)])
    ranked = sorted(range(len(numbers)), key=lambda k: adjusted[k])
    worse = [k for k in ranked if adjusted[k] < thresholds.alpha]
    details = "; ".join(
        f"class {names[numbers[k]] if names else numbers[k]}: of {images[k]:,} images the challenger alone"
        f" misclassifies {only_a[k]:,}, the champion alone {only_b[k]:,} ({_p(adjusted[k])} after Holm)"
        for k in worse or ranked[:1]
    )
    if worse:
        return Check("classes", False, f"worse by more than chance in {details}")
    return Check("classes", True, f"none of {len(numbers)} is worse by more than chance; closest is {details}")


def _quality(counts: PairedCounts, reason: str | None, thresholds: Thresholds) -> Check:
    p = mcnemar(counts.only_a, counts.only_b)
    line = (
        f"the challenger alone misclassifies {counts.only_a:,}, the champion alone {counts.only_b:,} (McNemar {_p(p)})"
    )
    if reason is not None:
        return Check(QUALITY, True, f"{line}; not required with a stated reason: {' '.join(reason.split())}")
    required = f"required: fewer than the champion, p < {thresholds.alpha:g}"
    return Check(QUALITY, counts.only_a < counts.only_b and p < thresholds.alpha, f"{line}; {required}")


def _confidence(thresholds: Thresholds) -> str:
    return f"with {PERCENT * thresholds.confidence:g} % confidence"


def _p(p: float) -> str:
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.3g}"
