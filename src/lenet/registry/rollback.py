"""`lenet rollback`: make the previous champion the champion again."""

from __future__ import annotations

from lenet.config.params import Params
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.registry.changes import (
    REPLACED_TAG,
    ROLLED_BACK_TAGS,
    VERDICT_TAG,
    new_entry,
    recover,
    registry_locked,
    rolled_back_tags,
    set_champion,
)
from lenet.registry.history import check_reason
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import CHAMPION, PREVIOUS, Version


def rollback(project: Project, params: Params, reason: str | None) -> str:
    """Make the previous champion the champion again, after verifying its files, and return a line that says so.

    The gate is not consulted: a rollback has a reason that the test images do not show. The version that is rolled back
    gets no alias and is promoted again with a stated reason only. `previous` then points to the champion before the one
    that came back, so that a second rollback goes a second step back.

    Raises:
        ConfigError: the reason is too long.
        LenetError: there is no previous champion, it is not what was registered, or the store cannot be reached; or
            this is a DVC experiment.
    """
    check_reason(reason)
    project.refuse_experiment("lenet rollback")
    with registry_locked(project), RegisteredModel(project, params.register.model) as registry:
        recovered = recover(registry)
        champion, previous = registry.by_alias(CHAMPION), registry.by_alias(PREVIOUS)
        if recovered is not None and recovered.action == "rollback" and champion is not None:
            return f"{champion.title} is the champion again"  # the interrupted rollback was this one
        if champion is None or previous is None or previous.number == champion.number:
            raise LenetError(f"{registry.name}: has no previous champion to go back to (`lenet registry`)")
        registry.verify(previous)
        entry = new_entry(registry, "rollback", previous, champion, reason)
        entry.tags[champion.number] = {
            VERDICT_TAG: f"rolled back to version {previous.number}",
            **rolled_back_tags(entry),
        }
        set_champion(registry, entry, previous, _champion_before(registry, previous, champion))
        return f"{previous.title} is the champion again; version {champion.number} is rolled back"


def rolled_back_version(versions: list[Version]) -> Version | None:
    """Return the newest of some versions that was rolled back, or None."""
    return next((one for one in reversed(versions) if ROLLED_BACK_TAGS[0] in one.tags), None)


def _champion_before(registry: RegisteredModel, previous: Version, champion: Version) -> Version | None:
    """Return the champion that `previous` replaced, unless it was rolled back or is now."""
    found = registry.by_number(previous.tags.get(REPLACED_TAG, ""))
    if found is None or found.number == champion.number or ROLLED_BACK_TAGS[0] in found.tags:
        return None
    return found
