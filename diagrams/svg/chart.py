"""State charts as SVG."""

from __future__ import annotations

from buildflow.diagrams.glyphs import wrapped
from buildflow.diagrams.model import MachineModel
from buildflow.diagrams.overlay import MachineRun
from buildflow.diagrams.svg.ladder import EVERY, LINE, Arrow, Ladder, Place, climb
from buildflow.diagrams.svg.legend import edge_legend, state_shape
from buildflow.diagrams.svg.scene import PITCH, SIZE, SMALL, Scene, text_width
from buildflow.diagrams.theme import EDGES

_RAIL = 16.0


def chart_scene(machine: MachineModel, run: MachineRun | None = None) -> Scene:
    """`machine` with its legend; with `run`, where it has been and what it took."""
    ladder = climb(machine, run)
    body = Scene()
    _first(body, ladder, machine.initial)
    for place in ladder.places.values():
        _state(body, ladder, place, run)
    for arrow in ladder.arrows:
        _arrow(body, ladder, arrow)
    for place in ladder.places.values():
        _straight(body, ladder, place)
    reach = {side: ladder.room[side] + ladder.rails[side] * _RAIL for side in ("left", "right")}
    body.right = max(body.right, ladder.width + reach["right"])
    legend = edge_legend({e.kind for e in machine.edges}, {s.stability for s in machine.states})
    width = max(reach["left"] + body.right, legend.right)

    scene = Scene(f"{machine.name} states")
    scene.text(0, 8, f"{machine.name} states", size=SIZE + 2, bold=True)
    y = 10.0
    for line in wrapped(machine.why, int(width / (SMALL * PITCH))) if machine.why else ():
        y += 16
        scene.text(0, y, line, size=SMALL, colour="quiet")
    scene.place(body, reach["left"], y + 12)
    scene.place(legend, 0, scene.bottom + 24)
    if any(moment.value for moment in machine.path):
        words = "1: NOSTATE   a build in which nothing fails comes here 1st, with power NOSTATE"
        scene.text(0, scene.bottom + 12, words, size=SMALL, colour="quiet")
    if run is not None:
        marks = "✓ it has been here   ▶ it is here now   move N: the Nth move of this machine"
        scene.text(0, scene.bottom + 12, marks, size=SMALL, colour="quiet")
    return scene


def _first(scene: Scene, ladder: Ladder, initial: str) -> None:
    x, top = ladder.width / 2, ladder.places[initial].top
    scene.circle(x, 6, 5, fill="ink")
    scene.path([(x, 10), (x, top - 2)])
    scene.head((x, top), "down", "arrow", "ink")


def _state(scene: Scene, ladder: Ladder, place: Place, run: MachineRun | None) -> None:
    key, fill, stroke, weight = place.state.key, "box", "ink", 1.4
    if run is not None and key in run.visited:
        name = "running" if key == run.current else "done"
        fill, stroke, weight = f"{name}-fill", f"{name}-line", 2.4 if name == "running" else 1.8
    state_shape(
        scene,
        0,
        place.top,
        ladder.width,
        place.height,
        place.state.stability,
        fill=fill,
        stroke=stroke,
        weight=weight,
        tip=place.state.why,
    )
    y = place.top + place.height / 2 - (len(place.words) - 1) * (LINE + 1) / 2
    for number, words in enumerate(place.words):
        first = number == 0
        scene.text(
            ladder.width / 2,
            y,
            words.strip(),
            size=SIZE if first else SMALL,
            bold=first,
            colour="ink" if first else "quiet",
            anchor="middle",
        )
        y += LINE + 1


def _straight(scene: Scene, ladder: Ladder, place: Place) -> None:
    """What runs straight between `place` and the next state: down on the left, up on the right."""
    middle = ladder.width / 2
    top = place.top + place.height
    below = next((p.top for p in ladder.places.values() if p.top > place.top), top)
    for arrow, x, start, end, towards in (
        (place.down, middle - 9, top, below, "down"),
        (place.up, middle + 9, below, top, "up"),
    ):
        if arrow is None:
            continue
        look, colour = EDGES[arrow.edge.kind], f"edge-{arrow.edge.kind.value}"
        back = -7 if towards == "down" else 7
        scene.path(
            [(x, start), (x, end + back)],
            stroke=colour,
            dash=look.dash,
            weight=look.width + (1.2 if arrow.taken else 0),
            tip=arrow.edge.why,
        )
        scene.head((x, end), towards, look.head, colour)
        anchor, at = ("end", x - 8) if towards == "down" else ("start", x + 8)
        y = (top + below) / 2 - (len(arrow.words) - 1) * LINE / 2
        _label(scene, arrow, at, y, anchor, colour)


def _label(scene: Scene, arrow: Arrow, x: float, y: float, anchor: str, colour: str) -> None:
    for number, words in enumerate(arrow.words):
        scene.text(
            x,
            y + number * LINE,
            words,
            size=SMALL,
            colour=colour if number == 0 else "quiet",
            bold=number == 0 and arrow.taken,
            anchor=anchor,
        )


def _arrow(scene: Scene, ladder: Ladder, arrow: Arrow) -> None:
    """One arrow: from every source a line to its rail, and from the rail one to its state."""
    dest = ladder.places[arrow.edge.dest]
    if (arrow, True) not in dest.ends:
        return  # a straight one
    look, colour = EDGES[arrow.edge.kind], f"edge-{arrow.edge.kind.value}"
    outward = -1.0 if arrow.side == "left" else 1.0
    border = 0.0 if arrow.side == "left" else ladder.width
    anchor = "end" if arrow.side == "left" else "start"
    inward = "right" if arrow.side == "left" else "left"
    weight = look.width + (1.2 if arrow.taken else 0)
    goal = dest.ends[arrow, True]
    tip = border + outward * 7

    def label(y: float) -> None:
        above = 10 + (len(arrow.words) - 1) * LINE
        _label(scene, arrow, border + outward * 14, y - above, anchor, colour)

    if arrow.every:
        length = arrow.width + 30
        far = border + outward * length
        scene.path([(far, goal), (tip, goal)], stroke=colour, dash=look.dash, weight=weight)
        scene.head((border, goal), inward, look.head, colour)
        label(goal)
        wide = text_width(EVERY, SMALL) + 14
        left = far if arrow.side == "right" else far - wide
        scene.rect(left, goal - 10, wide, 20, fill="paper", stroke="quiet", dash="3 3", radius=10)
        scene.text(left + wide / 2, goal, EVERY, size=SMALL, colour="quiet", anchor="middle")
        return
    rail = border + outward * (ladder.room[arrow.side] + arrow.rail * _RAIL)
    heights = [ladder.places[source].ends[arrow, False] for source in arrow.sources]
    for y in heights:
        # the farthest source above and below draws the rail, the others only the way to it: two
        # dashed lines on top of each other would look like a solid one
        if y in (min(heights), max(heights)) and not _between(y, heights, goal):
            way = [(border, y), (rail, y), (rail, goal), (tip, goal)]
            if y == max(heights) and min(heights) < goal < y:
                way = way[:3]
        else:
            way = [(border, y), (rail, y)]
            scene.circle(rail, y, 2.5, fill=colour)
        both = min(heights) < goal < max(heights)
        scene.path(
            way,
            stroke=colour,
            dash=look.dash,
            weight=weight,
            radius=0 if both else 7,
            tip=arrow.edge.why,
        )
        label(y)
    scene.head((border, goal), inward, look.head, colour)


def _between(y: float, heights: list[float], goal: float) -> bool:
    """Whether another source lies beyond `y`, seen from `goal`: then that one draws the rail."""
    if y < goal:
        return min(heights) < y
    return max(heights) > y
