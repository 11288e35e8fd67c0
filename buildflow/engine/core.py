"""The engine: accepts builds, runs them on a bounded pool, resumes, stops, removes and shows them.

It is general: a flow is any TaskFlow flow of Steps, made by a factory that takes plain arguments
which survive JSON. What a virtual machine is, only buildflow/flows and buildflow/api know.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from taskflow import states as tf_states

from buildflow.config import Settings
from buildflow.engine import owner as ownership
from buildflow.engine.clock import Clock, SystemClock, stamp
from buildflow.engine.definitions import (
    Definition,
    Definitions,
    FlowFactory,
    define,
    dotted_name,
)
from buildflow.engine.fingerprint import require_fit
from buildflow.engine.guard import Decision, Intention, decide
from buildflow.engine.locks import KeyedLocks
from buildflow.engine.persistence import StoreBackend, load_flow_detail
from buildflow.engine.removal import removal_flow
from buildflow.engine.run import Halt, Listener, Points, Run, StepEvent
from buildflow.engine.runner import force_revert, make_engine
from buildflow.engine.show import as_shown
from buildflow.engine.store import TERMINAL, Row, Rows, Store
from buildflow.errors import BadInput, BuildflowError, StaleOwner

ENDED = (*TERMINAL, "residue")


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


class Engine:
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
        self.settings, self._world = settings, world
        self.clock = clock or SystemClock()
        self.store = store or Store(settings.store_url)
        self._own_store = store is None
        self.points = points
        self.listeners: list[Listener] = [listener] if listener else []
        self.locks = KeyedLocks()
        self.definitions = Definitions()
        self._parallel = parallel
        self._watch_s = watch_s
        self._owner_expiry_s = owner_expiry_s
        self._owner: str | None = None
        self._mutex = threading.RLock()
        self._pool: ThreadPoolExecutor | None = None
        self._step_pool: ThreadPoolExecutor | None = None
        self._runs: dict[str, Run] = {}
        self._futures: dict[str, Future[None]] = {}
        self._closing = threading.Event()
        self._interrupted = False
        self._watcher: threading.Thread | None = None

    @property
    def world(self) -> Any:
        """What the steps act on."""
        return self._world

    # --- what a user calls -------------------------------------------------------------------------

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
            from datetime import timedelta

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
                return self._await_other(build_id, intention)
            if self._pool is None:
                self._pool = ThreadPoolExecutor(
                    self.settings.max_concurrent_builds, thread_name_prefix="build"
                )
            fresh = row if row["seq"] == 0 and row["owner"] == self._owner else None
            future = self._pool.submit(self.carry_out, build_id, intention, row=fresh)
            self._futures[build_id] = future
            future.add_done_callback(lambda done: self._forget(build_id, done))
        return Handle(self, build_id, future)

    def _forget(self, build_id: str, future: Future[None]) -> None:
        with self._mutex:
            if self._futures.get(build_id) is future:
                del self._futures[build_id]

    def resume(self, names: Sequence[str] | None = None, *, revert: bool = False) -> Handles:
        """Go on with builds that a process left behind, or roll them back; all of them by default.

        A build whose owner lives is left alone, unless it is named: then StaleOwner is raised.
        """
        intention = Intention.REVERT if revert else Intention.RUN
        if names is None:
            rows = [
                row
                for row in self.store.unfinished()
                if row["status"] != "residue" and not self.owner_lives(row)
            ]
        else:
            rows = [self.store.find(name) for name in names]
            for row in rows:
                if row["status"] not in ENDED and self.owner_lives(row):
                    raise StaleOwner(
                        f"build {row['id']} is being worked on by a process that lives;"
                        " `buildflow cancel` stops it"
                    )
        return [self.start(row, intention) for row in rows]

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
                target=self.store.request_stop, args=(build_id, "interrupted"), daemon=True
            ).start()

    def delete(self, name: str) -> Handle:
        """Remove a build and all it made; at any moment it wins over whatever goes on."""
        row = self.store.find(name)
        if row["status"] in ENDED:
            return self.start(row, Intention.DELETE)
        self.store.request_stop(row["id"], "deleted")
        run = self._runs.get(row["id"])
        if run is not None:
            run.note_stop("deleted")
            with self._mutex:
                return Handle(self, row["id"], self._futures.get(row["id"]))
        if self.owner_lives(row):
            return self._await_other(row["id"], Intention.DELETE)
        return self.start(row, Intention.DELETE)

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
        keys = (
            "id", "name", "status", "vm_state", "task_state", "power_state", "host", "created_at",
            "finished_at",
        )  # fmt: skip
        return [{key: row[key] for key in keys} for row in self.store.list(limit)]

    def show(self, name: str) -> Row:
        """One build with its steps, effects, fault and residue; see engine/show.py."""
        return as_shown(self.store, self.store.find(name))

    def history(self, name: str) -> Rows:
        """Its transitions, in order."""
        row = self.store.find(name)
        return [
            {key: value for key, value in line.items() if key not in ("id", "build")}
            for line in self.store.history(row["id"])
        ]

    def wait(self, names: Iterable[str]) -> Rows:
        """Wait for builds that run here, and show them."""
        return [Handle(self, n, self._futures.get(n)).wait() for n in names]

    def close(self, *, cancel: bool = False) -> None:
        """Wait for what runs here, or with `cancel` stop and roll it back; then let go."""
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
            try:
                self.store.forget_owner(self._owner)
            except BuildflowError:
                pass  # a row of a process that is gone does no harm
        if self._own_store:
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close(cancel=exc[0] is not None)

    # --- ownership -----------------------------------------------------------------------------------

    def owner_id(self) -> str:
        """This process as an owner of builds; registered at first use."""
        with self._mutex:
            if self._owner is None:
                row = ownership.describe_self(self.clock, self._owner_expiry_s)
                self.store.register_owner(row)
                self._owner = row["id"]
            return self._owner

    def owner_lives(self, row: Row) -> bool:
        """Whether a process, this one included, may be at work on the build."""
        if row["owner"] is None:
            return False
        if row["owner"] == self._owner:
            return row["id"] in self._runs or row["id"] in self._futures
        return ownership.lives(self.store.owner(row["owner"]), self.clock.now())

    def _await_other(self, build_id: str, intention: Intention) -> Handle:
        """A handle on a build that another process is at work on; taken over should it die."""

        def follow() -> None:
            while True:
                row = self.store.build(build_id)
                if row is None or row["status"] in ENDED:
                    break
                if not self.owner_lives(row):
                    self.carry_out(build_id, intention)
                    return
                self.clock.sleep(0.1)
            row = self.store.find(build_id)
            if intention is not Intention.DELETE:
                return
            if row["status"] != "residue" and row["vm_state"] not in (None, "deleted"):
                self.carry_out(build_id, Intention.DELETE)

        with self._mutex:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(
                    self.settings.max_concurrent_builds, thread_name_prefix="build"
                )
            return Handle(self, build_id, self._pool.submit(follow))

    # --- carrying a build out ------------------------------------------------------------------------

    def carry_out(
        self,
        build_id: str,
        intention: Intention = Intention.RUN,
        *,
        take_over: bool = False,
        row: Row | None = None,
    ) -> None:
        """Claim a build and bring it to an end, in this thread.

        `row` is the build's as just accepted here; it is read when not given. `take_over` claims it although its owner seems to live (a jobboard's verdict). Raises
        StaleOwner, FlowChanged or StoreError with the build left for another try.
        """
        row = row or self.store.build(build_id)
        if row is None:
            raise BadInput(f"no build has the id {build_id!r}")
        decision = decide(row, intention)
        if decision is Decision.NOTHING:
            return
        definition = self.definitions.lend(row["flow"], row["inputs"])
        if decision is Decision.FORWARD:
            require_fit(row["id"], row["fingerprint"], definition.fingerprint)
        row = self._claim(row, take_over=take_over)
        run = self._open_run(row, definition, decision)
        try:
            if decision is Decision.REMOVE:
                self._remove(run, definition)
            elif decision is Decision.SWEEP:
                self._sweep(run, deleting=intention is Intention.DELETE)
            else:
                self._run_flow(run, definition, back=decision is Decision.BACK)
        except Halt as halt:
            self._take_back(run, halt)
            raise halt.error from None
        finally:
            with self._mutex:
                self._runs.pop(build_id, None)
        self.definitions.take_back(definition)

    def _claim(self, row: Row, *, take_over: bool) -> Row:
        me = self.owner_id()
        if row["owner"] == me and row["id"] not in self._runs:
            return row
        if not take_over and row["status"] not in ENDED and self.owner_lives(row):
            raise StaleOwner(f"build {row['id']} is being worked on by another process")
        epoch = self.store.claim(row["id"], me, row["epoch"])
        if epoch is None:
            raise StaleOwner(f"build {row['id']} was claimed by another process just now")
        claimed = self.store.build(row["id"])
        if claimed is None or claimed["epoch"] != epoch:
            raise StaleOwner(f"build {row['id']} was claimed by another process just now")
        return claimed

    def _open_run(self, row: Row, definition: Definition, decision: Decision) -> Run:
        from datetime import datetime

        name = "delete" if decision is Decision.REMOVE else "build"
        detail_uuid = flow_uuid(row["id"], name)
        fresh = row["seq"] == 0
        run = Run(
            self.store,
            row,
            detail_uuid,
            world=self.world,
            clock=self.clock,
            settings=self.settings,
            effects=() if fresh else self.store.effects(row["id"]),
            atom_rows=() if fresh else self.store.atoms(detail_uuid),
            points=self.points,
            listener=self._tell if self.listeners else None,
        )
        run.locks = self.locks
        if row["deadline_at"] is not None:
            left = datetime.fromisoformat(row["deadline_at"]) - self.clock.now()
            run.deadline = self.clock.monotonic() + left.total_seconds()
        definition.bind(run)
        run.steps = definition.steps
        with self._mutex:
            self._runs[row["id"]] = run
            if self._interrupted:  # it came while this build was accepted but not yet a run
                run.note_stop("interrupted")
            if self._watch_s is not None and self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="watch", daemon=True)
                self._watcher.start()
        return run

    def _run_flow(self, run: Run, definition: Definition, *, back: bool) -> None:
        detail = self._load_detail(run, "build")
        states = {atom.name: (atom.state, atom.intention) for atom in detail}
        run.resumed_from(n for n, (state, _) in states.items() if state == tf_states.RUNNING)
        run.rescheduling = any(
            state == tf_states.RETRYING or intention == tf_states.RETRY
            for state, intention in states.values()
        )
        # TaskFlow would take a flow that it calls finished from the top again (B2)
        detail.state = tf_states.PENDING if not states else tf_states.SUSPENDED
        pool = self._steps() if self._parallel else None
        backend = StoreBackend(self.store)
        engine = make_engine(definition.flow, detail, backend, run, pool, definition.compilation)
        if back:
            run.rescheduling = False
            run.going_back = run.going_back or run.status == "rolling_back"
            if run.stop is not None and run.fault is None:
                from buildflow.errors import BuildStopped

                run.blame(BuildStopped(run.stop), "")
            force_revert(engine)
        run.fetch_results = engine.storage.fetch_all
        try:
            engine.run()
        except Exception as error:
            if run.fault is None and run.status != "complete":
                run.blame(error, "")
        if run.status != "complete":
            run.rescheduling = False
            run.end_rollback()

    def _remove(self, run: Run, definition: Definition) -> None:
        """The delete flow. Steps go forward, and nothing stops them but what can't be removed."""
        run.removing = True
        if run.status != "rolling_back":
            run.set_status("rolling_back")
        run.begin_deleting()
        removal = define(self.removal(run.row, definition.flow))
        removal.bind(run)
        run.steps = {**definition.steps, **removal.steps}
        detail = self._load_detail(run, "delete")
        detail.state = tf_states.PENDING if not len(detail) else tf_states.SUSPENDED
        run.record_flow(detail)
        run.commit()
        if removal.atoms:
            make_engine(
                removal.flow, detail, StoreBackend(self.store), run, None, removal.compilation
            ).run()
        run.sweep()
        run.end_rollback()

    def removal(self, row: Row, flow: Any) -> Any:
        """The delete flow for what `flow` made."""
        return removal_flow(flow, f"delete {flow.name}")

    def _sweep(self, run: Run, *, deleting: bool) -> None:
        run.going_back = True
        if deleting:
            run.begin_deleting()
        run.set_status("rolling_back")
        run.commit()
        run.sweep(again=True)
        run.end_rollback()

    def _load_detail(self, run: Run, name: str) -> Any:
        from taskflow.persistence import models

        if name == "build" and run.seq == 0:
            return models.FlowDetail("build", run.flow_uuid)
        for row in self.store.flows(run.id):
            if row["uuid"] == run.flow_uuid:
                return load_flow_detail(self.store, row)
        return models.FlowDetail(name, run.flow_uuid)

    def _take_back(self, run: Run, halt: Halt) -> None:
        """A stale owner's last effects: removed again when the ledger says that they are undone.

        Between the commit of an intent and its effect this process may have been stopped for so
        long that another took over, found nothing, and ended the build.
        """
        if not isinstance(halt.error, StaleOwner) or not run.made:
            return
        ledger = {effect["key"]: effect for effect in self.store.effects(run.id)}
        for step, key in reversed(run.made):
            effect = ledger.get(key)
            if effect is not None and effect["state"] == "undone":
                try:
                    step.delete(key, effect["facts"])
                except Exception:  # noqa: S112 - `gc` lists it; there is no row to write to
                    continue

    # --- threads -------------------------------------------------------------------------------------

    def _steps(self) -> ThreadPoolExecutor:
        with self._mutex:
            if self._step_pool is None:
                self._step_pool = ThreadPoolExecutor(
                    4 * self.settings.max_concurrent_builds, thread_name_prefix="step"
                )
            return self._step_pool

    def _watch(self) -> None:
        """Look for stop requests of other processes, and say that this owner lives."""
        beat = self.clock.monotonic()
        while not self._closing.wait(self._watch_s):
            runs = dict(self._runs)
            try:
                if runs:
                    for build_id, (stop, epoch) in self.store.stops(list(runs)).items():
                        if stop is not None:
                            runs[build_id].note_stop(stop)
                        elif epoch != runs[build_id].epoch:
                            runs[build_id].note_stop("lost")
                if self._owner is not None and self.clock.monotonic() - beat > (
                    self._owner_expiry_s / 4
                ):
                    beat = self.clock.monotonic()
                    self.store.heartbeat(self._owner, stamp(self.clock.now()))
            except BuildflowError:
                continue  # the next commit will say it better

    def _tell(self, event: StepEvent) -> None:
        for listener in list(self.listeners):
            listener(event)


def flow_uuid(build: str, name: str) -> str:
    """The uuid of a build's flow detail."""
    return str(uuid.uuid5(uuid.UUID(build), f"flow:{name}"))
