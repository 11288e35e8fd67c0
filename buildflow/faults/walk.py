"""One run through the graph of positions, trying as many edges on its way as it can.

A walk goes to an edge that it was sent to, lets the fault strike, and goes on. Whenever it comes
to a position that is known with fewer faults, it is from there on the run with those fewer faults:
that is what equal positions mean. So one walk tries a fault, comes back to where it was, tries the
next, and so on; it ends early when nothing that lies ahead is left to try.

What a process leaves when it is killed is kept (Scene.checkpoint), and a walk may begin there, if
its way leads through a resumed run anyhow: see Graph.nearest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from buildflow.faults import oracle
from buildflow.faults.graph import CLEAN, DEAD, Edge, Graph, Node, word_of
from buildflow.faults.injector import Injector, Struck
from buildflow.faults.kinds import BY_CODE, Act, Kind
from buildflow.faults.oracle import Reference, Violation
from buildflow.faults.plan import Fault
from buildflow.faults.play import judge_end, run_to_end
from buildflow.faults.scene import Scene
from buildflow.faults.visit import Visit

# after these a run usually comes back to where it would have been
_RETURNING = frozenset({Act.KILL, Act.STORE, Act.DELAY, Act.LOSE})
KILL = "ki"
# in positions: to begin another walk costs as much as to pass this many
_SIGHT = 40
# how often it is looked whether anything is left ahead
_LOOKS_EACH = 2
# a store that fails takes the process with it: what it leaves is what a kill leaves there. That is
# taken for granted where a fault has struck before; the first fault of a plan is tried for real.
_LIKE_KILL = ("sf", "su")
Mine = Callable[[int, str], bool]
Found = tuple[tuple[Edge, ...], Violation, tuple[Fault, ...]]


class Abandoned(BaseException):
    """Nothing is left to try on this way: the run is thrown away."""


class Walk:
    """A chooser, for one run. `found` are broken rules with the plan that leads to them."""

    def __init__(
        self, graph: Graph, scene: Scene, reference: Reference, target: list[Edge], mine: Mine,
        *, ride: bool = True, only: frozenset[str] | None = None, begin: Node | None = None,
    ) -> None:  # fmt: skip
        self.graph, self.scene, self.reference = graph, scene, reference
        self.target, self.mine, self.ride, self.only = list(target), mine, ride, only
        self.begin = begin
        self.level = 0
        self.last: tuple[Node, str | None] | None = None
        self.via: Edge | None = None
        self.found: list[Found] = []
        self.strikes = 0
        self.edges = 0
        self.differed = 0  # edges that have led elsewhere before
        self._knew = True

    def go(self) -> None:
        """Lay the scene out, walk, and judge."""
        scene = self.scene
        injector = Injector(scene, self)
        if self.begin is None:
            scene.lay_out()
            scene.arm(injector)
        else:
            self._begin_at(self.begin, injector)
        try:
            found = run_to_end(scene, begun=self.begin is not None)
        except Abandoned:
            self.edges = scene.edges()
            return
        self.edges = scene.edges()
        self._note(found)
        self._end(injector)

    def _begin_at(self, dead: Node, injector: Injector) -> None:
        self.graph.checkpoints[dead.word](injector)
        injector.struck = [replace(s, mark="") for s in dead.struck]
        injector.visits = injector.struck[-1].visit.index + 1 if injector.struck else 0
        self.level, self.via, self.last = dead.least, dead.via, (dead, None)
        if self.target and self.target[0] == (dead.word, CLEAN):
            self.target.pop(0)

    # --- at a point ---------------------------------------------------

    def choose(self, visit: Visit, injector: Injector) -> Kind | None:
        """See Chooser."""
        graph = self.graph
        word = word_of(self.scene.position(visit))
        node = graph.nodes.get(word)
        known = node is not None
        if node is None:
            options = tuple(
                k.code for k in injector.options(visit)
                if self.only is None or k.code in self.only
            )  # fmt: skip
            node = graph.nodes[word] = Node(
                word, visit.name, visit.step, options, self.level, self.via, tuple(injector.struck)
            )
            graph.touch(node)
        self._arrive(node, injector, visit)
        if self.level < graph.depth and KILL in node.options:
            if KILL not in node.after:
                self._foresee_kill(node, visit, injector)
            self._keep(node.after[KILL])
        code = self._pick(node, injector)
        if code is not None:
            self._strike(node, code, visit)
            return BY_CODE[code]
        self.last = (node, None)
        looks = not self._knew or injector.visits % _LOOKS_EACH == 0
        if known and looks and not self.target and self._nothing_ahead(node):
            self._abandon(node, injector, visit)
        self._knew = known
        return None

    def _arrive(self, node: Node, injector: Injector, visit: Visit) -> None:
        graph = self.graph
        self._lead_to(node.word)
        if graph.start is None:
            graph.start = node.word
        if node.least < self.level:
            self._note(oracle.on_the_way(self.scene, injector, visit.at))
            if self.found:
                self._stop(injector)
            self.level, self.via = node.least, node.via
            injector.struck = [replace(s, mark="") for s in node.struck]
        elif node.least > self.level:
            graph.lower(node, self.level, self.via, tuple(injector.struck))

    def _lead_to(self, word: int) -> None:
        """Note to where the last position leads; one that has led elsewhere is not one position."""
        if self.last is None:
            return
        before, code = self.last
        known = before.next if code is None else before.after.get(code)
        if known is None:
            if code is None:
                before.next = word
            else:
                before.after[code] = word
            self.graph.touch(before)
        elif known != word:
            self.differed += 1

    def _pick(self, node: Node, injector: Injector) -> str | None:
        if self.target:
            if node.word == self.target[0][0]:
                code = self.target.pop(0)[1]
                if code in node.options:
                    return code
                return None
            if not self.ride:
                return None
        if self.level >= self.graph.depth or (node.next is None and not self.target):
            return None  # new ground is walked to its end first, so that it is known
        diverting = None
        for code in node.options:
            if not self._is_open(node, code) or not self.mine(node.word, code):
                continue
            if BY_CODE[code].act in _RETURNING:
                return code if self.ride or not self.strikes else None
            diverting = diverting or code
        if diverting is None or self.target or not self.ride or self._returning_ahead(node):
            return None
        return diverting

    def _returning_ahead(self, node: Node) -> bool:
        """Whether more can be tried on this way by faults after which the run comes back to it."""
        return any(
            self._is_open(ahead, code)
            and BY_CODE[code].act in _RETURNING
            and ahead.least < self.graph.depth
            and self.mine(ahead.word, code)
            for ahead in islice(self.graph.chain(node.next), self._sight())
            for code in ahead.options
        )

    def _sight(self) -> int | None:
        """How far ahead it is worth going on for what is left to try: where checkpoints are kept
        another walk comes there sooner.
        """
        return _SIGHT if self.graph.checkpoints else None

    def _strike(self, node: Node, code: str, visit: Visit) -> None:
        self.last = (node, code)
        self.via = (node.word, code)
        node.hits.setdefault(code, Struck(visit, code))
        self.level += 1
        self.strikes += 1
        self._knew = False
        dead = self.graph.nodes[node.after[code]] if code in node.after else None
        if dead is not None and dead.name == DEAD:
            self.last = (dead, None)
            if self.target and self.target[0] == (dead.word, CLEAN):
                self.target.pop(0)

    def _foresee_kill(self, node: Node, visit: Visit, injector: Injector) -> None:
        """What a kill would leave here is known without one."""
        graph = self.graph
        graph.touch(node)
        left = word_of((DEAD, self.scene.left_behind()))
        for code in (KILL, *(_LIKE_KILL if self.level else ())):
            if code in node.options:
                node.after[code] = left
                node.hits[code] = Struck(visit, code)
        struck = (*injector.struck, node.hits[KILL])
        dead = graph.nodes.get(left)
        if dead is None:
            dead = graph.nodes[left] = Node(
                left, DEAD, "", (), self.level + 1, (node.word, KILL), struck
            )
            graph.touch(dead)
        else:
            graph.lower(dead, self.level + 1, (node.word, KILL), struck)

    def _keep(self, left: int) -> None:
        """What a kill would leave here, to begin other walks from."""
        if left in self.graph.checkpoints:
            return
        checkpoint = self.scene.checkpoint()
        if checkpoint is not None:
            self.graph.checkpoints[left] = checkpoint

    def _is_open(self, node: Node, code: str) -> bool:
        """Whether nobody knows yet what follows on this fault."""
        if code not in node.after:
            return True
        dead = self.graph.nodes[node.after[code]]
        return dead.name == DEAD and dead.next is None

    def _nothing_ahead(self, node: Node) -> bool:
        last = node
        sight = self._sight()
        for far, last in enumerate(self.graph.chain(node.word)):
            if far == sight:
                return True
            if last.next is None and last.outcome is None and last.least <= self.graph.depth:
                return False
            if last.least < self.graph.depth and any(
                self._is_open(last, code) and self.mine(last.word, code) for code in last.options
            ):
                return False
        return last.outcome is not None

    # --- ends ---------------------------------------------------

    def _abandon(self, node: Node, injector: Injector, visit: Visit) -> None:
        found = oracle.on_the_way(self.scene, injector, visit.at)
        outcome = self.graph.outcome(node.word)
        if outcome is not None:
            found += oracle.by_outcome(self.scene, injector, outcome)
        self._note(found)
        self._stop(injector)

    def _stop(self, injector: Injector) -> None:
        injector.dead = True
        raise Abandoned

    def _end(self, injector: Injector) -> None:
        scene = self.scene
        outcome = scene.outcome()
        word = word_of(("end", scene.position(None), scene.tolerated(), outcome))
        node = self.graph.nodes.get(word)
        self._lead_to(word)
        if node is None:
            node = Node(word, "end", "", (), self.level, self.via, tuple(injector.struck))
            node.outcome = outcome
            self.graph.nodes[word] = node
            self.graph.touch(node)
            found = judge_end(scene, injector, self.reference, outcome)
        else:
            found = oracle.on_the_way(scene, injector)
            found += oracle.by_outcome(scene, injector, outcome)
        self._note(found)

    def _note(self, found: list[Violation]) -> None:
        plan = self._plan()
        # the plan stands for all that lead here; what has struck in fact may be told otherwise
        struck = self.scene.injector.struck
        faults = tuple(Fault(s.code, None, s.visit.name, s.visit.turn) for s in struck)
        self.found += [(plan, violation, faults) for violation in found]

    def _plan(self) -> tuple[Edge, ...]:
        if self.via is None:
            return ()
        return (*self.graph.plan(self.via[0]), self.via)


class Along:
    """A chooser that strikes at given positions, and nowhere else."""

    def __init__(self, scene: Scene, plan: tuple[Edge, ...]) -> None:
        self.scene, self.left = scene, list(plan)

    def choose(self, visit: Visit, injector: Injector) -> Kind | None:
        """See Chooser."""
        if not self.left or word_of(self.scene.position(visit)) != self.left[0][0]:
            return None
        return BY_CODE[self.left.pop(0)[1]]
