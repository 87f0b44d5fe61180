from __future__ import annotations

import pytest

from lenet.gate.evaluate import count_gate_uses
from lenet.registry.history import Action, HistoryEntry, VersionRef

TEST, OTHER_TEST = "t" * 64, "o" * 64


def ref(weights: str) -> VersionRef:
    return VersionRef(
        version="1", variant="", seed="", fingerprint="", weights_sha256=weights, git_commit="", data_digest=""
    )


def entry(new: str, old: str | None, action: Action = "promote", test: str | None = TEST) -> HistoryEntry:
    other = ref(old) if old else None
    return HistoryEntry(1, action, "classifier", "mlflow.db", "", "", old=other, new=ref(new), test_digest=test)


@pytest.mark.parametrize(
    ("entries", "uses"),
    [
        ([], 0),
        ([entry("a", None), entry("b", "a")], 2),
        ([entry("b", "a"), entry("b", "a", "refuse")], 1),  # one comparison, whatever its result
        ([entry("c", "a"), entry("c", "a")], 0),  # the comparison that is made now
        ([entry("a", "c")], 1),  # the other way round it is another
        ([entry("b", "a", test=OTHER_TEST)], 0),
        ([entry("b", "a", "rollback"), entry("b", "a", "restore", None)], 0),  # no image was used for these
        ([HistoryEntry(1, "damaged", "", "", "", "")] * 2, 2),
    ],
)
def test_uses_are_the_other_pairs_that_were_compared_on_these_images(entries: list[HistoryEntry], uses: int) -> None:
    assert count_gate_uses(entries, TEST, ("c", "a")) == uses
