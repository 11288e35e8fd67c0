"""Bases of this flow's steps: an effect of a kind that the table lists, and a plain state move."""

from __future__ import annotations

from typing import Any, ClassVar

from buildflow.drivers.protocols import ComputeDriver, Json
from buildflow.drivers.world import World
from buildflow.engine.step import Step
from buildflow.flows.effects import KINDS, EffectKind
from buildflow.flows.origin import elsewhere, origin


class EffectStep(Step, abstract=True):
    """A step that makes one effect of a kind that flows/effects.py lists."""

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        if not abstract and cls.kind is not None:
            kind = KINDS[cls.kind]
            cls.undo_label = kind.undo
            cls.undo_after = kind.undo_after
        super().__init_subclass__(abstract=abstract, **kwargs)

    @property
    def world(self) -> World:
        """The drivers."""
        world: World = self.run.world
        return world

    def origin(self, facts: Json) -> Json:
        """Where it is made: in which cloud's project, by which hypervisor, in which folder."""
        return origin(self.world, self._kind, facts)

    def elsewhere(self, facts: Json) -> str | None:
        """Why not, where the driver that would undo it is not the one that made it."""
        return elsewhere(self.world, self._kind, facts)

    @property
    def _kind(self) -> EffectKind:
        assert self.kind is not None
        return KINDS[self.kind]

    def on(self, host: str) -> ComputeDriver:
        """The hypervisor of `host`."""
        return self.world.on(host)


class Enter(Step):
    """Marks that the build enters a state; the triggers are given where the flow is made."""

    no_undo: ClassVar[str] = "the state table declares the way back"

    def perform(self) -> None:
        """Nothing but the triggers."""
