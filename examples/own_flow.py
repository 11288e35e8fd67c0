"""A flow that has nothing to do with machines: publish a page, and take it back when that fails.

    .venv/bin/python examples/own_flow.py HOME [fail]

Each step makes one effect, under a key that is known before, and says how it is undone. That is all
the engine asks for: it makes the flow durable, cancellable and able to go on after a crash.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from taskflow.patterns import linear_flow

from buildflow import Settings, Step
from buildflow.engine.core import Engine


class WriteFile(Step):
    """A file with some text. Its name holds the key, so that no undo ever removes another's."""

    kind = "file"
    undo_label = "remove the file"

    def facts(self, folder: str, text: str) -> dict[str, Any]:
        """What the other three need; kept in the ledger before the file is made."""
        return {"folder": folder, "text": text}

    def find(self, key: str, facts: dict[str, Any]) -> str | None:
        """After a crash: is it there?"""
        path = self._path(key, facts)
        return str(path) if path.exists() else None

    def create(self, key: str, facts: dict[str, Any]) -> str:
        """Make it, complete or not at all."""
        path = self._path(key, facts)
        part = path.with_suffix(".part")
        part.write_text(facts["text"])
        part.rename(path)
        return str(path)

    def delete(self, key: str, facts: dict[str, Any]) -> None:
        """Remove it; one that is not there is success."""
        path = self._path(key, facts)
        path.with_suffix(".part").unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def _path(self, key: str, facts: dict[str, Any]) -> Path:
        return Path(facts["folder"]) / f"{self.name}-{key}.txt"


class Announce(Step):
    """Tells the world; fails when asked to."""

    no_undo = "what was said cannot be unsaid, so it comes last"

    def perform(self, page: str, fail: bool) -> str:
        """Say it."""
        if fail:
            raise RuntimeError("nobody listens")
        return f"{page} is published"


def publish_flow(folder: str, fail: bool = False) -> Any:
    """The flow: a function at the top of a module, of plain arguments, so it can be resumed."""
    return linear_flow.Flow("publish").add(
        WriteFile("page", inject={"folder": folder, "text": "hello"}, provides="page"),
        WriteFile("index", inject={"folder": folder, "text": "page"}, provides="index"),
        Announce("announce", inject={"fail": fail}, provides="said"),
    )


def main(home: str, fail: bool) -> int:
    """Run the flow once; 0 when it was published."""
    from examples.own_flow import publish_flow as importable  # as another process would find it

    Path(home).mkdir(parents=True, exist_ok=True)
    with Engine(Settings(home=Path(home))) as engine:
        run = engine.run(importable, {"folder": home, "fail": fail}).wait()
    print(f"{run['status']}: {run['results'] or run['fault']}")
    print("files:", len(list(Path(home).glob("*.txt"))))
    return 0 if run["status"] == "complete" else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    sys.exit(main(sys.argv[1], "fail" in sys.argv[2:]))
