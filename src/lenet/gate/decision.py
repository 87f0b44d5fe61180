"""The gate's decision with its reasons."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lenet.config.params import Thresholds
from lenet.evaluation.stats.noninferiority import pass_probability

Outcome = Literal["promote", "refuse", "nothing to decide"]

QUALITY = "quality"
"""The check that requires more than being no worse."""


@dataclass(frozen=True)
class Check:
    """One check of the gate.

    Attributes:
        name: floor, champion, reference, classes, quality, or difference where there is none.
        passed: whether it speaks for promotion.
        line: why, in one sentence with the numbers.
    """

    name: str
    passed: bool
    line: str


@dataclass(frozen=True)
class GateDecision:
    """The gate's decision with its reasons.

    Attributes:
        outcome: "nothing to decide" where challenger and champion classify every image alike.
        checks: in the order in which they were made.
        stated_reason: why the champion should be replaced by one that is no better, or None.
        images: number of test images.
        gate_uses: how often these images were used for a decision before.
        thresholds: the gate's thresholds.
        discordant: images that challenger or champion alone misclassifies; None where there is no champion.
    """

    outcome: Outcome
    checks: tuple[Check, ...]
    stated_reason: str | None
    images: int
    gate_uses: int
    thresholds: Thresholds
    discordant: int | None = None

    @property
    def promote(self) -> bool:
        """Whether the challenger becomes champion."""
        return self.outcome == "promote"

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(check.name for check in self.checks if not check.passed)

    @property
    def is_worse(self) -> bool:
        """Whether the challenger failed a check of being good enough; quality, being shown better, is none."""
        return self.outcome == "refuse" and any(name != QUALITY for name in self.failed)

    @property
    def reuse(self) -> str:
        """How likely a false promotion is after all uses of these images, as a line."""
        # Boole's inequality: true whatever the challengers have in common. Half of alpha, since a test's false alarms
        # are as often in the champion's favour.
        count = self.gate_uses + 1
        chance = f"{100 * min(1.0, count * self.thresholds.alpha / 2):.1f} %"
        if count == 1:
            return (
                f"first use of these {self.images:,} test images: a challenger that is no better passes the check for"
                f" quality with a probability of at most {chance}"
            )
        return (
            f"these {self.images:,} test images were used {self.gate_uses:,} time{'s' * (count > 2)} before: the"
            f" probability that one of {count:,} challengers that are no better passes the check for quality is at most"
            f" {chance}"
        )

    @property
    def risk(self) -> str | None:
        """What a stated reason lets through by design, as a line; None without a reason or without a champion."""
        if self.stated_reason is None or self.discordant is None:
            return None
        margin, confidence = self.thresholds.margin_points, self.thresholds.confidence
        equal, half, whole = (
            f"{100 * pass_probability(self.images, self.discordant, worse, margin, confidence):.0f} %"
            for worse in (0.0, margin / 2, margin)
        )
        return (
            f"risk of a stated reason: of networks as good as the champion {equal} pass the check against it, of those"
            f" worse by {margin / 2:g} points {half}, by {margin:g} points {whole} ({self.images:,} images, of which"
            f" one of the two alone misclassifies {self.discordant:,})"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know beside the checks: the risk of a stated reason, and the uses of the images."""
        return (self.reuse,) if self.risk is None else (self.risk, self.reuse)

    def lines(self) -> tuple[str, ...]:
        """Return the checks and the notes as lines for a terminal."""
        checks = (f"{'passed' if check.passed else 'failed'} {check.name}: {check.line}" for check in self.checks)
        return (*checks, *self.notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON."""
        return {
            "outcome": self.outcome,
            "promote": self.promote,
            "checks": [asdict(check) for check in self.checks],
            "stated_reason": self.stated_reason,
            "images": self.images,
            "gate_uses": self.gate_uses,
            "reuse": self.reuse,
            "risk": self.risk,
            "thresholds": asdict(self.thresholds),
        }
