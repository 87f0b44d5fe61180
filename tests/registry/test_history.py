from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lenet.core.errors import DamagedError
from lenet.core.project import Project
from lenet.gate.evaluate import JUDGED_ON, count_gate_uses
from lenet.registry.history import (
    CI_ACCOUNTS,
    HistoryEntry,
    VersionRef,
    close_intent,
    last_champion,
    next_number,
    read_history,
    read_intent,
    who,
    write_intent,
)
from lenet.registry.versions import Version

HOME = "mlflow.db"


def party(letter: str) -> VersionRef:
    return VersionRef("1", "lenet5", "1", letter * 64, letter * 64, "c0ffee", "d" * 64)


def entry(number: int, new: str = "a", old: str | None = None, action: str = "promote") -> HistoryEntry:
    base = HistoryEntry(number, "promote", "digits", HOME, "2026-11-22T20:00:00+00:00", "me@here")
    return replace(base, action=action, new=party(new), old=party(old) if old else None, test_digest="t")  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path) -> Project:
    return Project(tmp_path, tmp_path)


def test_an_intent_becomes_the_newest_entry(home: Project) -> None:
    assert read_intent(home) is None
    assert read_history(home) == []
    for number in (1, 2, 10_000):
        made = replace(entry(number, "b", "a"), verdict={"outcome": "promote"}, tags={"1": {"x": None}}, reason="é\n")
        write_intent(home, made)
        assert read_intent(home) == made
        close_intent(home, made)
        assert read_intent(home) is None
        assert read_history(home)[-1] == made
    assert [one.number for one in read_history(home)] == [1, 2, 10_000]
    assert next_number(read_history(home)) == 10_001
    assert {path.name for path in (home.home / "promotions").iterdir()} == {
        "0001-promote.json", "0002-promote.json", "10000-promote.json",
    }  # fmt: skip


def test_what_is_damaged_is_told_and_counted(home: Project) -> None:
    write_intent(home, entry(1))
    close_intent(home, entry(1))
    path = home.home / "promotions" / "0001-promote.json"
    path.write_text(path.read_text().replace("me@here", "you@there"))
    (found,) = read_history(home)
    assert (found.number, found.action) == (1, "damaged")
    assert next_number([found]) == 2
    assert count_gate_uses([found], [], "t", ("a", None)) == 1
    write_intent(home, entry(2))
    path = home.home / "promotions" / "intent.json"
    path.write_text(path.read_text().replace('"digits"', '"letters"'))
    with pytest.raises(DamagedError, match=r"intent\.json: its content does not fit its seal"):
        read_intent(home)


def version(number: str, letter: str, **tags: str) -> Version:
    return Version("digits", number, (), {"lenet.weights_sha256": letter * 64} | tags, "", "", 0.0, "")


def test_uses_of_the_images_are_counted_by_what_was_compared() -> None:
    judged = [entry(1, "a"), entry(2, "b", "a", "refuse"), entry(3, "b", "a", "refuse"), entry(4, "b", "a", "rollback")]
    assert count_gate_uses(judged, [], "t", ("c" * 64, "a" * 64)) == 2
    assert count_gate_uses(judged, [], "t", ("b" * 64, "a" * 64)) == 1, "the same question is no further use"
    assert count_gate_uses(judged, [], "other images", ("c" * 64, "a" * 64)) == 0
    # another machine judged version 3 by the same images, and version 2 is in the history already
    known = [version("2", "b", **{JUDGED_ON: "t"}), version("3", "d", **{JUDGED_ON: "t"}), version("4", "e")]
    assert count_gate_uses(judged, known, "t", ("c" * 64, "a" * 64)) == 3


def test_who_is_a_person_in_ci_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in CI_ACCOUNTS:
        monkeypatch.delenv(variable, raising=False)
    assert "@" in who()
    for variable, name in zip(CI_ACCOUNTS, ("octocat", "root"), strict=True):
        with monkeypatch.context() as patch:
            patch.setenv(variable, name)
            assert who() == f"{name} (CI)"


def test_who_was_champion_last() -> None:
    entries = [entry(1, "a"), entry(2, "b", "a"), entry(3, "c", "b", "refuse"), entry(4, "a", "b", "rollback")]
    assert last_champion(entries, "digits", HOME) == party("a")
    assert last_champion(entries[:3], "digits", HOME) == party("b")
    assert last_champion(entries, "letters", HOME) is None
    assert last_champion(entries, "digits", "http://elsewhere") is None
