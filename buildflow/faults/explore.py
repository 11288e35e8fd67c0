"""Exploration: every single fault, every ordered pair of faults, and random plans beyond.

Rounds of walks (walk.py) over one graph of positions (graph.py), until no edge is left to try. Each
round's edges are shared out to worker processes, whose findings are put together before the next.
A plan is decided when each of its edges was run; `pruned` counts those for which no run of their
own was needed. tests/faults/test_pruning.py runs every pair of a small flow from its start to its
end, and finds the same.

A scene that cannot tell its position is explored one plan at a time, each run to its end.
"""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import struct
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from buildflow.faults.graph import CLEAN, Edge, Graph, Node
from buildflow.faults.injector import Injector
from buildflow.faults.kinds import KINDS, NUMBER, Act, Kind
from buildflow.faults.oracle import Reference
from buildflow.faults.plan import Fault
from buildflow.faults.play import Scenario, play, reference_of
from buildflow.faults.scene import Outcome, Scene
from buildflow.faults.visit import Visit
from buildflow.faults.walk import KILL, Along, Found, Mine, Walk

_HEADER: Final = struct.Struct("<I")
_ROUNDS_MAX: Final = 60
# edges after which it is looked again from which checkpoints they are reached
_SURVEY_EACH: Final = 1000
# how often a worker says what it has found
_REPORT_S: Final = 1.0
# garbage is looked for in large portions: a graph never is any, and takes long to look through
_GARBAGE: Final = (100_000, 5, 20)
_TAKES: Final = frozenset(kind.code for kind in KINDS if kind.act is Act.TAKE)
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Cell:
    """A single fault and what became of it: one place of the matrix step x fault x outcome."""

    step: str
    point: str
    code: str
    outcome: Outcome


@dataclass(slots=True)
class Exploration:
    """The result. `scenarios` plans were decided, `executed` runs were made for that."""

    scene: str
    depth: int
    reference: Reference
    points: list[str] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    failing: list[Scenario] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    singles: int = 0
    pairs: int = 0
    randoms: int = 0
    executed: int = 0
    positions: int = 0
    # edges that could not be come to again, or led elsewhere another time: none, or a position is
    # not what it says
    lost: int = 0
    seconds: float = 0.0
    edge_names: tuple[str, ...] = ()
    # for each declared transition the faults that had struck before it was taken
    taken: dict[int, Counter[str]] = field(default_factory=dict)

    @property
    def scenarios(self) -> int:
        """Plans that were decided, that without a fault among them."""
        return 1 + self.singles + self.pairs + self.randoms

    @property
    def pruned(self) -> int:
        """Plans for which no run of their own was needed."""
        return max(self.scenarios - self.executed, 0)

    @property
    def untaken(self) -> list[str]:
        """Declared transitions that no scenario has taken."""
        return [name for i, name in enumerate(self.edge_names) if i not in self.taken]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an exploration has come: edges tried, and those that are known to be left."""

    tried: int
    left: int
    runs: int
    violations: int
    seconds: float
    estimate_s: float | None = None  # where somebody knows better than by the edges of one scene

    @property
    def left_s(self) -> float | None:
        """An estimate of the seconds that are left; new positions may make it more."""
        if self.estimate_s is not None:
            return self.estimate_s
        return self.seconds / self.tried * self.left if self.tried else None


Tell = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class _Walked:
    """What one walk has to say."""

    found: list[Found]
    strikes: int
    edges: int
    struck: tuple[str, ...]
    lost: int = 0


@dataclass(frozen=True, slots=True)
class _Report:
    """What a worker has found since it said something last."""

    news: list[Any]
    walks: list[_Walked]


class _Reporter:
    """A worker's end of the pipe. A position is touched by many walks, so that it is told of once
    in a while and not after each.
    """

    def __init__(self, graph: Graph, out: int) -> None:
        self._graph, self._out = graph, out
        self._walks: list[_Walked] = []
        self._next = time.monotonic()

    def add(self, walked: _Walked) -> None:
        """Note what a walk has to say."""
        self._walks.append(walked)
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Tell all that was noted."""
        _send(self._out, _Report(self._graph.news(), self._walks))
        self._walks = []
        self._next = time.monotonic() + _REPORT_S


class Explorer:
    """Explores one scene; see the module. `depth` is how many faults a plan may have."""

    def __init__(
        self,
        scene: Scene,
        *,
        depth: int = 2,
        workers: int = 2,
        tell: Tell | None = None,
        only: frozenset[str] | None = None,
        stop_at_first: bool = False,
    ) -> None:
        self.scene, self.depth, self.workers = scene, depth, max(1, workers)
        self.tell, self.only, self.stop_at_first = tell, only, stop_at_first
        self.graph = Graph(depth)
        self._found: list[Found] = []
        self._walks = self._tried = 0
        self._left = 0
        self._started = 0.0

    def run(self) -> Exploration:
        """Explore; returns when all is decided."""
        self._started = time.monotonic()
        scene = self.scene
        reference = reference_of(scene)
        result = Exploration(scene.name, self.depth, reference, edge_names=scene.edge_names())
        first = Walk(self.graph, scene, reference, [], _nobodys, only=self.only)
        first.go()
        self._take(result, _Report(self.graph.news(), [_said(first, scene)]))
        start = self.graph.start
        if start is None:
            raise RuntimeError("the run without faults comes to no point at all")
        result.points = [node.name for node in self.graph.chain(start)]
        for number in range(_ROUNDS_MAX):
            edges = self.graph.untried(_everybodys)
            if not edges or (self.stop_at_first and self._found):
                break
            self._round(result, reference, edges, number)
        self._conclude(result, reference)
        return result

    # --- rounds ---------------------------------------------------

    def _round(
        self, result: Exploration, reference: Reference, edges: list[Edge], number: int
    ) -> None:
        self._left = len(edges)
        workers = self.workers if len(edges) >= 4 * self.workers else 1
        gc.collect()
        gc.freeze()
        streams: dict[int, _Stream] = {}
        children: list[int] = []
        try:
            for worker in range(workers):
                reader, writer = os.pipe()
                streams[reader] = _Stream()
                # a signal finds a child that ignores it, or a parent that knows of its child
                signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
                child = _fork()
                if child == 0:
                    for descriptor in streams:
                        os.close(descriptor)  # so that it learns when nobody reads any more
                    with self.scene.telling_all():
                        _in_child(lambda w=worker, out=writer: self._work(  # type: ignore[misc]
                            reference, w, workers, out, number))  # fmt: skip
                children.append(child)
                os.close(writer)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._hear(result, streams)
        except BaseException:  # whoever is interrupted leaves nobody at work
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            for descriptor in streams:
                os.close(descriptor)
            raise
        for child in children:
            _, status = os.waitpid(child, 0)
            if status:
                raise RuntimeError("a worker of the exploration did not end as it should")
        gc.unfreeze()

    def _hear(self, result: Exploration, streams: dict[int, _Stream]) -> None:
        """Take in what the workers find, until all of them have ended."""
        while streams:
            ready, _, _ = select.select(list(streams), [], [], 0.5)
            for descriptor in ready:
                data = os.read(descriptor, 1 << 18)
                if not data:
                    os.close(descriptor)
                    del streams[descriptor]
                for message in streams[descriptor].messages(data) if data else ():
                    self._take(result, message)
            self._say()

    def _work(self, reference: Reference, worker: int, workers: int, out: int, number: int) -> None:
        nodes = self.graph.nodes

        def mine(word: int, code: str) -> bool:
            if code in _TAKES:  # what others do from equal remains is done once, by one worker
                word = nodes[word].after.get(KILL, word)
            return workers == 1 or hash((word, code, number)) % workers == worker

        gc.set_threshold(*_GARBAGE)
        self.graph.changed = set()
        reporter = _Reporter(self.graph, out)
        while edges := self.graph.untried(mine):
            ways_on = sum(edge[1] == CLEAN for edge in edges)  # they come first, and open the rest
            for count, edge in enumerate(edges):
                if count % _SURVEY_EACH == 0 or count == ways_on:
                    self.graph.survey()
                if not self._try(reference, edge, mine, reporter):
                    reporter.flush()
                    return
        reporter.flush()

    def _try(self, reference: Reference, edge: Edge, mine: Mine, reporter: _Reporter) -> bool:
        """Walk to one edge; False when the exploration is to end with the first broken rule."""
        graph = self.graph
        whole = [*graph.plan(edge[0]), edge]
        ways: list[tuple[bool, Node | None, list[Edge]]]
        ways = [(True, None, whole), (False, None, whole)]
        for strikes in range(1, len(whole) + 1):  # the fewer are made again, the better
            near = graph.nearest(whole[-strikes][0])
            if near is not None:
                ways.insert(0, (True, near, whole[-strikes:]))
                break
        for ride, begin, target in ways:
            if not graph.is_untried(edge):
                return True
            walk = Walk(
                graph, self.scene, reference, target, mine, ride=ride, only=self.only, begin=begin
            )
            walk.go()
            reporter.add(_said(walk, self.scene))
            if walk.found and self.stop_at_first:
                return False
        if graph.is_untried(edge):
            # equal positions that did not go on alike: said aloud, for then a position is not one
            graph.give_up(edge)
            reporter.add(_Walked([], 0, 0, (), lost=1))
        return True

    def _take(self, result: Exploration, report: _Report) -> None:
        self.graph.merge(report.news)
        for walked in report.walks:
            self._count(result, walked)

    def _count(self, result: Exploration, walked: _Walked) -> None:
        self._found += walked.found
        result.lost += walked.lost
        self._walks += 1
        self._tried += max(walked.strikes, 1)
        self._left -= walked.strikes
        bit = 0
        edges = walked.edges
        while edges:
            if edges & 1:
                result.taken.setdefault(bit, Counter()).update(walked.struck or ("",))
            edges >>= 1
            bit += 1

    def _say(self) -> None:
        if self.tell is not None:
            self.tell(Progress(
                self._tried, max(self._left, 0), self._walks, len(self._found),
                time.monotonic() - self._started,
            ))  # fmt: skip

    # --- the result ---------------------------------------------------

    def _conclude(self, result: Exploration, reference: Reference) -> None:
        graph = self.graph
        result.singles, result.pairs = graph.counts()
        result.executed = self._walks
        result.positions = len(graph.nodes)
        for node in graph.chain(graph.start):
            for code, word in node.after.items():
                outcome = graph.outcome(word) or Outcome.UNFINISHED
                result.cells.append(Cell(node.step, node.name, code, outcome))
                result.outcomes[outcome.value] += 1
        result.failing = self._failing(reference)
        result.seconds = time.monotonic() - self._started

    def _early(self, found: Found) -> tuple[Any, ...]:
        """Few faults first, and of those the ones that strike early and are first in the table."""

        def place(word: int, code: str) -> tuple[int, int]:
            struck = self.graph.nodes[word].hits.get(code)
            return (struck.visit.index if struck else sys.maxsize), NUMBER[code]

        return len(found[0]), [place(*edge) for edge in found[0]]

    def _failing(self, reference: Reference) -> list[Scenario]:
        """Each broken rule once for each last fault, played from the start without detours."""
        plans: dict[tuple[str, str], tuple[tuple[Edge, ...], tuple[Fault, ...]]] = {}
        for plan, violation, faults in sorted(self._found, key=self._early):
            where = self.graph.nodes[plan[-1][0]].name if plan else ""
            code = plan[-1][1] if plan else ""
            plans.setdefault((violation.rule, f"{where}={code}"), (plan, faults))
        scenarios = []
        done = set()
        for plan, faults in list(plans.values())[:_SHOWN_MAX]:
            if plan in done:
                continue
            done.add(plan)
            scenario = play(self.scene, reference, (), Along(self.scene, plan))
            if not scenario.violations:
                scenario = play(self.scene, reference, faults)
            if scenario.violations:
                scenarios.append(scenario)
        return scenarios


# how many failing plans are played again for the report; there may be one for each point
_SHOWN_MAX: Final = 400


def _said(walk: Walk, scene: Scene) -> _Walked:
    struck = tuple(dict.fromkeys(s.kind.code for s in scene.injector.struck))
    return _Walked(walk.found, walk.strikes, walk.edges, struck, walk.differed)


def _nobodys(word: int, code: str) -> bool:
    return False


def _everybodys(word: int, code: str) -> bool:
    return True


# --- plans one at a time -------------------------------------------------------------------------


def play_all(
    scene: Scene, *, depth: int = 1, only: frozenset[str] | None = None
) -> tuple[Reference, Iterator[Scenario]]:
    """Every plan of up to `depth` faults, each run from start to end. For scenes without positions,
    and to check that pruning loses nothing.
    """
    reference = reference_of(scene)

    def plans(prefix: tuple[Fault, ...]) -> Iterator[Scenario]:
        seen = _Listing(prefix, only)
        scenario = play(scene, reference, prefix, seen)
        yield scenario
        if len(prefix) < depth:
            for fault in seen.options:
                yield from plans((*prefix, fault))

    return reference, plans(())


def explore_one_by_one(
    scene: Scene, *, depth: int = 1, only: frozenset[str] | None = None, tell: Tell | None = None
) -> Exploration:
    """An exploration in which every plan is run from start to end; how many is not known before."""
    started = time.monotonic()
    reference, scenarios = play_all(scene, depth=depth, only=only)
    result = Exploration(scene.name, depth, reference, edge_names=scene.edge_names())
    for scenario in scenarios:
        result.executed += 1
        result.singles += len(scenario.faults) == 1
        result.pairs += len(scenario.faults) == 2
        result.outcomes[scenario.outcome.value] += 1
        if len(scenario.struck) == 1:
            visit = scenario.struck[0].visit
            result.cells.append(
                Cell(visit.step, visit.name, scenario.faults[0].code, scenario.outcome)
            )
        if scenario.violations:
            result.failing.append(scenario)
        if tell is not None:
            seconds = time.monotonic() - started
            tell(Progress(result.executed, 0, result.executed, len(result.failing), seconds))
    result.points = list(dict.fromkeys(cell.point for cell in result.cells))
    result.seconds = time.monotonic() - started
    return result


class _Listing:
    """Follows a plan, and lists what could strike after its last fault."""

    def __init__(self, faults: tuple[Fault, ...], only: frozenset[str] | None) -> None:
        self.left, self.only = list(faults), only
        self.options: list[Fault] = []

    def choose(self, visit: Visit, injector: Injector) -> Kind | None:
        """See Chooser."""
        if self.left:
            if not self.left[0].strikes(visit):
                return None
            return self.left.pop(0).kind
        for kind in injector.options(visit):
            if self.only is None or kind.code in self.only:
                self.options.append(Fault.of(visit, kind))
        return None


class AtRandom:
    """Strikes at random: up to `faults` times in a run of about `points` visits."""

    def __init__(
        self, seed: int, faults: int, points: int, only: frozenset[str] | None = None
    ) -> None:
        self._random = Random(seed)  # noqa: S311 - chance, not secrecy
        self._left, self._chance, self._only = faults, faults / max(points, 1), only

    def choose(self, visit: Visit, injector: Injector) -> Kind | None:
        """See Chooser."""
        if not self._left or self._random.random() >= self._chance:
            return None
        options = injector.options(visit)
        if self._only is not None:
            options = [kind for kind in options if kind.code in self._only]
        if not options:
            return None
        self._left -= 1
        return self._random.choice(options)


def play_at_random(
    scene: Scene, reference: Reference, seed: int, count: int, *, faults: int, points: int,
    only: frozenset[str] | None = None,
) -> Iterator[Scenario]:  # fmt: skip
    """`count` random plans of 3 to `faults` faults, the first from `seed`."""
    for number in range(seed, seed + count):
        chooser = AtRandom(number, 3 + number % max(faults - 2, 1), points, only)
        yield play(scene, reference, (), chooser)


# --- processes and what they say -----------------------------------------------------------------


def _fork() -> int:
    """os.fork, without the warnings of libraries that somebody has imported: nothing is shared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def _in_child(work: Callable[[], Any]) -> None:
    """Do `work` and end this process, whatever happens. Signals are for the one that forked it."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    try:
        work()
    except BrokenPipeError:
        os._exit(0)  # whoever wanted to know is gone
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
        os._exit(70)
    os._exit(0)


def _send(out: int, message: Any) -> None:
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    data = _HEADER.pack(len(data)) + data
    while data:
        data = data[os.write(out, data) :]


class _Stream:
    """Takes messages out of a stream of bytes. They come from our own children only."""

    def __init__(self) -> None:
        self._rest = b""

    def messages(self, data: bytes) -> Iterator[_Report]:
        self._rest += data
        while len(self._rest) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._rest)
            end = _HEADER.size + length
            if len(self._rest) < end:
                return
            yield pickle.loads(self._rest[_HEADER.size : end])  # noqa: S301
            self._rest = self._rest[end:]


__all__ = [
    "AtRandom", "Cell", "Exploration", "Explorer", "Progress", "explore_one_by_one", "play_all",
    "play_at_random",
]  # fmt: skip
