"""`lenet rollback`: the previous champion is the champion again."""

from __future__ import annotations

from lenet.config.params import Params
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.gate.promote import PromotionResult, Tell
from lenet.registry.alias_changes import REPLACED, ROLLED_BACK, VERDICT, new_entry, set_champion
from lenet.registry.history import check_reason
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.transaction import recover, registry_locked
from lenet.registry.versions import CHAMPION, PREVIOUS, Version


def rollback(project: Project, params: Params, reason: str | None, tell: Tell) -> PromotionResult:
    """Make the previous champion the champion again, after checking that it is still what was registered.

    No gate is asked: whoever rolls back knows something that the test images do not. The deposed version gets no alias,
    so that no challenge brings it back by itself; it is promoted again with a stated reason only. `previous` becomes
    the champion before the one that came back, where there was one: asked twice, two steps are taken back.

    Raises:
        ConfigError: the reason is too long.
        LenetError: there is no previous champion, it is not what was registered, or the store cannot be reached;
            or this is an experiment of DVC's.
    """
    check_reason(reason)
    project.refuse_experiment("lenet rollback")
    with registry_locked(project, tell), RegisteredModel(project, params.register.model) as shelf:
        settled = recover(shelf, tell)
        champion, previous = shelf.holder(CHAMPION), shelf.holder(PREVIOUS)
        if settled is not None and settled.action == "rollback" and champion is not None:
            return PromotionResult(
                True, (f"{champion.title} is the champion again",)
            )  # one step was asked for, not two
        if champion is None or previous is None or previous.number == champion.number:
            raise LenetError(f"{shelf.model}: has no previous champion to go back to (`lenet registry`)")
        shelf.check(previous)
        entry = new_entry(shelf, "rollback", previous, champion, reason)
        signed = dict(zip(ROLLED_BACK, (entry.when, entry.who), strict=True))
        entry.tags[champion.number] = {VERDICT: f"rolled back to version {previous.number}", **signed}
        earlier = _predecessor(shelf, previous, champion)
        set_champion(shelf, entry, previous, earlier.number if earlier else None)
        return PromotionResult(
            True, (f"{previous.title} is the champion again; version {champion.number} is rolled back",)
        )


def _predecessor(shelf: RegisteredModel, previous: Version, champion: Version) -> Version | None:
    """Return the champion before the previous one, unless that is the one which is being rolled back, or was."""
    found = shelf.numbered(previous.tags.get(REPLACED, ""))
    is_deposed = found is not None and (found.number == champion.number or ROLLED_BACK[0] in found.tags)
    return None if is_deposed else found
