"""A step: one revertable TaskFlow task that makes at most one effect and declares its undo.

Rules. Execute and revert both run at least once (design, section 5); `engine/run.py` carries the
protocol out, a step only says what its effect is:

    class MakeFolder(Step):
        kind = "folder"                                 # the effect's kind
        undo_label = "remove the folder"

        def facts(self, path):                          # its arguments are the step's inputs
            return {"path": path}                       # all that find, create, delete need; JSON

        def find(self, key, facts): ...                 # result when it is there, else None
        def create(self, key, facts): ...               # make it, with `key` as its id or tag
        def delete(self, key, facts): ...               # remove it and see it gone

A step without an effect gives `no_undo`, the reason why it needs none, and `perform(**inputs)`.
Leaving the undo out is a DefinitionError when the class is made. What a step returns survives JSON.
"""

from __future__ import annotations

import collections
import functools
import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from taskflow import task
from taskflow.types import notifier, sets

from buildflow.errors import DefinitionError

if TYPE_CHECKING:
    from buildflow.engine.run import Run

Json = dict[str, Any]

_EFFECT_METHODS = ("facts", "find", "create", "delete")


class Step(task.Task):  # type: ignore[misc]
    """Base of every step.

    Class attributes, each of which an instance may override through `__init__`:

    * `kind`: kind of its effect; None when it makes none.
    * `no_undo`: why it needs no undo; exactly the steps without an effect have one.
    * `undo_label`: what its undo does, in a few words, for people.
    * `undo_after`: kinds of effect that must be gone before this one may be undone.
    * `on_start`: state triggers fired in the commit that makes its intent durable.
    * `on_done`: state triggers fired in the commit that records its result.
    * `timeout_s`: its deadline in seconds; None takes the engine's.
    * `label`: what pictures call it; its name unless given.
    * `about`: which of several like things it works on (`nic 0`). Where two steps both say it,
      `undo_after` holds between them only when it is the same.
    """

    kind: ClassVar[str | None] = None
    no_undo: ClassVar[str] = ""
    undo_label: ClassVar[str] = ""
    undo_after: ClassVar[Sequence[str]] = ()
    on_start: Sequence[str] = ()
    on_done: Sequence[str] = ()
    timeout_s: float | None = None
    about: str | None = None

    TASK_EVENTS = ()  # no progress is reported, so that TaskFlow need not listen for it

    _abstract: ClassVar[bool] = True
    _inputs: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = ((), ())

    run: Run
    """Set by the engine when the flow is bound to a build."""

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._abstract = abstract
        if not abstract:
            _check_definition(cls)
            cls._inputs = _inputs_of(cls.facts if cls.kind else cls.perform)

    def __init__(
        self,
        name: str,
        *,
        provides: str | Sequence[str] | None = None,
        inject: Mapping[str, Any] | None = None,
        rebind: Mapping[str, str] | None = None,
        after: Iterable[str] = (),
        collect: Iterable[str] = (),
        on_start: Sequence[str] | None = None,
        on_done: Sequence[str] | None = None,
        timeout_s: float | None = None,
        label: str | None = None,
        about: str | None = None,
    ) -> None:
        """`after` names results that must be there before this step, though it does not use them.

        `collect` names results that its `**keywords` take, for a step that gathers many.
        """
        if type(self)._abstract:
            raise DefinitionError(f"{type(self).__name__} is an abstract step")
        required, optional = self._inputs
        required = (*required, *collect)
        wanted = {arg: (rebind or {}).get(arg, arg) for arg in (*required, *optional)}
        super().__init__(sys.intern(name), provides=provides, inject=dict(inject or {}))
        # what is the same in many steps is kept once: a thousand builds have thirty thousand
        self._notifier = _SILENT
        self.save_as: Any = _shared_mapping(tuple(self.save_as.items()))
        self.provides: Any = _shared_set(tuple(self.provides))
        # TaskFlow reads signatures at each construction, which cost more than the step's commit;
        # here they were read once, when the class was made.
        injected = frozenset(self.inject)
        self.after = tuple(after)
        self.rebind = _shared_mapping((*wanted.items(), *((name, name) for name in self.after)))
        self.optional = _shared_set(tuple(wanted[a] for a in optional if a not in injected))
        self.requires = _shared_set(
            (*(wanted[a] for a in required if a not in injected), *self.after)
        )
        # a revert works from the ledger alone, so it asks TaskFlow for nothing
        self.label = label or name
        if about is not None:
            self.about = about
        if on_start is not None:
            self.on_start = tuple(on_start)
        if on_done is not None:
            self.on_done = tuple(on_done)
        if timeout_s is not None:
            self.timeout_s = timeout_s

    def _build_arg_mapping(self, executor: Any, **_: Any) -> Any:
        """Nothing to read from `execute` and `revert`: see __init__."""
        return collections.OrderedDict(), _NONE, _NONE

    # --- what a step's author writes ------------------------------------------------------------

    def facts(self, *args: Any, **inputs: Any) -> Json:
        """All that the other three need, from the step's inputs. JSON, no secrets, no effect."""
        raise NotImplementedError

    def without_effect(self, facts: Json) -> Any:
        """The step's result when `facts` say that no effect is needed this time; else None."""
        return None

    def find(self, key: str, facts: Json) -> Any:
        """The step's result when the effect is there; None when it is not."""
        raise NotImplementedError

    def create(self, key: str, facts: Json) -> Any:
        """Make the effect, with `key` as its id or tag; returns the step's result (not None)."""
        raise NotImplementedError

    def wait(self, key: str, facts: Json, result: Any) -> Any:
        """Await what the effect needs to be usable; returns the result, perhaps completed."""
        return result

    def delete(self, key: str, facts: Json) -> None:
        """Remove the effect and see that it is gone; one that is not there is success."""
        raise NotImplementedError

    def perform(self, *args: Any, **inputs: Any) -> Any:
        """The work of a step that makes no effect."""
        raise NotImplementedError

    def origin(self, facts: Json) -> Json:
        """What is kept beside `facts`, so that `elsewhere` can tell by it whose the effect is."""
        return {}

    def elsewhere(self, facts: Json) -> str | None:
        """Why this process, as it is set up, could neither find nor undo the effect; None if it
        could. To look in the wrong place would find nothing, and call that gone.
        """
        return None

    def exists(self, key: str, facts: Json) -> bool:
        """Whether the effect of a complete build is there; an audit asks."""
        return self.find(key, facts) is not None

    def external_id(self, result: Any) -> str | None:
        """What the outside world calls the effect; for the ledger and for people."""
        return result if isinstance(result, str) else None

    # --- what a step may use --------------------------------------------------------------------

    @property
    def world(self) -> Any:
        """What the engine was opened with: the drivers, or whatever a flow of your own needs."""
        return self.run.world

    def pause(self, seconds: float) -> None:
        """Let time pass on the build's clock; raises StopBuild or DeadlineExceeded in time."""
        self.run.pause(self, seconds)

    def hold(self, key: str) -> AbstractContextManager[None]:
        """Hold `key` (`volume:ID`), which only one build of this process may do at a time."""
        return self.run.hold(self, key)

    # --- TaskFlow's side ------------------------------------------------------------------------

    def update_progress(self, progress: float) -> None:
        """A step is begun, done or undone; nothing between is recorded."""

    def execute(self, **inputs: Any) -> Any:
        """Carry the protocol out (engine/run.py: Run.execute)."""
        return self.run.execute(self, inputs)

    def revert(self, result: Any = None, flow_failures: Any = None, **_: Any) -> None:
        """Undo from the ledger; never raises for what the outside world does."""
        self.run.revert(self)


@functools.lru_cache(maxsize=4096)
def _shared_set(names: tuple[str, ...]) -> Any:
    """TaskFlow's sets of names, one for all steps that have the same; nobody changes them."""
    return sets.OrderedSet(names)


@functools.lru_cache(maxsize=4096)
def _shared_mapping(pairs: tuple[tuple[str, Any], ...]) -> Any:
    """The same for mappings of arguments to names."""
    return collections.OrderedDict(pairs)


_NONE = sets.OrderedSet()
_SILENT = notifier.RestrictedNotifier(())  # one for all: nobody may listen to it


def _check_definition(cls: type[Step]) -> None:
    name = cls.__name__
    if cls.kind is None:
        if not cls.no_undo:
            raise DefinitionError(
                f"step {name} declares no undo: give it an effect (kind, facts, find, create,"
                " delete), or say in `no_undo` why it needs none"
            )
        if cls.perform is Step.perform:
            raise DefinitionError(f"step {name} does nothing: it defines no perform()")
        return
    if cls.no_undo:
        raise DefinitionError(f"step {name} makes a {cls.kind} and says that it needs no undo")
    missing = [m for m in _EFFECT_METHODS if getattr(cls, m) is getattr(Step, m)]
    if missing:
        raise DefinitionError(f"step {name} makes a {cls.kind} but defines no {', '.join(missing)}")


def _inputs_of(function: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    required: list[str] = []
    optional: list[str] = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        (required if parameter.default is parameter.empty else optional).append(parameter.name)
    return tuple(required), tuple(optional)
