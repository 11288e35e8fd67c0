"""Models as JSON and back, without loss. `kind` and `version` say what a saved file holds.

Rule: every field is written, in the order of its class, so that two files differ only where the
models do. A reader refuses what it does not know rather than dropping it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from buildflow.diagrams.model.flow import FlowModel
from buildflow.diagrams.model.machine import MachineModel
from buildflow.diagrams.model.run import Run
from buildflow.diagrams.model.timeline import Timeline
from buildflow.errors import BadInput

VERSION: Final = 1

Model = FlowModel | MachineModel | Timeline
T = TypeVar("T")

_KINDS: Final[dict[str, type[Any]]] = {
    "flow": FlowModel,
    "machine": MachineModel,
    "timeline": Timeline,
}


def to_data(model: Model, run: Run | None = None) -> dict[str, Any]:
    """`model` as plain JSON data, with the run that is laid over it when there is one."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(model, cls))
    data = {"kind": kind, "version": VERSION, **_plain(model)}
    if run is not None:
        data["run"] = _plain(run)
    return data


def dumps(model: Model, run: Run | None = None) -> str:
    """`model` as JSON text, ending in a newline."""
    return json.dumps(to_data(model, run), indent=2, ensure_ascii=False) + "\n"


def loads(text: str) -> Model:
    """The model in `text`; a run in it is left out. Raises BadInput for anything else."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BadInput(f"not a saved diagram: not JSON ({error})") from None
    return from_data(data)


def from_data(data: Any) -> Model:
    """The model that `to_data` made `data` from. Raises BadInput for anything else."""
    if not isinstance(data, Mapping) or data.get("kind") not in _KINDS:
        known = ", ".join(_KINDS)
        raise BadInput(f"not a saved diagram: its `kind` is none of {known}")
    if data.get("version") != VERSION:
        raise BadInput(
            f"a saved diagram of version {data.get('version')!r}; this one reads {VERSION}"
        )
    body = {key: value for key, value in data.items() if key not in ("kind", "version", "run")}
    try:
        model: Model = _build(_KINDS[data["kind"]], body)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"not a saved diagram: {error}") from None
    return model


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


_HINTS: dict[type[Any], dict[str, Any]] = {}


def _build(cls: type[T], data: Any) -> T:
    """An instance of the dataclass `cls`; ValueError where `data` does not fit its fields."""
    if not isinstance(data, Mapping):
        raise ValueError(f"expected an object for a {cls.__name__}, found {data!r}")
    if cls not in _HINTS:
        _HINTS[cls] = get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(names))
    if unknown:
        raise ValueError(f"a {cls.__name__} has no field {unknown[0]!r}")
    return cls(
        **{name: _value(_HINTS[cls][name], data[name], name) for name in names if name in data}
    )


def _value(hint: Any, data: Any, name: str) -> Any:
    if get_origin(hint) is tuple:
        if not isinstance(data, list):
            raise ValueError(f"`{name}` is {data!r}, not a list")
        inner = get_args(hint)[0]
        return tuple(_value(inner, item, name) for item in data)
    if dataclasses.is_dataclass(hint):
        return _build(hint, data)  # type: ignore[arg-type]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(data)
    options = get_args(hint) or (hint,)
    if float in options and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not any(_fits(data, option) for option in options):
        raise ValueError(f"`{name}` is {data!r}")
    return data


def _fits(data: Any, option: Any) -> bool:
    if option is not bool and isinstance(data, bool):
        return False
    return isinstance(data, option)
