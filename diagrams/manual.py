"""`python -m buildflow.diagrams.manual`: the manual's pictures, drawn again from the definitions.

They are committed, so that they are seen without running anything; `--check` says whether one is
out of date, and the tests do. Marked places in README.md and docs/*.md are filled too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from buildflow.diagrams.drawing import MACHINES, draw
from buildflow.diagrams.embedding import refresh
from buildflow.diagrams.example import example_build
from buildflow.errors import BuildflowError

ROOT: Final = Path(__file__).resolve().parent.parent
_MADE: Final = {".svg": "svg", ".txt": "text", ".mmd": "mermaid"}


def pictures() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Each picture's file name, and what draws it."""
    build = example_build()
    for ending, made in _MADE.items():
        yield f"call{ending}", _drawer("call", made)
        yield f"flow{ending}", _drawer("flow", made)
        yield f"timeline{ending}", _drawer("timeline", made)
        for machine in MACHINES:
            yield f"states-{machine}{ending}", _drawer("states", made, machine=machine)
    for kind in ("call", "flow", "timeline"):
        yield f"failed-{kind}.svg", _drawer(kind, "svg", build=build)
    yield "failed-states-task.svg", _drawer("states", "svg", build=build, machine="task")
    yield "failed-call.txt", _drawer("call", "text", build=build, style="tree")


def _drawer(kind: str, made: str, **options: Any) -> Callable[[], bytes]:
    return lambda: draw(kind, format=made, **options)


def stale(folder: Path) -> list[str]:
    """The names of pictures in `folder` that would be drawn otherwise now, or not at all."""
    wanted = {name: picture() for name, picture in pictures()}
    there = {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}
    return sorted(name for name in {*wanted, *there} if wanted.get(name) != there.get(name))


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module. Exit code 1 when `--check` finds anything out of date."""
    check = "--check" in (sys.argv[1:] if arguments is None else arguments)
    folder = ROOT / "docs" / "pictures"
    pages = [
        page for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))) if page.is_file()
    ]
    try:
        changed = stale(folder)
        if not check:
            folder.mkdir(parents=True, exist_ok=True)
            wanted = dict(pictures())
            for name in changed:
                if name in wanted:
                    (folder / name).write_bytes(wanted[name]())
                else:
                    (folder / name).unlink()
        changed = [f"docs/pictures/{name}" for name in changed]
        changed += [str(page.relative_to(ROOT)) for page in pages if refresh(page, check=check)]
    except BuildflowError as error:
        print(error.summary, file=sys.stderr)
        return error.exit_code
    for name in changed:
        print(f"{name}: {'out of date' if check else 'drawn'}", file=sys.stderr)
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
