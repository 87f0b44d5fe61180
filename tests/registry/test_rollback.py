from __future__ import annotations

import pytest

from lenet.core.errors import LenetError
from lenet.registry.history import read_history
from lenet.registry.rollback import rollback
from showcase import Showcase, aliases, files, flip, make_champion, promote_challenger, tags


def roll_back(showcase: Showcase, reason: str | None = None) -> str:
    return rollback(showcase.project, showcase.params, reason)


def promote_in_turn(showcase: Showcase, *blind: tuple[int, ...]) -> None:
    for one in blind:
        showcase.register(*one)
        assert promote_challenger(showcase).done


def test_roll_back_and_promote_again(showcase: Showcase) -> None:
    make_champion(showcase, 3, 4)
    promote_in_turn(showcase, ())
    assert "version 2 is rolled back" in roll_back(showcase, "it fails in the field")
    assert aliases(showcase) == {"champion": "1"}
    entry = read_history(showcase.project)[-1]
    assert (entry.action, entry.reason) == ("rollback", "it fails in the field")
    assert tags(showcase, "2")["lenet.rolled_back_at"] == entry.when
    with pytest.raises(LenetError, match="has no previous champion"):
        roll_back(showcase)
    with pytest.raises(LenetError, match=r"version 2 .*: was rolled back by .* state a --reason"):
        promote_challenger(showcase, "2")
    assert promote_challenger(showcase, "2", reason="the field was at fault").done
    assert aliases(showcase) == {"champion": "2", "previous": "1"}
    assert "lenet.rolled_back_at" not in tags(showcase, "2")


def test_two_rollbacks_go_two_steps_back(showcase: Showcase) -> None:
    make_champion(showcase, 3, 4, 5)
    promote_in_turn(showcase, (3, 4), (3,))
    assert aliases(showcase) == {"champion": "3", "previous": "2"}
    roll_back(showcase)
    assert aliases(showcase) == {"champion": "2", "previous": "1"}
    roll_back(showcase)
    assert aliases(showcase) == {"champion": "1"}


def test_no_rollback_leads_to_a_version_that_was_rolled_back(showcase: Showcase) -> None:
    make_champion(showcase, 3, 4, 5)
    promote_in_turn(showcase, (3, 4), (3,))
    showcase.set_params(margin_points=60, floor_error_percent=60, alpha=0.0001)
    assert promote_challenger(showcase, "1", reason="the others fail in the field").done
    assert aliases(showcase) == {"champion": "1", "previous": "3"}
    roll_back(showcase)
    assert aliases(showcase) == {"champion": "3", "previous": "2"}
    roll_back(showcase)
    assert aliases(showcase) == {"champion": "2"}  # before it, version 1 was champion, which is rolled back
    with pytest.raises(LenetError, match="has no previous champion"):
        roll_back(showcase)
    assert aliases(showcase) == {"champion": "2"}


def test_versions_that_replaced_each_other_are_not_rolled_back_in_turn(showcase: Showcase) -> None:
    make_champion(showcase, 3)
    promote_in_turn(showcase, ())
    showcase.set_params(alpha=0.0001)
    assert promote_challenger(showcase, "1", reason="the other fails in the field").done
    assert aliases(showcase) == {"champion": "1", "previous": "2"}
    roll_back(showcase)
    assert aliases(showcase) == {"champion": "2"}


def test_a_damaged_version_does_not_come_back(showcase: Showcase) -> None:
    make_champion(showcase, 3, 4)
    promote_in_turn(showcase, ())
    flip(files(showcase, "1") / "weights.safetensors")
    with pytest.raises(LenetError, match="version 1 is refused"):
        roll_back(showcase)
    assert aliases(showcase) == {"champion": "2", "previous": "1"}


def test_a_run_that_was_rolled_back_needs_a_reason_whatever_its_last_bits(showcase: Showcase) -> None:
    make_champion(showcase, 3, 4)
    promote_in_turn(showcase, ())
    roll_back(showcase)
    assert showcase.register_run(showcase.retrained()).number == "3"
    with pytest.raises(LenetError, match=r"version 3 .*: is of the same run as version 2, which was rolled back"):
        promote_challenger(showcase)
    assert promote_challenger(showcase, reason="the field was at fault").done
    assert aliases(showcase) == {"champion": "3", "previous": "1"}
    assert "lenet.rolled_back_at" not in tags(showcase, "2")
