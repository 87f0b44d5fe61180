from __future__ import annotations

import pytest

from lenet.gate.evaluate import JUDGED_ON, count_gate_uses
from lenet.registry.history import Action, HistoryEntry, VersionRef
from lenet.registry.versions import Version
from lenet.tracking.store import WEIGHTS_TAG

TEST, OTHER_TEST = "t" * 64, "o" * 64


def party(weights: str) -> VersionRef:
    return VersionRef(
        version="1", variant="", seed="", fingerprint="", weights_sha256=weights, git_commit="", data_digest=""
    )


def entry(new: str, old: str | None, action: Action = "promote", test: str | None = TEST) -> HistoryEntry:
    other = party(old) if old else None
    return HistoryEntry(1, action, "digits", "mlflow.db", "", "", old=other, new=party(new), test_digest=test)


def version(weights: str, judged_on: str | None) -> Version:
    tags = {WEIGHTS_TAG: weights} | ({JUDGED_ON: judged_on} if judged_on else {})
    return Version("digits", "1", (), tags, "", "", 0.0, "")


@pytest.mark.parametrize(
    ("entries", "uses"),
    [
        ([], 0),
        ([entry("a", None), entry("b", "a")], 2),
        ([entry("b", "a"), entry("b", "a", "refuse")], 1),  # one question, whatever came of it
        ([entry("c", "a"), entry("c", "a")], 0),  # the very question that is asked now
        ([entry("a", "c")], 1),  # the other way round it is another
        ([entry("b", "a", test=OTHER_TEST)], 0),
        ([entry("b", "a", "rollback"), entry("b", "a", "restore", None)], 0),  # no image was read for these
        ([HistoryEntry(1, "damaged", "", "", "", "")] * 2, 2),
    ],
)
def test_uses_are_the_other_pairs_that_were_judged_by_these_images(entries: list[HistoryEntry], uses: int) -> None:
    assert count_gate_uses(entries, [], TEST, ("c", "a")) == uses


@pytest.mark.parametrize(
    ("weights", "judged_on", "uses"),
    [("d", TEST, 2), ("d", OTHER_TEST, 1), ("d", None, 1), ("b", TEST, 1), ("c", TEST, 1)],
)
def test_versions_count_that_no_entry_tells_of(weights: str, judged_on: str | None, uses: int) -> None:
    assert count_gate_uses([entry("b", "a")], [version(weights, judged_on)], TEST, ("c", "a")) == uses
