"""The history in the home's files and in the registry's tags; a home whose files are moved away stands for another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lenet.core.errors import DamagedError
from lenet.core.project import Project
from lenet.registry.history import (
    CI_ACCOUNTS,
    LOCAL_FIELDS,
    Action,
    HistoryEntry,
    VersionRef,
    close_intent,
    history_tag,
    last_champion,
    next_number,
    read_history,
    read_intent,
    shared_history,
    who,
    write_intent,
)
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.rollback import rollback
from lenet.tracking.store import open_store, tracking_uri
from showcase import MODEL, Showcase, first_champion, make_champion, promote_challenger, tags


def ref(letter: str) -> VersionRef:
    return VersionRef("1", "lenet5", "1", letter * 64, letter * 64, "c0ffee", "d" * 64)


def entry(number: int, new: str = "a", old: str | None = None, action: Action = "promote") -> HistoryEntry:
    base = HistoryEntry(number, action, "classifier", "mlflow.db", "2026-11-22T20:00:00+00:00", "me@here")
    return replace(base, new=ref(new), old=ref(old) if old else None, test_digest="t")


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
    names = {path.name for path in (home.home / "promotions").iterdir()}
    assert names == {"0001-promote.json", "0002-promote.json", "10000-promote.json"}


def test_a_damaged_file_is_an_entry_that_says_so(home: Project) -> None:
    write_intent(home, entry(1))
    close_intent(home, entry(1))
    write_intent(home, entry(2))
    for name in ("0001-promote.json", "intent.json"):
        path = home.home / "promotions" / name
        path.write_text(path.read_text().replace("me@here", "you@there"))
    (found,) = read_history(home)
    assert (found.number, found.action) == (1, "damaged")
    with pytest.raises(DamagedError, match=r"intent\.json"):
        read_intent(home)


def test_in_ci_the_user_is_the_account_that_started_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in CI_ACCOUNTS:
        monkeypatch.delenv(variable, raising=False)
    assert "@" in who()
    for variable in CI_ACCOUNTS:
        with monkeypatch.context() as patch:
            patch.setenv(variable, "octocat")
            assert who() == "octocat (CI)"


def test_the_last_champion_is_that_of_the_last_change() -> None:
    entries = [entry(1, "a"), entry(2, "b", "a"), entry(3, "c", "b", "refuse"), entry(4, "a", "b", "rollback")]
    assert last_champion(entries) == ref("a")
    assert last_champion(entries[:3]) == ref("b")
    assert last_champion([]) is None


def shared(showcase: Showcase) -> list[HistoryEntry]:
    with RegisteredModel(showcase.project, MODEL) as registry:
        return shared_history(registry)


def become_another_home(showcase: Showcase) -> list[HistoryEntry]:
    """Move the home's history away, and return it."""
    entries, folder = read_history(showcase.project), showcase.project.home / "promotions"
    folder.rename(folder.with_name(f"promotions-{len(list(showcase.project.home.glob('promotions*')))}"))
    return entries


def set_tag(showcase: Showcase, tag: tuple[str, str], number: str = "1", model: str = MODEL) -> None:
    client = open_store(showcase.project, tracking_uri(showcase.project))
    client.set_model_version_tag(model, number, *tag)


def test_another_home_reads_all_entries_once(showcase: Showcase) -> None:
    make_champion(showcase, 3, 4)
    showcase.register()
    promote_challenger(showcase)
    rollback(showcase.project, showcase.params, "it was slow")
    assert shared(showcase) == read_history(showcase.project)

    entries = become_another_home(showcase)
    found = shared(showcase)
    local = dict.fromkeys(LOCAL_FIELDS)
    assert [entry.number for entry in found] == [0, 0, 0]
    assert [vars(entry) | local for entry in found] == [vars(entry) | local for entry in entries]


def test_a_copied_version_repeats_no_entry_and_has_none_of_another_model(showcase: Showcase) -> None:
    make_champion(showcase, 3)
    become_another_home(showcase)
    tag = next((name, value) for name, value in tags(showcase, "1").items() if name.startswith("lenet.change."))
    set_tag(showcase, tag, showcase.register(4).number)
    assert len(shared(showcase)) == 1
    showcase.register(5, model="others")
    set_tag(showcase, tag, model="others")
    with RegisteredModel(showcase.project, "others") as registry:
        assert shared_history(registry) == []


def test_entries_of_several_homes_are_in_the_order_of_time(showcase: Showcase) -> None:
    make_champion(showcase, 3)
    (first,) = read_history(showcase.project)
    for when in ("2120-01-01T00:00:00+00:00", "2020-01-01T00:00:00+00:00"):
        set_tag(showcase, history_tag(replace(first, when=when, who="them@elsewhere")))
    assert [entry.who for entry in shared(showcase)] == ["them@elsewhere", first.who, "them@elsewhere"]


def test_a_tag_that_is_not_what_was_written_is_a_damaged_entry(showcase: Showcase) -> None:
    make_champion(showcase, 3)
    (first,) = read_history(showcase.project)
    undated = history_tag(replace(first, when="yesterday"))
    forged = history_tag(replace(first, who="somebody"))[0], history_tag(replace(first, who="somebody else"))[1]
    broken = {"lenet.change.0": "{", "lenet.change.1": "[]", "lenet.change.2": '{"old": 1}'} | dict([undated, forged])
    broken["lenet.change.3"] = '{"old": ' + "[" * 2000 + "]" * 2000 + "}"  # deeper than Python reads
    for tag in broken.items():
        set_tag(showcase, tag)
    found = [entry for entry in shared(showcase) if entry.action == "damaged"]
    assert {entry.reason for entry in found} == {
        f"{MODEL} version 1: its tag {name} is not what was written" for name in broken
    }


def test_the_test_images_uses_add_up_over_homes_and_models(showcase: Showcase) -> None:
    make_champion(showcase, 3)
    showcase.register(4)
    refused = promote_challenger(showcase)
    become_another_home(showcase)
    assert promote_challenger(showcase).lines == refused.lines  # the same comparison is no new use
    assert read_history(showcase.project) == []
    showcase.register(5)
    third = promote_challenger(showcase)
    assert third.gate is not None
    assert third.gate.decision.gate_uses == 2
    number = showcase.register(6, model="others").number
    params = replace(showcase.params, register=replace(showcase.params.register, model="others"))
    other = first_champion(replace_params(showcase, params.register.model), number)
    assert other.gate is not None
    assert other.gate.decision.gate_uses == 1  # the one of this home


def replace_params(showcase: Showcase, model: str) -> Showcase:
    path = showcase.project.root / "params.yaml"
    path.write_text(path.read_text().replace(f"model: {MODEL}", f"model: {model}"))
    return showcase


def test_json_shows_what_the_tag_keeps() -> None:
    body = json.loads(history_tag(entry(3))[1])
    assert body["new"]["git_commit"] == "c0ffee"
    assert not set(LOCAL_FIELDS) & set(body)
