"""Changes of the champion that a killed process or a store left half made."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from lenet.core.errors import LenetError
from lenet.registry.changes import has_unfinished_change, recover_if_needed
from lenet.registry.history import HistoryEntry, history_tag, read_history, write_intent
from lenet.tracking.store import open_store, tracking_uri
from showcase import MODEL, Showcase, aliases, files, flip, make_champion, promote_challenger, tags

BEFORE = {"champion": "1", "challenger": "2"}
AFTER = {"champion": "2", "previous": "1"}


@pytest.fixture
def intent(showcase: Showcase) -> HistoryEntry:
    """The intent of a promotion of version 2, of which nothing is done yet."""
    make_champion(showcase, 3, 4)
    showcase.register()
    (first,) = read_history(showcase.project)
    moved = {"champion": "2", "previous": "1", "challenger": None}
    found = replace(first, number=2, before={"champion": "1", "previous": None, "challenger": "2"}, after=moved)
    found = replace(found, new=replace(first.new, version="2") if first.new else None)
    found = replace(found, tags={"2": {"lenet.verdict": "promoted: better"}})
    write_intent(showcase.project, found)
    return found


def set_tags(intent: HistoryEntry) -> dict[str, str]:
    """Return the tags that the change sets."""
    return {"lenet.verdict": "promoted: better"} | dict([history_tag(intent)])


def recover(showcase: Showcase) -> None:
    recover_if_needed(showcase.project, MODEL)


def test_an_interrupted_change_is_completed_once(showcase: Showcase, intent: HistoryEntry, said: list[str]) -> None:
    recover(showcase)
    assert aliases(showcase) == AFTER
    assert tags(showcase, "2").items() >= set_tags(intent).items()
    assert read_history(showcase.project)[-1] == intent
    assert len(said) == 1
    recover(showcase)
    assert len(said) == 1


@pytest.mark.parametrize("is_half_undone", [False, True])
def test_a_change_to_a_damaged_version_is_undone(
    showcase: Showcase, intent: HistoryEntry, is_half_undone: bool
) -> None:
    client = open_store(showcase.project, tracking_uri(showcase.project))
    client.set_registered_model_alias(MODEL, "previous", "1")
    for name, value in set_tags(intent).items():
        client.set_model_version_tag(MODEL, "2", name, value)
    if not is_half_undone:
        client.set_registered_model_alias(MODEL, "champion", "2")
    flip(files(showcase, "2") / "weights.safetensors")
    recover(showcase)
    assert aliases(showcase) == BEFORE
    assert not tags(showcase, "2").keys() & set_tags(intent).keys()
    last = read_history(showcase.project)[-1]
    assert (last.number, last.action, last.after) == (intent.number, "undo", {})
    assert "weights.safetensors" in (last.reason or "")
    assert not has_unfinished_change(showcase.project)


def test_an_undo_that_was_killed_before_its_last_step_is_completed(showcase: Showcase, intent: HistoryEntry) -> None:
    write_intent(showcase.project, replace(intent, action="undo", before={}, after={}, tags={}))
    recover(showcase)
    assert aliases(showcase) == BEFORE
    assert promote_challenger(showcase).done


def test_a_deleted_version_is_not_promoted(showcase: Showcase, intent: HistoryEntry) -> None:
    open_store(showcase.project, tracking_uri(showcase.project)).delete_model_version(MODEL, "2")
    recover(showcase)
    assert aliases(showcase) == {"champion": "1"}
    assert read_history(showcase.project)[-1].reason == "version 2 was deleted"


def test_a_champion_that_another_machine_chose_since_stays(showcase: Showcase, intent: HistoryEntry) -> None:
    showcase.register(4)
    open_store(showcase.project, tracking_uri(showcase.project)).set_registered_model_alias(MODEL, "champion", "3")
    recover(showcase)
    assert aliases(showcase)["champion"] == "3"
    assert read_history(showcase.project)[-1].action == "undo"


def test_a_change_of_another_registry_is_not_made_here(showcase: Showcase, intent: HistoryEntry) -> None:
    write_intent(showcase.project, replace(intent, store="http://elsewhere"))
    with pytest.raises(LenetError, match=r"intent\.json: a change of classifier in http://elsewhere"):
        promote_challenger(showcase)
    assert aliases(showcase) == BEFORE


def test_a_half_written_intent_is_deleted(showcase: Showcase, said: list[str]) -> None:
    make_champion(showcase, 3)
    said.clear()
    path = showcase.project.home / "promotions" / ".intent.json.123.partial"
    path.write_text("{")
    recover(showcase)
    assert not path.exists()
    assert said == []


def test_the_historys_tag_is_the_last_step_of_a_change(showcase: Showcase) -> None:
    make_champion(showcase, 3, 4)
    showcase.register()
    with closing(sqlite3.connect(showcase.project.home / "mlflow.db")) as connection:
        when = "before update on registered_model_aliases when new.alias = 'champion'"
        connection.execute(f"create trigger broken {when} begin select raise(abort, 'broken'); end")
    with pytest.raises(LenetError, match="run the command again, which completes the change"):
        promote_challenger(showcase)
    assert aliases(showcase) == {"champion": "1", "challenger": "2", "previous": "1"}
    assert tags(showcase, "2")["lenet.verdict"] == "promoted: better"
    assert not [name for name in tags(showcase, "2") if name.startswith("lenet.change.")]
    with closing(sqlite3.connect(showcase.project.home / "mlflow.db")) as connection:
        connection.execute("drop trigger broken")
    assert promote_challenger(showcase).done
    assert aliases(showcase) == AFTER
    assert [name for name in tags(showcase, "2") if name.startswith("lenet.change.")]
