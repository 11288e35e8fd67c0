"""The last step of every flow: the commit that ends the build, still inside the undo scope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from buildflow.engine.step import Step


class Complete(Step):
    """Makes the build complete in one commit; when that is refused everything is rolled back, the
    move of its `triggers` first.

    Follows nova/compute/manager.py: _update_instance_after_spawn, which stands outside Nova's undo
    scope and leaves a running guest behind when it fails.
    """

    no_undo: ClassVar[str] = "it only records; once it has, the build is terminal"

    def __init__(
        self, name: str = "complete", *, triggers: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(name, **kwargs)
        self.triggers = tuple(triggers)

    def perform(self) -> None:
        """See the class."""
        self.run.complete(self.name, self.triggers)
