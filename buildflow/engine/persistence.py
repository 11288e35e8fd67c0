"""TaskFlow's persistence over the project's own store.

TaskFlow saves by asking a connection to update an atom or a flow detail. Ours writes nothing then:
it marks the detail as changed, and the run's next boundary makes it durable together with the state
change, the history line and the effects of that step. No progress is written, nothing is read
before it is written, nothing is copied.

Loading builds details from rows without `RetryDetail.from_dict`, which destroys a retry's history
(tests/engine/test_taskflow_canaries.py, B1).
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable
from typing import Any, Protocol

from taskflow import exceptions as tf_exceptions
from taskflow import states as tf_states
from taskflow.persistence import base, models
from taskflow.storage import Storage
from taskflow.types import failure as tf_failure

from buildflow.engine.store import Row, Store


class Recorder(Protocol):
    """Takes what TaskFlow wants saved (engine/run.py)."""

    def record_atom(self, detail: Any) -> None:
        """An atom's detail has changed."""

    def record_flow(self, detail: Any) -> None:
        """The flow's detail has changed."""


# --- rows <-> details --------------------------------------------------------------------------


def encode_failure(failure: Any) -> Row | None:
    """A Failure as JSON: types and text. No traceback and no arguments: they may hold anything."""
    if failure is None:
        return None
    return {
        "exc_type_names": list(failure),
        "exception_str": " ".join(str(failure.exception_str).split()),
    }


def decode_failure(data: Row | None) -> Any:
    """The Failure that `encode_failure` wrote; its exception is not brought back to life."""
    if data is None:
        return None
    return tf_failure.Failure(
        exc_type_names=data["exc_type_names"],
        exception_str=data["exception_str"],
        exc_args=(),
        traceback_str=None,
        causes=[],
    )


def encode_detail(detail: Any) -> Row:
    """What an atom detail holds beside its state and intention, JSON-ready, empties left out."""
    data: Row = {}
    if isinstance(detail, models.RetryDetail):
        if detail.results:
            data["results"] = [
                [value, {name: encode_failure(f) for name, f in failures.items()}]
                for value, failures in detail.results
            ]
    elif isinstance(detail.results, tf_failure.Failure):
        data["failed"] = True
    elif detail.results is not None:
        data["results"] = detail.results
    if detail.failure is not None:
        data["failure"] = encode_failure(detail.failure)
    if detail.revert_failure is not None:
        data["revert_failure"] = encode_failure(detail.revert_failure)
    if detail.meta:
        data["meta"] = detail.meta
    return data


def decode_detail(row: Row) -> Any:
    """An atom detail from its row."""
    cls = models.atom_detail_class(row["kind"])
    detail = cls(row["name"], row["uuid"])
    detail.state, detail.intention = row["state"], row["intention"]
    data = row["detail"]
    detail.failure = decode_failure(data.get("failure"))
    detail.revert_failure = decode_failure(data.get("revert_failure"))
    detail.meta = data.get("meta") or {}
    if isinstance(detail, models.RetryDetail):
        detail.results = [
            (value, {name: decode_failure(f) for name, f in failures.items()})
            for value, failures in data.get("results", ())
        ]
    else:
        detail.results = data.get("results")
    return detail


def load_flow_detail(row: Row, atoms: Iterable[Row]) -> Any:
    """A flow detail with its atoms, from their rows."""
    detail = models.FlowDetail(row["name"], row["uuid"])
    detail.state, detail.meta = row["state"], row["meta"] or {}
    for atom in atoms:
        detail.add(decode_detail(atom))
    return detail


# --- what an engine runs on --------------------------------------------------------------------


class _NoLock:
    """Stands for TaskFlow's reader/writer lock, a fifth of its time, where nobody competes."""

    def __init__(self) -> None:
        self._free = contextlib.nullcontext()

    def read_lock(self) -> Any:
        """Nothing to wait for."""
        return self._free

    def write_lock(self) -> Any:
        """Nothing to wait for."""
        return self._free


_NO_LOCK = _NoLock()


class _Locked:
    """A run's own lock in the shape of TaskFlow's."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def read_lock(self) -> Any:
        """The one lock there is."""
        return self._lock

    write_lock = read_lock


class LeanStorage(Storage):  # type: ignore[misc]
    """TaskFlow's storage without copies, without connections, without progress.

    It outlives a run: `take` gives it the records of the next one.
    """

    def __init__(self, flow_detail: Any, backend: Any, scope_fetcher: Any) -> None:
        self._recorder: Recorder | None = None
        self._details: dict[str, Any] = {}
        super().__init__(flow_detail, backend=backend, scope_fetcher=scope_fetcher)
        self._lock: Any = _NO_LOCK

    def take(self, flow_detail: Any, recorder: Recorder, lock: Any) -> None:
        """Go on with the records of another run; see engine/runner.py."""
        self._flowdetail, self._recorder = flow_detail, recorder
        # only the thread that runs the engine comes here, so that its lock serves the encoding of
        # records alone; where that is the same thread nobody competes
        self._lock = _NO_LOCK if lock is None else _Locked(lock)
        self._details = {detail.name: detail for detail in flow_detail}
        self._atom_name_to_uuid = {name: each.uuid for name, each in self._details.items()}
        self._failures = {
            name: {
                intention: failure
                for intention, failure in (
                    (tf_states.EXECUTE, each.failure),
                    (tf_states.REVERT, each.revert_failure),
                )
                if failure is not None
            }
            for name, each in self._details.items()
        }

    def ensure(self, atoms: Iterable[Any]) -> None:
        """A record for each atom that has none yet; it is written when it first changes."""
        for atom in atoms:
            if atom.name in self._details:
                continue
            kind = models.RetryDetail if hasattr(atom, "on_failure") else models.TaskDetail
            detail = kind(atom.name, str(uuid.uuid4()))
            detail.state = tf_states.PENDING
            self._flowdetail.add(detail)
            self._details[atom.name] = detail
            self._atom_name_to_uuid[atom.name] = detail.uuid
            self._failures[atom.name] = {}

    def provide(self, atom: Any) -> None:
        """Learn what an atom gives, and what is given to it alone; the same in every run."""
        self._set_result_mapping(atom.name, atom.save_as)
        if atom.inject:
            self.inject_atom_args(atom.name, atom.inject, transient=True)

    def detail(self, atom_name: str) -> Any:
        """The record of one atom."""
        return self._details[atom_name]

    def _fetch_flowdetail(self, clone: bool = False) -> tuple[Any, Any]:
        return self._flowdetail, self._flowdetail

    def _atomdetail_by_name(
        self, atom_name: str, expected_type: Any = None, clone: bool = False
    ) -> tuple[Any, Any]:
        found = self._details.get(atom_name)
        if found is None:
            raise tf_exceptions.NotFound(f"Unknown atom name '{atom_name}'")
        return found, found

    def _with_connection(self, functor: Any, *args: Any, **kwargs: Any) -> Any:
        return functor(None, *args, **kwargs)

    def _save_atom_detail(self, conn: Any, original: Any, detail: Any) -> Any:
        assert self._recorder is not None
        self._recorder.record_atom(detail)
        return detail

    def _save_flow_detail(self, conn: Any, original: Any, detail: Any) -> Any:
        assert self._recorder is not None
        self._recorder.record_flow(detail)
        return detail

    def set_task_progress(self, task_name: str, progress: float, details: Any = None) -> None:
        """Progress is not kept: a step is begun, done or undone."""

    def get_task_progress(self, task_name: str) -> float:
        """See set_task_progress."""
        return 0.0


def _unlocked(names: Iterable[str]) -> None:
    """Take the lock's decorator off the methods that an engine calls dozens of times a step."""
    for name in names:
        method = getattr(Storage, name)
        setattr(LeanStorage, name, getattr(method, "__wrapped__", method))


_unlocked(
    (
        "get_atom_uuid", "set_atom_state", "get_atom_state", "set_atom_intention",
        "get_atom_intention", "get_atoms_states", "save", "_get",
        "fetch_mapped_args", "get_flow_state", "change_flow_state", "get_execute_failures",
        "save_retry_failure", "cleanup_retry_history", "get_retry_history", "reset",
    )
)  # fmt: skip


class StoreBackend(base.Backend):  # type: ignore[misc]
    """TaskFlow's view of the store: what its tools may read, and a run's engine may record."""

    def __init__(self, store: Store, recorder: Recorder | None = None) -> None:
        super().__init__({})
        self.store, self.recorder = store, recorder

    def get_connection(self) -> StoreConnection:
        """A connection; it holds nothing of its own."""
        return StoreConnection(self)

    def close(self) -> None:
        """Nothing to close: the store belongs to the engine."""


class StoreConnection(base.Connection):  # type: ignore[misc]
    """One logbook a build, one flow detail a flow of it. Writes need a run to record them."""

    def __init__(self, backend: StoreBackend) -> None:
        self._backend = backend

    @property
    def backend(self) -> StoreBackend:
        """The backend."""
        return self._backend

    def close(self) -> None:
        """Nothing to close."""

    def upgrade(self) -> None:
        """The store migrates itself when it is opened."""

    def validate(self) -> None:
        """Raises StoreError when the store can't be read."""
        self._backend.store.list(limit=1)

    def clear_all(self) -> None:
        """Refused: the rows also say what exists outside."""
        raise base_refusal("clear_all")

    def _recorder(self, what: str) -> Recorder:
        if self._backend.recorder is None:
            raise base_refusal(what)
        return self._backend.recorder

    def update_atom_details(self, atom_detail: Any) -> Any:
        """Record it for the run's next boundary."""
        self._recorder("update_atom_details").record_atom(atom_detail)
        return atom_detail

    def update_flow_details(self, flow_detail: Any, ignore_missing: bool = False) -> Any:
        """Record it for the run's next boundary."""
        self._recorder("update_flow_details").record_flow(flow_detail)
        return flow_detail

    def save_logbook(self, book: Any) -> Any:
        """Refused: a build is accepted by the engine, with its instance, in one commit."""
        raise base_refusal("save_logbook")

    def destroy_logbook(self, book_uuid: str) -> None:
        """Refused: the rows also say what exists outside."""
        raise base_refusal("destroy_logbook")

    def _book(self, row: Row) -> Any:
        book = models.LogBook(row["name"] or row["id"], row["id"])
        store = self._backend.store
        for flow in store.flows(row["id"]):
            book.add(load_flow_detail(flow, store.atoms(flow["uuid"])))
        return book

    def get_logbook(self, book_uuid: str, lazy: bool = False) -> Any:
        """The build's logbook."""
        return self._book(self._backend.store.find(book_uuid))

    def get_logbooks(self, lazy: bool = False) -> Iterable[Any]:
        """Every build's logbook, newest first."""
        for row in self._backend.store.list(limit=None):
            yield self._book(row)

    def get_flows_for_book(self, book_uuid: str, lazy: bool = False) -> Iterable[Any]:
        """The flow details of one build."""
        yield from self.get_logbook(book_uuid)

    def get_flow_details(self, fd_uuid: str, lazy: bool = False) -> Any:
        """One flow detail."""
        for book in self.get_logbooks():
            found = book.find(fd_uuid)
            if found is not None:
                return found
        raise tf_exceptions.NotFound(f"no flow detail {fd_uuid}")

    def get_atom_details(self, ad_uuid: str) -> Any:
        """One atom detail."""
        for book in self.get_logbooks():
            for flow in book:
                found = flow.find(ad_uuid)
                if found is not None:
                    return found
        raise tf_exceptions.NotFound(f"no atom detail {ad_uuid}")

    def get_atoms_for_flow(self, fd_uuid: str) -> Iterable[Any]:
        """The atom details of one flow."""
        yield from self.get_flow_details(fd_uuid)


def base_refusal(what: str) -> Exception:
    """The error for what this backend does not do on TaskFlow's behalf."""
    refusal: Exception = tf_exceptions.StorageFailure(
        f"{what}: builds are written by buildflow's engine only"
    )
    return refusal
