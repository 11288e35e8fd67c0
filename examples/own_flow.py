"""A flow that has nothing to do with machines: a web site is published, or stays as it was.

    python examples/own_flow.py

Each step says how its effect is found, made and removed; the engine does the rest. What is checked
last is the site as visitors see it, so that a bad one is taken back by itself: the link leads to
the release of before again, and the bad release's folder is gone. Kill the process at any moment
and start it again: it first goes on with what was left.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from taskflow.patterns import linear_flow

import buildflow
from buildflow.errors import DriverError

Json = dict[str, Any]


class Release(buildflow.Step):
    """A folder of its own for the new pages. Provides its path."""

    kind: ClassVar[str] = "release"
    undo_label: ClassVar[str] = "remove the release"
    # a release that visitors are led to is never removed
    undo_after: ClassVar[tuple[str, ...]] = ("link",)

    def __init__(self, name: str, site: str, pages: dict[str, str]) -> None:
        super().__init__(name, provides="release")
        self.site, self.pages = Path(site), pages

    def facts(self) -> Json:
        """Where the site lives."""
        return {"releases": str(self.site / "releases")}

    def find(self, key: str, facts: Json) -> str | None:
        """A complete one, by its key."""
        folder = Path(facts["releases"]) / key
        return str(folder) if folder.is_dir() else None

    def create(self, key: str, facts: Json) -> str:
        """Complete or not at all: filled under another name, then renamed."""
        folder = Path(facts["releases"]) / key
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, text in self.pages.items():
            (part / name).write_text(text)
        part.rename(folder)
        return str(folder)

    def delete(self, key: str, facts: Json) -> None:
        """Whole or half, gone."""
        folder = Path(facts["releases"]) / key
        shutil.rmtree(folder.with_suffix(".part"), ignore_errors=True)
        if folder.exists():
            shutil.rmtree(folder)


class Link(buildflow.Step):
    """The link that visitors follow, turned to the new release."""

    kind: ClassVar[str] = "link"
    undo_label: ClassVar[str] = "turn the link back"

    def __init__(self, name: str, site: str) -> None:
        super().__init__(name, provides="live")
        self.site = Path(site)

    def facts(self, release: str) -> Json:
        """The link, where it leads now, and where it is to lead: durable before it is turned."""
        live = self.site / "live"
        before = str(live.readlink()) if live.is_symlink() else None
        return {"live": str(live), "before": before, "release": release}

    def find(self, key: str, facts: Json) -> str | None:
        """Whether it leads there already."""
        live = Path(facts["live"])
        turned = live.is_symlink() and str(live.readlink()) == facts["release"]
        return facts["live"] if turned else None

    def create(self, key: str, facts: Json) -> str:
        """Turn it, with no moment in between."""
        turn(Path(facts["live"]), facts["release"])
        return str(facts["live"])

    def delete(self, key: str, facts: Json) -> None:
        """Back to where it led; somebody else's later choice is respected."""
        if self.find(key, facts) is None:
            return
        if facts["before"] is None:
            Path(facts["live"]).unlink()
        else:
            turn(Path(facts["live"]), facts["before"])


class Check(buildflow.Step):
    """Looks at the site as a visitor would."""

    no_undo: ClassVar[str] = "it only looks"

    def perform(self, live: str) -> str:
        """Its title. Fails when it has none."""
        text = (Path(live) / "index.html").read_text()
        _, found, rest = text.partition("<title>")
        if not found:
            raise DriverError("the site has no title")
        return rest.partition("</title>")[0]


def turn(link: Path, target: str) -> None:
    """Make `link` lead to `target`, atomically."""
    new = link.with_name(f".{link.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


def publish(site: str, pages: dict[str, str]) -> Any:
    """The flow. A function at the top of a module, of arguments that survive JSON: after a crash
    another process makes the same flow again.
    """
    return linear_flow.Flow("publish").add(
        Release("release", site, pages), Link("link", site), Check("check", provides="title")
    )


def main(place: Path) -> int:
    """Publish a good site, then a bad one."""
    # by the module's own name, not as __main__: under that name a resume will look for it
    from own_flow import publish

    site = place / "site"
    with buildflow.Engine(buildflow.Settings(home=place / "state")) as engine:
        for handle in engine.resume():
            print(f"an earlier run was cut off; now it is {handle.wait()['status']}")
        good = {"index.html": "<title>Our site</title>"}
        done = engine.run(publish, {"site": str(site), "pages": good}).wait()
        print(f"a good one: {done['status']}, titled {done['results']['title']!r}")
        shown = (site / "live").readlink()

        bad = {"index.html": "we forgot something"}
        failed = engine.run(publish, {"site": str(site), "pages": bad}).wait()
        print(f"a bad one: {failed['status']}: {failed['fault']['message']}")
        for effect in failed["effects"]:
            print(f"  {effect['kind']}: {effect['state']}")
        same = (site / "live").readlink() == shown
        print(f"visitors see {'the site of before' if same else 'something else'}")
        print(f"releases: {len(list((site / 'releases').iterdir()))}")
    return 0 if same else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder)))
