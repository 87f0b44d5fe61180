"""The gate: from what challenger, champion and reference read of the same images to a verdict with its reasons.

Nothing is read or written here, and the same predictions give the same verdict. "Higher accuracy wins" promotes an
equal network almost half of the time; this gate asks a challenger to pass every one of these:

- floor: its error stays below a fixed one, the upper limit of chance included;
- champion, reference: it is not worse than either by the margin or more (the reference never changes; without it a
  chain of promotions, each within the margin, could lead downhill);
- classes: it is in no class significantly worse than the champion;
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
"""Logits, float [n, classes], or the classes that were read, integer [n]."""

Misread = NDArray[np.bool_]


def decide(
    labels: NDArray[np.integer],
    challenger: Predictions,
    champion: Predictions | None,
    reference: Predictions | None,
    thresholds: Thresholds,
    *,
    reason: str | None = None,
    same_weights: bool = False,
    gate_uses: int = 0,
) -> GateDecision:
    """Decide whether the challenger becomes champion.

    Args:
        labels: integer [n].
        challenger: its predictions for images that it was not chosen by.
        champion: those of the champion, made again for the same images; None where there is no champion yet.
        reference: those of a network that never changes; None where there is none.
        thresholds: what to ask for.
        reason: why the champion should go even for one that is no better, such as "new data" or "security"; it spares
            the challenger the check for quality and no other.
        same_weights: whether challenger and champion are the same bytes.
        gate_uses: how often these images were used for a verdict before.

    Raises:
        LenetError: predictions and labels do not belong together, a logit is not finite, or the reason is blank.
    """
    if reason is not None and not reason.strip():
        raise LenetError("the reason is blank: say in a few words why the champion should be replaced")
    if gate_uses < 0:
        raise LenetError(f"gate_uses={gate_uses}: must be at least 0")
    if labels.ndim != 1 or not labels.size or not np.issubdtype(labels.dtype, np.integer):
        raise LenetError(f"labels {labels.dtype}{list(labels.shape)} are not integer [n] with at least one image")
    n = len(labels)
    read = _read("challenger", challenger, labels)
    wrong = read != labels
    checks, last = [_floor(int(np.count_nonzero(wrong)), n, thresholds)], []
    if champion is not None:
        other = _read("champion", champion, labels)
        if same_weights or (reason is None and np.array_equal(read, other)):
            line = "have the same weights" if same_weights else f"read all of {n:,} images alike"
            alike = Check("difference", False, f"challenger and champion {line}")
            return GateDecision("nothing to decide", (alike,), reason, n, gate_uses, thresholds)
        counts = count_pairs(wrong, other != labels)
        checks.append(_no_worse("champion", counts, thresholds))
        last = [_classes(labels, wrong, other != labels, thresholds), _quality(counts, reason, thresholds)]
    if reference is not None:
        frozen = _read("reference", reference, labels)
        checks.append(_no_worse("reference", count_pairs(wrong, frozen != labels), thresholds))
    checks += last
    discordant = None if champion is None else counts.only_a + counts.only_b
    outcome: Outcome = "promote" if all(check.passed for check in checks) else "refuse"
    return GateDecision(outcome, tuple(checks), reason, n, gate_uses, thresholds, discordant)


def _read(name: str, predictions: Predictions, labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the classes that were read, integer [n]; of equal logits the first is what was read."""
    if predictions.shape[:1] != labels.shape or predictions.ndim > 2:
        shape = f"predictions {list(predictions.shape)} for {len(labels):,} labels"
        raise LenetError(f"{name}: {shape}; score it again on the same images")
    if predictions.ndim == 1:
        if not np.issubdtype(predictions.dtype, np.integer):
            raise LenetError(f"{name}: {predictions.dtype} [n] are no classes; give integer [n] or logits [n, classes]")
        return predictions.astype(np.int64)
    if not np.isfinite(predictions).all():
        raise LenetError(f"{name}: a logit is not finite; a network that diverged cannot be judged")
    return np.asarray(predictions.argmax(axis=1))


def _floor(wrong: int, n: int, thresholds: Thresholds) -> Check:
    # The upper end of the two-sided interval of 2c - 1 is the one-sided limit of c.
    upper = exact_interval(wrong, n, 2 * thresholds.confidence - 1)[1]
    line = (
        f"misreads {wrong:,} of {n:,} images ({PERCENT * wrong / n:.2f} %), {_sure(thresholds)} at most {upper:.2f} %"
    )
    floor = thresholds.floor_error_percent
    return Check("floor", upper < floor, f"{line}; below {floor:.2f} % is asked for")


def _no_worse(name: str, counts: PairedCounts, thresholds: Thresholds) -> Check:
    found = noninferiority(counts, thresholds.margin_points, thresholds.confidence)
    line = f"error {counts.error_a:.2f} %, the {name}'s {counts.error_b:.2f} %: {found.difference:+.2f} points"
    limit = f"{_sure(thresholds)} at most {found.upper:+.3f}; below {found.margin:+.3f} is asked for ({_p(found.p)})"
    return Check(name, found.passed, f"{line}, {limit}")


def _classes(labels: NDArray[np.integer], wrong: Misread, other: Misread, thresholds: Thresholds) -> Check:
    classes, place, images = np.unique(labels, return_inverse=True, return_counts=True)
    only_a = np.bincount(place[wrong & ~other], minlength=len(classes)).tolist()
    only_b = np.bincount(place[other & ~wrong], minlength=len(classes)).tolist()
    adjusted = holm([mcnemar_worse(a, b) for a, b in zip(only_a, only_b, strict=True)])
    ranked = sorted(range(len(classes)), key=lambda k: adjusted[k])
    worse = [k for k in ranked if adjusted[k] < thresholds.alpha]
    told = "; ".join(
        f"class {classes[k]}: challenger alone misreads {only_a[k]:,} of {images[k]:,}, champion alone {only_b[k]:,}"
        f" ({_p(adjusted[k])} after Holm)"
        for k in worse or ranked[:1]
    )
    if worse:
        return Check("classes", False, f"worse by more than chance in {told}")
    return Check("classes", True, f"none of {len(classes)} is worse by more than chance; nearest to it {told}")


def _quality(counts: PairedCounts, reason: str | None, thresholds: Thresholds) -> Check:
    p = mcnemar(counts.only_a, counts.only_b)
    line = f"challenger alone misreads {counts.only_a:,}, champion alone {counts.only_b:,} (McNemar {_p(p)})"
    if reason is not None:
        return Check(QUALITY, True, f"{line}; not asked for, with a stated reason: {' '.join(reason.split())}")
    asked = f"p < {thresholds.alpha:g} in the challenger's favour is asked for"
    return Check(QUALITY, counts.only_a < counts.only_b and p < thresholds.alpha, f"{line}; {asked}")


def _sure(thresholds: Thresholds) -> str:
    return f"with {PERCENT * thresholds.confidence:g} % confidence"


def _p(p: float) -> str:
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.3g}"
