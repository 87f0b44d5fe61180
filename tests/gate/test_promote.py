"""`lenet promote` on versions of known error: who becomes champion, and what is written down."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace

import pytest

from lenet.core.atomic_io import read_json
from lenet.core.errors import LenetError
from lenet.gate.promote import PromotionResult
from lenet.registry.history import read_history, who
from lenet.registry.rollback import rollback
from lenet.tracking.store import open_store, tracking_uri
from showcase import (
    MODEL,
    Showcase,
    aliases,
    files,
    first_champion,
    flip,
    make_champion,
    promote_challenger,
    tags,
)


def checks(result: PromotionResult) -> dict[str, bool]:
    assert result.gate is not None
    return {check.name: check.passed for check in result.gate.decision.checks}


def failed(result: PromotionResult) -> tuple[str, ...]:
    assert not result.done
    assert result.gate is not None
    return result.gate.decision.failed


def actions(showcase: Showcase) -> list[str]:
    return [entry.action for entry in read_history(showcase.project)]


def test_the_first_champion_passes_the_floor_and_a_better_one_replaces_it(showcase: Showcase) -> None:
    number = showcase.register(3, 4).number
    assert checks(first_champion(showcase, number)) == {"floor": True}
    assert aliases(showcase) == {"champion": "1"}
    assert showcase.register().aliases == ("challenger",)
    result = promote_challenger(showcase)
    assert result.done
    assert checks(result) == dict.fromkeys(("floor", "champion", "classes", "quality"), True)
    assert aliases(showcase) == {"champion": "2", "previous": "1"}

    first, second = read_history(showcase.project)
    assert (first.action, first.old, first.number) == ("promote", None, 1)
    assert (second.action, second.number, second.who) == ("promote", 2, who())
    assert second.old is not None
    assert second.new is not None
    assert second.verdict is not None
    assert (second.old.version, second.new.version) == ("1", "2")
    assert (second.new.git_commit, second.new.data_digest) == ("c0ffee", tags(showcase, "2")["lenet.data_digest"])
    assert second.verdict["gate_uses"] == 1
    expected = {
        "lenet.verdict": "promoted: better",
        "lenet.promoted_at": second.when,
        "lenet.promoted_by": second.who,
        "lenet.replaced": "1",
        "lenet.judged_on": second.test_digest,
    }
    assert tags(showcase, "2").items() >= expected.items()
    assert read_json(showcase.project.home / "promotions" / "0002-promote.json")["verdict"] == second.verdict


def test_to_promote_the_champion_changes_nothing(showcase: Showcase) -> None:
    make_champion(showcase, 3)
    for name in ("1", None):
        result = promote_challenger(showcase, name)
        assert (result.done, result.gate) == (True, None)
    assert len(read_history(showcase.project)) == 1


def test_an_equal_one_is_refused_once_and_stays_the_challenger(showcase: Showcase) -> None:
    make_champion(showcase, 3)
    showcase.register(4)
    result = promote_challenger(showcase)
    assert failed(result) == ("classes", "quality")
    assert aliases(showcase) == {"champion": "1", "challenger": "2"}
    assert tags(showcase, "2")["lenet.verdict"] == "refused: classes, quality"
    assert promote_challenger(showcase).lines == result.lines
    assert actions(showcase) == ["promote", "refuse"]  # the same comparison is recorded once
    assert failed(promote_challenger(showcase, reason="new data")) == ("classes",)
    assert len(read_history(showcase.project)) == 3
    showcase.register(5)
    third = promote_challenger(showcase)
    assert third.gate is not None
    assert third.gate.decision.gate_uses == 2


def test_one_with_the_same_predictions_needs_a_reason(showcase: Showcase) -> None:
    make_champion(showcase, 3)
    showcase.register(3, trace=0.5)
    assert failed(promote_challenger(showcase)) == ("difference",)
    assert promote_challenger(showcase, reason="a licence").done
    assert tags(showcase, "2")["lenet.verdict"] == "promoted: a licence"


def test_the_floor_holds_for_the_first_champion_too(showcase: Showcase) -> None:
    number = showcase.register(1, 2, 3, 4).number
    assert failed(first_champion(showcase, number)) == ("floor",)
    assert aliases(showcase) == {"challenger": "1"}
    assert not promote_challenger(showcase).done


@pytest.mark.parametrize("has_run_directory", [True, False])
def test_the_reference_is_never_left_behind(showcase: Showcase, has_run_directory: bool) -> None:
    best = showcase.run()
    sha256 = best.status()["files"]["weights.safetensors"]
    showcase.register()
    make_champion(showcase, 3, 4, 5)
    if not has_run_directory:
        shutil.rmtree(best.path)
    showcase.set_params(reference=best.fingerprint[:12], margin_points=20)
    showcase.register(3, 4)
    assert failed(promote_challenger(showcase)) == ("reference",)
    assert read_history(showcase.project)[-1].reference == sha256
    showcase.set_params(reference=f"{MODEL}/2")
    assert promote_challenger(showcase).done


@pytest.mark.parametrize("name", [f"{MODEL}/3", "@previous", "abcdef"])
def test_only_a_new_registry_may_lack_the_reference(showcase: Showcase, name: str, said: list[str]) -> None:
    showcase.set_params(reference=name)
    number = showcase.register(3).number
    assert checks(first_champion(showcase, number)) == {"floor": True}
    assert said[0].startswith(f"gate.reference {name}: is not in this registry")
    showcase.register(4)
    with pytest.raises(LenetError, match=f"^{name}: is "):
        promote_challenger(showcase)


def test_a_champion_that_changed_while_the_gate_judged_is_noticed(showcase: Showcase) -> None:
    make_champion(showcase, 3, 4)
    showcase.register(3)
    showcase.register()
    client = open_store(showcase.project, tracking_uri(showcase.project))

    class OtherMachine(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("predicting"):
                client.set_registered_model_alias(MODEL, "champion", "2")

    logging.getLogger("lenet.gate").addHandler(other := OtherMachine())
    try:
        with pytest.raises(LenetError, match="the champion was changed by another command"):
            promote_challenger(showcase)
    finally:
        logging.getLogger("lenet.gate").removeHandler(other)
    assert aliases(showcase) == {"champion": "2", "challenger": "3"}
    assert len(read_history(showcase.project)) == 1
    assert "lenet.verdict" not in tags(showcase, "3")


def test_a_network_of_another_data_set_is_no_champion_and_no_reference(showcase: Showcase) -> None:
    other = replace(showcase, config=replace(showcase.config, data=replace(showcase.config.data, name="letters")))
    foreign = other.run(trace=0.25)
    make_champion(showcase, 3)
    showcase.register(4)
    showcase.set_params(reference=foreign.fingerprint[:12])
    with pytest.raises(LenetError, match=rf"^{foreign.short} .*: was trained on letters; .* tiny"):
        promote_challenger(showcase)
    showcase.set_params()
    number = other.register_run(foreign).number
    client = open_store(showcase.project, tracking_uri(showcase.project))
    for tag in ("letters", "tiny"):  # whatever its tag says
        client.set_model_version_tag(MODEL, number, "lenet.data", tag)
        with pytest.raises(LenetError, match=rf"^{MODEL} version {number} .*: was trained on letters; .* tiny"):
            promote_challenger(showcase)
    assert aliases(showcase)["champion"] == "1"


def test_a_damaged_challenger_is_refused_without_a_trace(showcase: Showcase) -> None:
    make_champion(showcase, 3, 4)
    showcase.register()
    flip(files(showcase, "2") / "weights.safetensors")
    with pytest.raises(LenetError, match="version 2 is refused"):
        promote_challenger(showcase)
    assert aliases(showcase) == {"champion": "1", "challenger": "2"}
    assert actions(showcase) == ["promote"]
    assert showcase.register().number == "3"
    assert promote_challenger(showcase).done


def test_a_damaged_champion_is_replaced_by_a_better_one_or_by_its_own_weights(
    showcase: Showcase, said: list[str]
) -> None:
    make_champion(showcase, 3, 4)
    flip(files(showcase, "1") / "MLmodel")
    assert showcase.register(3, 4).number == "2"
    assert promote_challenger(showcase).done
    assert aliases(showcase) == {"champion": "2"}
    assert actions(showcase) == ["promote", "repair"]
    flip(files(showcase, "2") / "weights.safetensors")
    showcase.register()
    assert promote_challenger(showcase).done  # judged by the weights in the run directory
    assert "instead" in "".join(said)
    assert aliases(showcase) == {"champion": "3", "previous": "2"}


def test_names_of_no_version_are_one_line(showcase: Showcase) -> None:
    with pytest.raises(LenetError, match="has neither champion nor challenger"):
        promote_challenger(showcase)
    make_champion(showcase, 3)
    with pytest.raises(LenetError, match=rf"^7: is no version of {MODEL}; its versions: 1 "):
        promote_challenger(showcase, "7")


@pytest.mark.parametrize("is_another_home", [False, True])
def test_a_lost_champion_is_restored_from_the_history(showcase: Showcase, is_another_home: bool) -> None:
    make_champion(showcase, 3)
    client = open_store(showcase.project, tracking_uri(showcase.project))
    if is_another_home:
        (showcase.project.home / "promotions").rename(showcase.project.home / "elsewhere")
        client.delete_registered_model_alias(MODEL, "champion")
    else:
        client.delete_model_version(MODEL, "1")
        assert showcase.register(3).number == "2"
    number = showcase.register(4).number
    result = first_champion(showcase, number)
    assert (result.done, result.gate) == (True, None)
    assert aliases(showcase) == {"champion": "1" if is_another_home else "2", "challenger": number}
    assert actions(showcase)[-1] == "restore"


def test_a_champion_that_was_rolled_back_is_not_restored(showcase: Showcase) -> None:
    make_champion(showcase, 3, 4)
    showcase.register()
    promote_challenger(showcase)
    rollback(showcase.project, showcase.params, None)
    (showcase.project.home / "promotions").rename(showcase.project.home / "elsewhere")
    open_store(showcase.project, tracking_uri(showcase.project)).delete_model_version(MODEL, "1")
    assert first_champion(showcase, "2").gate is not None  # the entry of the rollback is gone: the gate decides
