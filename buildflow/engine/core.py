"""The engine: accepts builds, runs them on a bounded pool, resumes, stops, removes and shows them.

It is general: a flow is any TaskFlow flow of Steps, made by a factory that takes plain arguments
which survive JSON. What a virtual machine is, only buildflow/flows and buildflow/api know. How one
build is carried to its end: engine/carry.py.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Self

from buildflow.config import Settings
from buildflow.engine.carry import Carrier, flow_uuid
from buildflow.engine.clock import Clock, SystemClock, stamp
from buildflow.engine.definitions import FlowFactory, dotted_name
from buildflow.engine.guard import Decision, Intention, decide
from buildflow.engine.run import Listener, Points
from buildflow.engine.show import as_shown, history_of, listed
from buildflow.engine.store import ENDED, Row, Rows, Store
from buildflow.engine.unfit import unfit
from buildflow.errors import BadInput, BuildflowError, NoRoom, StaleOwner

__all__ = ("ENDED", "Engine", "Handle", "flow_uuid")

# how often a build is looked at that another process is at work on
FOLLOW_S = 0.1


class Handle:
    """One build that this process has been asked to work on."""

    def __init__(self, engine: Engine, build_id: str, future: Future[None] | None) -> None:
        self.engine, self.id, self._future = engine, build_id, future

    def wait(self, timeout: float | None = None) -> Row:
        """The build as `show` gives it, once this process has no more to do for it.

        Raises TimeoutError after `timeout` seconds, StoreError or StaleOwner when it could not be
        carried to its end here. A build that failed is no exception: read `status` and `fault`.
        """
        if self._future is not None:
            self._future.result(timeout)
        return self.engine.show(self.id)

    def cancel(self) -> bool:
        """Ask it to stop and roll back; returns at once. False when it has ended already."""
        return self.engine.cancel(self.id)

    @property
    def done(self) -> bool:
        """Whether this process has no more to do for it."""
        return self._future is None or self._future.done()

    @property
    def status(self) -> str:
        """queued, running, rolling_back, complete, rolled_back or residue."""
        row = self.engine.store.build(self.id)
        return row["status"] if row is not None else "unknown"


Handles = list[Handle]


class Engine(Carrier):
    """See the module. Close it, or use it as a context manager.

    * `world`: handed to the steps as `step.world`: drivers, or whatever your flows need.
    * `points`, `listener`: see engine/run.py. `clock`: see engine/clock.py.
    * `parallel`: whether independent steps of one build may overlap.
    * `watch_s`: how often other processes' stop requests are looked for; None for never.
    """

    def __init__(
        self,
        settings: Settings,
        world: Any = None,
        *,
        store: Store | None = None,
        clock: Clock | None = None,
        points: Points | None = None,
        listener: Listener | None = None,
        parallel: bool = True,
        watch_s: float | None = 0.2,
        owner_expiry_s: int = 30,
    ) -> None:
        self._own_store = store is None
        super().__init__(
            settings,
            world,
            store or Store(settings.store_url),
            clock or SystemClock(),
            points=points,
            listener=listener,
            parallel=parallel,
            watch_s=watch_s,
            owner_expiry_s=owner_expiry_s,
        )
        self._pool: ThreadPoolExecutor | None = None
        self._futures: dict[str, Future[None]] = {}
        self._closed = False

    # --- what a user calls ----------------------------------------------------------------------

    def run(
        self,
        flow_factory: FlowFactory,
        inputs: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        request_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Handle:
        """Run a flow of your own; returns at once.

        `flow_factory` is a module-level function that returns a TaskFlow flow of Steps from
        `inputs` (JSON), so that another process can make it again. Raises BadInput,
        DefinitionError or Conflict before anything is begun.
        """
        row = self.accept(
            flow_factory, dict(inputs or {}), name=name, request_id=request_id, timeout_s=timeout_s
        )
        return self.start(row)

    def accept(
        self,
        flow_factory: FlowFactory,
        inputs: Row,
        *,
        name: str | None = None,
        request_id: str | None = None,
        timeout_s: float | None = None,
        build_id: str | None = None,
        instance: bool = False,
        queue: bool = False,
    ) -> Row:
        """Make a build durable without starting it. `queue` leaves it for whoever claims it."""
        if request_id is not None:
            earlier = self.store.by_request(request_id)
            if earlier is not None:
                return earlier
        dotted = dotted_name(flow_factory)
        definition = self.definitions.lend(dotted, inputs)
        entries = definition.fingerprint
        self.definitions.take_back(definition)
        now = self.clock.now()
        new_id = build_id or str(uuid.uuid4())
        timeout_s = timeout_s if timeout_s is not None else self.settings.build_timeout_s
        build = {
            "id": new_id,
            "name": name,
            "live_name": name,
            "request_id": request_id,
            "status": "queued",
            "flow": dotted,
            "inputs": inputs,
            "fingerprint": entries,
            "owner": None if queue else self.owner_id(),
            "epoch": 0 if queue else 1,
            "seq": 0,
            "stop": None,
            "attempt": 1,
            "created_at": stamp(now),
            "deadline_at": None,
        }
        if timeout_s is not None:
            build["deadline_at"] = stamp(now + timedelta(seconds=timeout_s))
        detail = {
            "uuid": flow_uuid(new_id, "build"),
            "build": new_id,
            "name": "build",
            "state": None,
            "meta": {"factory": dotted},
        }
        return self.store.create(build, instance, detail)

    def start(self, row: Row, intention: Intention = Intention.RUN) -> Handle:
        """Put a build on the pool; one that has ended, or is at work anywhere, is only watched."""
        build_id = row["id"]
        with self._mutex:
            future = self._futures.get(build_id)
            if future is not None and not future.done():
                return Handle(self, build_id, future)
            if decide(row, intention) is Decision.NOTHING:
                return Handle(self, build_id, None)
            if row["status"] not in ENDED and row["owner"] != self._owner and self.owner_lives(row):
                return self._follow(build_id, intention)
            fresh = row if row["seq"] == 0 and row["owner"] == self._owner else None
            return Handle(self, build_id, self._submit(build_id, intention, fresh))

    def resume(self, names: Sequence[str] | None = None, *, revert: bool = False) -> Handles:
        """Go on with builds that a process left behind, or roll them back; all of them by default.

        A build whose owner lives is left alone, unless it is named: then StaleOwner is raised.
        """
        intention = Intention.REVERT if revert else Intention.RUN
        if names is None:
            rows = [
                row
                for row in self.store.unfinished()
                if row["status"] != "residue" and not self._at_work(row)
            ]
        else:
            rows = [self.store.find(name) for name in names]
            for row in rows:
                if row["status"] not in ENDED and self._at_work(row):
                    raise StaleOwner(
                        f"build {row['id']} is being worked on by a process that lives;"
                        " `buildflow cancel` stops it"
                    )
        return [self.take_up(row, intention) for row in rows]

    def take_up(self, row: Row, intention: Intention) -> Handle:
        """Go on with one that was left behind; an engine may first see whether it can."""
        return self.start(row, intention)

    def cancel(self, name: str, reason: str = "cancelled") -> bool:
        """Ask a build to stop and roll back, wherever it runs. False when it has ended already."""
        row = self.store.find(name)
        accepted = self.store.request_stop(row["id"], reason)
        run = self._runs.get(row["id"])
        if accepted and run is not None:
            run.note_stop(reason)
        return accepted

    def interrupt(self) -> None:
        """Stop everything that runs here or begins from now on; for SIGINT and SIGTERM.

        Returns at once.
        """
        self._interrupted = True
        for build_id, run in list(self._runs.items()):
            run.note_stop("interrupted")
            threading.Thread(
                target=self._request_quietly, args=(build_id, "interrupted"), daemon=True
            ).start()

    def _request_quietly(self, build_id: str, reason: str) -> None:
        # the run has been told already: what is stored is for a resume, should we be killed now
        with contextlib.suppress(BuildflowError):
            self.store.request_stop(build_id, reason)

    def delete(self, name: str) -> Handle:
        """Remove a build and all it made; at any moment it wins over whatever goes on."""
        row = self.store.find(name)
        if row["status"] in ENDED:
            return self.start(row, Intention.DELETE)
        self.store.request_stop(row["id"], "deleted")
        run = self._runs.get(row["id"])
        if run is not None:
            run.note_stop("deleted")
        return self._follow(row["id"], Intention.DELETE)

    def cleanup(self, name: str | None = None) -> Handles:
        """Go on with the undo of what is residue; of every such build by default."""
        rows = (
            [self.store.find(name)]
            if name is not None
            else [row for row in self.store.unfinished() if row["status"] == "residue"]
        )
        return [self.start(row, Intention.CLEANUP) for row in rows]

    def list(self, limit: int | None = 100) -> Rows:
        """Builds, newest first: `id`, `name`, `status`, the three states, `host`, `created_at`."""
        return listed(self.store, limit)

    def show(self, name: str) -> Row:
        """One build with its steps, effects, fault and residue; see engine/show.py."""
        return as_shown(self.store, self.store.find(name))

    def history(self, name: str) -> Rows:
        """Its transitions, in order."""
        return history_of(self.store, name)

    def unfit_builds(self) -> Rows:
        """Unfinished builds that this version's flows could not go on with; see engine/unfit.py."""
        return unfit(self.store, self.definitions)

    def wait(self, names: Iterable[str]) -> Rows:
        """Wait for builds that run here, and show them."""
        return [Handle(self, n, self._futures.get(n)).wait() for n in names]

    def close(self, *, cancel: bool = False) -> None:
        """Wait for what runs here, or with `cancel` stop and roll it back; then let go."""
        with self._mutex:
            self._closed = True
        if cancel:
            for build_id in list(self._futures):
                self.cancel(build_id)
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        self._closing.set()
        if self._watcher is not None:
            self._watcher.join()
        if self._step_pool is not None:
            self._step_pool.shutdown(wait=True)
        if self._owner is not None:
            # a row of a process that is gone does no harm
            with contextlib.suppress(BuildflowError):
                self.store.forget_owner(self._owner)
        if self._own_store:
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close(cancel=exc[0] is not None)

    # --- threads --------------------------------------------------------------------------------

    def _at_work(self, row: Row) -> bool:
        return row["id"] in self._futures or self.owner_lives(row)

    def _submit(self, build_id: str, intention: Intention, row: Row | None) -> Future[None]:
        """On the pool, first come first served."""
        with self._mutex:
            if self._closed:
                raise BadInput("this engine has been closed")
            if self._pool is None:
                self._pool = ThreadPoolExecutor(
                    self.settings.max_concurrent_builds, thread_name_prefix="build"
                )
            future = self._pool.submit(self.carry_out, build_id, intention, row=row)
            self._futures[build_id] = future
        future.add_done_callback(lambda done: self._forget(build_id, done))
        return future

    def _forget(self, build_id: str, future: Future[None]) -> None:
        with self._mutex:
            if self._futures.get(build_id) is future:
                del self._futures[build_id]

    def _follow(self, build_id: str, intention: Intention) -> Handle:
        """A handle on a build that somebody is at work on; taken over should that process die.

        It has a thread of its own: one that only waits must not keep a build off the pool.
        """
        future: Future[None] = Future()

        def body() -> None:
            try:
                self._see_through(build_id, intention)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(None)

        threading.Thread(target=body, name="follow", daemon=True).start()
        return Handle(self, build_id, future)

    def others(self) -> Callable[[Row], bool]:
        """Tells of a build that nobody is at work on whether somebody else is going to be.

        Asked again and again while it is waited for. For an engine that knows of others.
        """
        return lambda _row: False

    def require_reach(self, row: Row) -> None:
        """Raise HostUnusable where a build must not be taken up from here; for one that knows."""

    def _see_through(self, build_id: str, intention: Intention) -> None:
        by_others = self.others()
        while True:
            self._await_here(lambda: self._futures.get(build_id))
            row = self.store.build(build_id)
            if row is None:
                raise BadInput(f"no build has the id {build_id!r}")
            if row["status"] == "residue" or decide(row, intention) is Decision.NOTHING:
                return
            idle = row["status"] in ENDED or not self._at_work(row)
            if idle and not by_others(row):
                self.require_reach(row)
                with self._mutex:
                    if build_id not in self._futures:
                        self._submit(build_id, intention, None)
                continue
            if self._closing.wait(FOLLOW_S):
                raise StaleOwner(f"build {build_id} is still at work in another process")

    @staticmethod
    def _await_here(find: Callable[[], Future[None] | None]) -> None:
        future = find()
        if future is not None:
            # where another process was faster, it is followed; what waits for room is looked at
            with contextlib.suppress(StaleOwner, NoRoom):
                future.result()
