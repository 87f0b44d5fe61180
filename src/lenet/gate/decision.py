"""What the gate asks for, and what it decided and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lenet.config.params import Thresholds

Outcome = Literal["promote", "refuse", "nothing to decide"]

QUALITY = "quality"
"""The check that asks for more than being no worse."""


@dataclass(frozen=True)
class Check:
    """One thing that the gate looked at.

    Attributes:
        name: floor, champion, reference, classes, quality, or difference where there is none.
        passed: whether it speaks for promotion.
        line: why, in plain English with the numbers.
    """

    name: str
    passed: bool
    line: str


@dataclass(frozen=True)
class GateDecision:
    """What the gate decided and why.

    Attributes:
        outcome: nothing is to be decided where challenger and champion cannot be told apart at all.
        reasons: the checks, in the order in which they were made.
        stated_reason: why the champion should go even for one that is no better, or None.
        images: how many the verdict stands on.
        gate_uses: how often these images had been used for a verdict before.
        thresholds: what was asked for.
        discordant: images that challenger or champion alone misreads; None where there is no champion.
    """

    outcome: Outcome
    reasons: tuple[Check, ...]
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
    def is_worse(self) -> bool:
        """Whether the challenger failed a check that it is good enough; not to be shown better is no such failure."""
        return self.outcome == "refuse" and any(one.name != QUALITY for one in self.reasons if not one.passed)

    @property
    def wear(self) -> str:
        """What the uses of these images add up to, as a line."""
        # Boole's inequality: true whatever the challengers have in common. Half of alpha, since a test's false alarms
        # are as often in the champion's favour.
        tried = self.gate_uses + 1
        chance = f"{100 * min(1.0, tried * self.thresholds.alpha / 2):.1f} %"
        if tried == 1:
            return f"first use of these {self.images:,} images: one no better passes for quality in at most {chance}"
        uses = f"these {self.images:,} images were used {self.gate_uses:,} time{'s' * (tried > 2)} before"
        return (
            f"{uses}: that one of {tried:,} no better than the champion passes for quality is at most {chance} likely"
        )

    @property
    def risk(self) -> str | None:
        """What a stated reason lets through by design, as a line; None where there is none, or no champion."""
        if self.stated_reason is None or self.discordant is None:
            return None
        from lenet.evaluation.stats.noninferiority import pass_probability

        margin, confidence = self.thresholds.margin_points, self.thresholds.confidence
        equal, half, whole = (
            f"{100 * pass_probability(self.images, self.discordant, worse, margin, confidence):.0f} %"
            for worse in (0.0, margin / 2, margin)
        )
        return (
            f"risk of a stated reason: of networks as good as the champion {equal} pass the check against it, of those"
            f" worse by {margin / 2:g} points {half}, by {margin:g} points {whole} ({self.images:,} images, of which"
            f" one of the two alone misreads {self.discordant:,})"
        )

    def lines(self) -> tuple[str, ...]:
        """Return the verdict as lines for a terminal: the outcome, each check, and what else to know."""
        checks = (f"{'passed' if check.passed else 'failed'} {check.name}: {check.line}" for check in self.reasons)
        return (self.outcome, *checks, *self.notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know beside the checks: the risk of a stated reason, and the use of the images."""
        risk = self.risk
        return (self.wear,) if risk is None else (risk, self.wear)

    def tree(self) -> dict[str, Any]:
        """Return the verdict as JSON takes it."""
        return {
            "outcome": self.outcome,
            "promote": self.promote,
            "checks": [asdict(check) for check in self.reasons],
            "stated_reason": self.stated_reason,
            "images": self.images,
            "gate_uses": self.gate_uses,
            "gate_wear": self.wear,
            "risk": self.risk,
            "thresholds": asdict(self.thresholds),
        }
