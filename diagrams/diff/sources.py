"""Where the two sides of a comparison come from: a saved JSON file, or a git revision.

A revision's own code extracts its own definitions, in a process of its own and from a copy of its
files: nothing of the working tree is touched, and nothing of it leaks in.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from buildflow.diagrams.extract import extract_flow, extract_joint, extract_machine, find_flow
from buildflow.diagrams.model import FlowModel, MachineModel
from buildflow.diagrams.model.codec import from_data, to_data
from buildflow.errors import BadInput, HostUnusable
from buildflow.states import TABLES

Snapshot = dict[str, FlowModel | MachineModel]

_FOLDERS: Final = ("buildflow", "flows", "diagrams")
_TIMEOUT_S: Final = 120.0


def current(flow: str = "buildflow.flows.build:build_flow") -> Snapshot:
    """The definitions that are running now."""
    model = extract_flow(find_flow(flow))
    machines = {name: extract_machine(table, model) for name, table in TABLES.items()}
    return {"flow": model, **machines, "joint": extract_joint(model)}


def dump(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON data."""
    models = {name: to_data(model) for name, model in snapshot.items()}
    return {"kind": "snapshot", "version": 1, "models": models}


def load(
    where: str, *, repository: Path | None = None, say: Callable[[str], None] | None = None
) -> Snapshot:
    """The snapshot in the file `where`, else of the git revision `where`, which `say` is told of.

    Raises BadInput when it is neither.
    """
    path = Path(where)
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"can't read {where}: {error}") from None
        return parse(text, where)
    return _of_revision(where, repository or _repository(), say)


def parse(text: str, where: str) -> Snapshot:
    """The models in JSON text: one of them, several machines, or a whole snapshot."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BadInput(f"{where}: not a saved diagram: not JSON ({error})") from None
    kind = data.get("kind") if isinstance(data, dict) else None
    try:
        if kind == "snapshot":
            models = [from_data(each) for each in data["models"].values()]
        elif kind == "machines":
            models = [from_data(each) for each in data["machines"]]
        else:
            models = [from_data(data)]
    except (KeyError, TypeError, AttributeError, BadInput) as error:
        raise BadInput(f"{where}: {error}") from None
    found: Snapshot = {}
    for model in models:
        if isinstance(model, FlowModel):
            found["flow"] = model
        elif isinstance(model, MachineModel):
            found[model.name] = model
        else:
            raise BadInput(f"{where}: a timeline can't be compared; save a flow or a state chart")
    return found


def _repository() -> Path:
    """The checkout to look for revisions in: where we are, else where this code is."""
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / ".git").exists() and (folder / "buildflow").is_dir():
                return folder
    raise BadInput("no saved JSON, and no git checkout of buildflow to look for revisions in")


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", "-C", str(repository), *arguments],
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except FileNotFoundError:
        raise HostUnusable("git is not installed; compare saved JSON files instead") from None


def _of_revision(revision: str, repository: Path, say: Callable[[str], None] | None) -> Snapshot:
    found = _git(
        repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    )
    if found.returncode != 0:
        raise BadInput(f"{revision!r} is neither a file nor a git revision of {repository}")
    commit = found.stdout.decode().strip()
    archive = _git(repository, "archive", "--format=tar", commit, *_FOLDERS)
    if archive.returncode != 0:
        raise BadInput(f"revision {revision!r} has no {', '.join(_FOLDERS)}")
    if say is not None:
        say(f"reading the definitions of {revision} ...")
    with tempfile.TemporaryDirectory(prefix="buildflow-diff-") as folder:
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        return _extract_there(Path(folder), revision)


def _extract_there(folder: Path, revision: str) -> Snapshot:
    if not (folder / "diagrams" / "snapshot.py").is_file():
        raise BadInput(f"revision {revision!r} is older than diagrams: it can't draw itself")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "buildflow.diagrams.snapshot"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
        raise BadInput(f"revision {revision!r} can't draw itself: {last}")
    return parse(done.stdout, f"revision {revision}")
