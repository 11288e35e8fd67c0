"""Carrying one build to its end: claim it, decide, run it forward or back, and let go of it.

Rules:
* The build's row decides what is done (engine/guard.py), and is read again once it is claimed: what
  was read before may have been another owner's last moment.
* Whoever works on a build has raised its epoch; only the one that accepted it starts with it.
* A run that halts (the store or the ownership is lost) leaves its build as a crash would.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from taskflow import states as tf_states
from taskflow.persistence import models

from buildflow.config import Settings
from buildflow.engine import owner as ownership
from buildflow.engine.clock import Clock, stamp
from buildflow.engine.definitions import Definition, Definitions, define, make_flow
from buildflow.engine.fingerprint import first_difference, require_fit
from buildflow.engine.guard import Decision, Intention, decide
from buildflow.engine.locks import KeyedLocks
from buildflow.engine.persistence import StoreBackend, load_flow_detail
from buildflow.engine.removal import removal_flow
from buildflow.engine.run import (
    INTENT,
    LOST,
    UNDONE,
    Halt,
    Listener,
    Points,
    Run,
    StepEvent,
)
from buildflow.engine.runner import force_revert
from buildflow.engine.staging import FENCE_GOOD_FOR_S
from buildflow.engine.store import ENDED, Row, Store
from buildflow.errors import BadInput, BuildflowError, BuildStopped, StaleOwner

# how often one that has lost a build looks at what becomes of its last effect
SETTLE_S = 0.1


class Carrier:
    """What one process needs to carry builds; engine/core.py gives it a pool and a public face."""

    def __init__(
        self,
        settings: Settings,
        world: Any,
        store: Store,
        clock: Clock,
        *,
        points: Points | None,
        listener: Listener | None,
        parallel: bool,
        watch_s: float | None,
        owner_expiry_s: int,
    ) -> None:
        self.settings, self._world = settings, world
        self.store, self.clock = store, clock
        self.points = points
        self.listeners: list[Listener] = [listener] if listener else []
        self.locks = KeyedLocks()
        self.definitions = Definitions()
        self._backend = StoreBackend(store)
        self._parallel = parallel
        self._watch_s = watch_s
        self._owner_expiry_s = owner_expiry_s
        self._owner: str | None = None
        self._mutex = threading.RLock()
        self._step_pool: ThreadPoolExecutor | None = None
        self._claimed: set[str] = set()
        self._runs: dict[str, Run] = {}
        self._closing = threading.Event()
        self._interrupted = False
        self._watcher: threading.Thread | None = None

    @property
    def world(self) -> Any:
        """What the steps act on."""
        return self._world

    def running(self, build_id: str) -> Run | None:
        """The run of a build that is at work in this process now, None when there is none."""
        return self._runs.get(build_id)

    # --- ownership ------------------------------------------------------------------------------

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
            return row["id"] in self._claimed
        return ownership.lives(self.store.owner(row["owner"]), self.clock.now())

    # --- one build, in this thread --------------------------------------------------------------

    def carry_out(
        self,
        build_id: str,
        intention: Intention = Intention.RUN,
        *,
        take_over: bool = False,
        row: Row | None = None,
    ) -> None:
        """Claim a build and bring it to an end, in this thread.

        `row` is the build's as just accepted here; it is read when not given. `take_over` claims it
        although its owner seems to live (a jobboard's verdict). Raises StaleOwner, FlowChanged or
        StoreError with the build left for another try, NoRoom when it waits in the queue again.
        """
        row = row or self.store.build(build_id)
        if row is None:
            raise BadInput(f"no build has the id {build_id!r}")
        if decide(row, intention) is Decision.NOTHING:
            return
        definition = self.definitions.lend(row["flow"], row["inputs"])
        if decide(row, intention) is Decision.FORWARD:
            require_fit(row["id"], row["fingerprint"], definition.fingerprint)
        self._reserve(build_id)
        try:
            row = self._claim(row, take_over=take_over)
            decision = decide(row, intention)
            if decision is Decision.NOTHING:
                return
            run = self._open_run(row, definition, decision)
            try:
                self._carry(run, definition, decision, intention)
            except Halt as halt:
                self._take_back(run, halt)
                raise halt.error from None
        finally:
            with self._mutex:
                self._runs.pop(build_id, None)
                self._claimed.discard(build_id)
        self.definitions.take_back(definition)

    def _carry(
        self, run: Run, definition: Definition, decision: Decision, intention: Intention
    ) -> None:
        if decision is Decision.REMOVE:
            self._remove(run, definition)
        elif decision is Decision.SWEEP:
            self._sweep(run, deleting=intention is Intention.DELETE)
        elif decision is Decision.BACK and first_difference(
            run.row["fingerprint"], definition.fingerprint
        ):
            # TaskFlow's records are another version's; the ledger and the steps' names are enough
            self._blame_stop(run)
            run.end_rollback()
        else:
            self._run_flow(run, definition, back=decision is Decision.BACK)

    def _reserve(self, build_id: str) -> None:
        with self._mutex:
            if build_id in self._claimed:
                raise StaleOwner(f"build {build_id} is being worked on by this process")
            self._claimed.add(build_id)

    def _claim(self, row: Row, *, take_over: bool) -> Row:
        me = self.owner_id()
        mine = row["owner"] == me
        if mine and row["seq"] == 0:
            return row
        living = row["status"] not in ENDED and not mine and self.owner_lives(row)
        if living and not take_over:
            raise StaleOwner(f"build {row['id']} is being worked on by another process")
        # an earlier run of this process that halted may have a step at work still: a new epoch
        self.store.claim(row["id"], me, row["epoch"])
        claimed = self.store.build(row["id"])
        # the row says who was faster, even where the answer to the claim was lost
        if claimed is None or (claimed["owner"], claimed["epoch"]) != (me, row["epoch"] + 1):
            raise StaleOwner(f"build {row['id']} was claimed by another process just now")
        if living:  # what it still begins on the word of its last commit, it begins before we do
            self.clock.sleep(FENCE_GOOD_FOR_S)
        return claimed

    def _open_run(self, row: Row, definition: Definition, decision: Decision) -> Run:
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
            locks=self.locks,
        )
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

    # --- forward, back, away --------------------------------------------------------------------

    def _run_flow(self, run: Run, definition: Definition, *, back: bool) -> None:
        detail = self._load_detail(run, "build")
        states = {atom.name: (atom.state, atom.intention) for atom in detail}
        run.resumed_from(n for n, (state, _) in states.items() if state == tf_states.RUNNING)
        run.rescheduling = not back and any(
            state == tf_states.RETRYING or intention == tf_states.RETRY
            for state, intention in states.values()
        )
        # TaskFlow would take a flow that it calls finished from the top again (B2)
        detail.state = tf_states.SUSPENDED if states else tf_states.PENDING
        engine = definition.engine(
            detail, run, self._backend, self._steps if self._parallel else None
        )
        if back:
            self._blame_stop(run)
            force_revert(engine)
        run.fetch_results = engine.storage.fetch_all
        run.at_hand = engine.at_hand
        try:
            engine.run()
        except Exception as error:
            if run.fault is None and run.status != "complete":
                run.blame(error, "")
        if run.status != "complete":
            run.rescheduling = False
            run.end_rollback()

    @staticmethod
    def _blame_stop(run: Run) -> None:
        if run.stop is not None and run.fault is None:
            run.blame(BuildStopped(run.stop), "")

    def _remove(self, run: Run, definition: Definition) -> None:
        """The delete flow. Steps go forward, and nothing stops them but what can't be removed."""
        run.removing = True
        if run.status != "rolling_back":
            run.set_status("rolling_back")
        run.begin_deleting()
        detail = self._load_detail(run, "delete")
        if run.leftovers() or len(detail):
            removal = define(self.removal(run.row, make_flow(run.row["flow"], run.row["inputs"])))
            removal.bind(run)
            run.steps = {**definition.steps, **removal.steps}
            detail.state = tf_states.SUSPENDED if len(detail) else tf_states.PENDING
            run.record_flow(detail)
            run.commit()
            try:
                engine = removal.engine(detail, run, self._backend, None)
                run.at_hand = engine.at_hand
                engine.run()
            except Exception as error:
                run.blame(error, "")
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
        if name == "build" and run.seq == 0:
            return models.FlowDetail(name, run.flow_uuid)
        for row in self.store.flows(run.id):
            if row["uuid"] == run.flow_uuid:
                return load_flow_detail(row, run.atom_rows)
        return models.FlowDetail(name, run.flow_uuid)

    def _take_back(self, run: Run, halt: Halt) -> None:
        """A stale owner's last effects: removed again when the ledger says that they are undone.

        Between the commit of an intent and its effect this process may have been stopped for so
        long that another took over, found nothing, and ended the build.
        """
        if not isinstance(halt.error, StaleOwner):
            return
        for key, step in reversed(run.made.items()):
            # `gc` lists what is not taken back here; there is no row to write to
            with contextlib.suppress(Exception):
                effect = self._settled(run, key)
                if effect is not None and effect["state"] == UNDONE:
                    step.delete(key, effect["facts"])

    def _settled(self, run: Run, key: str) -> Row | None:
        """What the build's new owner has decided about an effect of the old one.

        It may have looked for it before it was made, and not have said yet that it is undone.
        """
        deadline = self.clock.monotonic() + self.settings.undo_timeout_s
        while True:
            build = self.store.build(run.id)
            effect = next((e for e in self.store.effects(run.id) if e["key"] == key), None)
            if effect is None or effect["state"] != INTENT or build is None:
                return effect
            if build["epoch"] == run.epoch:
                return None  # nobody has it yet: whoever takes it finds what we have made
            if build["status"] != "rolling_back" or self.clock.monotonic() >= deadline:
                return effect
            self.clock.sleep(SETTLE_S)

    # --- threads --------------------------------------------------------------------------------

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
                        if epoch != runs[build_id].epoch:
                            runs[build_id].note_stop(LOST)
                        elif stop is not None:
                            runs[build_id].note_stop(stop)
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
