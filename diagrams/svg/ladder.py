"""Where the states and edges of a chart stand: states below one another, edges on rails beside.

Built so that nothing can collide. Each end of an edge has a place of its own on its state's side,
each label stands above the line that leaves its state, and rails run only beyond the labels. What
goes to the next state and back runs straight between the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from buildflow.diagrams.model import Edge, MachineModel, StateNode
from buildflow.diagrams.overlay import MachineRun, seconds
from buildflow.diagrams.svg.scene import SIZE, SMALL, text_width
from buildflow.states import Kind

EVERY: Final = "every other state"
LINE: Final = 13.0  # from one small line of text to the next
_END_OUT, _END_IN, _BELOW = 34.0, 14.0, 6.0
_STRAIGHT_GAP, _GAP = 60.0, 24.0
_PAD = 14.0
_LEFT = (Kind.FORWARD, Kind.COMPENSATING)  # the build's own moves; how it ends is on the right


@dataclass(eq=False)
class Arrow:
    """One arrow. The edges of the table that it stands for share all but their source."""

    edge: Edge
    sources: tuple[str, ...]
    every: bool
    words: tuple[str, ...]
    taken: bool
    rail: int = 0

    @property
    def side(self) -> str:
        """left or right."""
        return "left" if self.edge.kind in _LEFT else "right"

    @property
    def width(self) -> float:
        """How wide its label is."""
        return max(text_width(word, SMALL) for word in self.words)


@dataclass(eq=False)
class Place:
    """Where one state stands; `ends` has the height of each end of an arrow on its sides."""

    state: StateNode
    words: tuple[str, ...]
    top: float = 0.0
    height: float = 0.0
    outgoing: dict[str, list[Arrow]] = field(default_factory=lambda: {"left": [], "right": []})
    incoming: dict[str, list[Arrow]] = field(default_factory=lambda: {"left": [], "right": []})
    ends: dict[tuple[Arrow, bool], float] = field(default_factory=dict)  # (arrow, comes in)
    down: Arrow | None = None  # straight to the next state
    up: Arrow | None = None  # straight from the next state to this one


@dataclass
class Ladder:
    """The whole layout. x is 0 at the left edge of the boxes."""

    places: dict[str, Place]
    arrows: list[Arrow]
    width: float
    room: dict[str, float]
    rails: dict[str, int]

    @property
    def bottom(self) -> float:
        """The lower edge of the last state."""
        return max(place.top + place.height for place in self.places.values())


def climb(machine: MachineModel, run: MachineRun | None) -> Ladder:
    """Lay `machine` out."""
    way: dict[str, list[tuple[int, str]]] = {}
    for number, moment in enumerate(machine.path, 1):
        if moment.value:
            way.setdefault(moment.state, []).append((number, moment.value))
    places = {
        s.key: Place(s, tuple(_state_words(s, way.get(s.key, ()), run))) for s in _ordered(machine)
    }
    arrows = list(_arrows(machine, run))
    order = list(places)
    for arrow in arrows:
        if not _straight(arrow, order, places):
            for source in arrow.sources:
                places[source].outgoing[arrow.side].append(arrow)
            places[arrow.edge.dest].incoming[arrow.side].append(arrow)
    index = {key: i for i, key in enumerate(order)}
    y = 26.0
    for key in order:
        place = places[key]
        place.top = y
        _spread(place, index)
        y += place.height + (_STRAIGHT_GAP if place.down or place.up else _GAP)
    rails = _assign_rails(arrows, places)
    room = {side: _room(places.values(), side) for side in ("left", "right")}
    width = max(
        max(text_width(w, SIZE if i == 0 else SMALL) for i, w in enumerate(p.words)) + 40
        for p in places.values()
    )
    for place in places.values():  # labels between two states may stand out on both sides
        for straight in (place.down, place.up):
            if straight is not None:
                beyond = straight.width + 22 - width / 2
                side = "left" if straight is place.down else "right"
                room[side] = max(room[side], beyond)
    return Ladder(places, arrows, width, room, rails)


def _ordered(machine: MachineModel) -> list[StateNode]:
    """The way of a successful build first, then the rest as the table has it."""
    keys = dict.fromkeys([machine.initial, *(moment.state for moment in machine.path)])
    keys.update(dict.fromkeys(state.key for state in machine.states))
    return [machine.by_key[key] for key in keys]


def _power_words(state: StateNode, way: Sequence[tuple[int, str]]) -> Iterable[str]:
    """The power states that go with `state`: on the way of a successful build, and the others."""
    if way:
        yield "  ".join(f"{place}: {value}" for place, value in way)
    others = [v for v in state.values if v not in {value for _, value in way}]
    for start in range(0, len(others), 3):
        also = "also " if way and start == 0 else ""
        yield also + " ".join(others[start : start + 3])


def _state_words(
    state: StateNode, way: Sequence[tuple[int, str]], run: MachineRun | None
) -> Iterable[str]:
    mark = ""
    if run is not None and state.key in run.visited:
        mark = "▶ " if state.key == run.current else "✓ "
    yield mark + state.key
    yield state.stability.value
    yield from _power_words(state, way)
    if run is not None and state.key in run.visited:
        word = "now, for" if state.key == run.current else "here for"
        yield f"{word} {seconds(run.visited[state.key])}"


def _arrows(machine: MachineModel, run: MachineRun | None) -> Iterable[Arrow]:
    merged: dict[tuple[object, ...], list[Edge]] = {}
    for edge in machine.edges:
        every = edge.trigger in machine.from_anywhere
        # arrows that were taken are not drawn as one with those that were not
        taken = () if every else _places_taken(run, edge)
        same = (edge.trigger, edge.dest, edge.kind, edge.steps, taken)
        merged.setdefault(same, []).append(edge)
    for edges in merged.values():
        places = sorted({place for e in edges for place in _places_taken(run, e)})
        first = edges[0]
        words = [first.trigger]
        if first.steps:
            words.append(f"by {'; '.join(first.steps)}")
        if places:
            words[0] += f" (move {', '.join(map(str, places))})"
        yield Arrow(
            edge=first,
            sources=tuple(e.source for e in edges),
            every=first.trigger in machine.from_anywhere,
            words=tuple(words),
            taken=bool(places),
        )


def _places_taken(run: MachineRun | None, edge: Edge) -> tuple[int, ...]:
    return run.taken.get((edge.trigger, edge.source), ()) if run is not None else ()


def _straight(arrow: Arrow, order: Sequence[str], places: dict[str, Place]) -> bool:
    """Take the straight way between two neighbours if it is free."""
    if arrow.every or len(arrow.sources) > 1:
        return False
    source, dest = order.index(arrow.sources[0]), order.index(arrow.edge.dest)
    if dest == source + 1 and places[order[source]].down is None:
        places[order[source]].down = arrow
        return True
    if source == dest + 1 and places[order[dest]].up is None:
        places[order[dest]].up = arrow
        return True
    return False


def _spread(place: Place, index: dict[str, int]) -> None:
    """Give each end on either side its height, and the box the height that this needs."""
    here = index[place.state.key]
    needed = _PAD + len(place.words) * LINE + 10
    heights = {}
    for side in ("left", "right"):
        ends = [(a, False) for a in place.outgoing[side] if not a.every]
        ends += [(a, True) for a in place.incoming[side]]
        # an end that goes up stands above those that go down; among those that go up the shortest
        # is highest, among those that go down the longest, so that lines cross where they must only
        ends.sort(key=lambda end: _slope(end[0], end[1], here, index))
        y = 0.0
        for arrow, comes_in in ends:
            y += _END_IN if comes_in and not arrow.every else _END_OUT
            place.ends[arrow, comes_in] = y
            y += _BELOW
        heights[side] = y
        needed = max(needed, y + 4)
    place.height = needed
    for (arrow, comes_in), y in list(place.ends.items()):
        side_height = heights[arrow.side]
        place.ends[arrow, comes_in] = place.top + (needed - side_height) / 2 + y


def _slope(arrow: Arrow, comes_in: bool, here: int, index: dict[str, int]) -> tuple[int, int, str]:
    if arrow.every:
        return (0, 0, arrow.edge.trigger)
    others = [index[s] for s in arrow.sources] if comes_in else [index[arrow.edge.dest]]
    reach = min(others) - here if min(others) < here else max(others) - here
    return (1, -reach, arrow.edge.trigger) if reach < 0 else (2, -reach, arrow.edge.trigger)


def _assign_rails(arrows: Iterable[Arrow], places: dict[str, Place]) -> dict[str, int]:
    """Short arrows on inner rails; two share a rail when they are nowhere side by side."""
    used: dict[str, list[list[tuple[float, float]]]] = {"left": [], "right": []}
    railed = [a for a in arrows if not a.every and (a, True) in places[a.edge.dest].ends]
    for arrow in sorted(railed, key=lambda a: (_span(a, places)[1] - _span(a, places)[0], a.words)):
        low, high = _span(arrow, places)
        rails = used[arrow.side]
        free = (
            number
            for number, taken in enumerate(rails)
            if all(high + 6 < start or low - 6 > end for start, end in taken)
        )
        arrow.rail = next(free, len(rails))
        if arrow.rail == len(rails):
            rails.append([])
        rails[arrow.rail].append((low, high))
    return {side: len(rails) for side, rails in used.items()}


def _span(arrow: Arrow, places: dict[str, Place]) -> tuple[float, float]:
    heights = [places[s].ends[arrow, False] for s in arrow.sources]
    heights.append(places[arrow.edge.dest].ends[arrow, True])
    return min(heights), max(heights)


def _room(places: Iterable[Place], side: str) -> float:
    """How far from the boxes the first rail must stay for the labels."""
    needed = 30.0
    for place in places:
        for arrow in place.outgoing[side]:
            if not arrow.every:
                needed = max(needed, arrow.width + 26)
        for arrow in place.incoming[side]:
            if arrow.every:
                needed = max(needed, arrow.width + 30 + text_width(EVERY, SMALL) + 24)
    return needed
