"""How a mistake gets into the product: a module's source is changed while it is imported.

The checkout is never edited, and no other process sees anything of it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import Any

from tests.faults.planted.mistake import Mistake


class NotPlantedError(Exception):
    """The mistake is not in the product: what it changes is not there, or was imported before."""


def change(source: str, mistake: Mistake) -> str:
    """`source` with the mistake in it. Raises NotPlantedError unless its old text is there once."""
    count = source.count(mistake.old)
    if count != 1:
        raise NotPlantedError(
            f"{mistake.name}: its old text is {count} times in {mistake.module}; write the row anew"
            " for what the module says today"
        )
    return source.replace(mistake.old, mistake.new)


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the changed source; no cached byte code is read or written."""

    def __init__(self, name: str, path: str, mistake: Mistake) -> None:
        super().__init__(name, path)
        self.mistake = mistake

    def get_code(self, fullname: str) -> CodeType:
        """See importlib.abc.InspectLoader."""
        source = self.get_source(fullname)
        if source is None:
            raise NotPlantedError(f"{self.mistake.name}: {fullname} has no source")
        return compile(change(source, self.mistake), self.path, "exec", dont_inherit=True)


class Planter(importlib.abc.MetaPathFinder):
    """Finds the one module that is to be changed, and leaves all others to whoever finds them."""

    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        if fullname != self.mistake.module:
            return None
        for finder in sys.meta_path:
            find: Any = getattr(finder, "find_spec", None)
            spec: importlib.machinery.ModuleSpec | None = None
            if finder is not self and find is not None:
                spec = find(fullname, path, target)
            if spec is not None and spec.origin is not None:
                spec.loader = _Loader(fullname, spec.origin, self.mistake)
                return spec
        raise NotPlantedError(f"{self.mistake.name}: there is no module {fullname}")


def plant(mistake: Mistake) -> None:
    """Have the mistake in this process from here on. Raises NotPlantedError when that is too late,
    or when the module is not as the mistake expects it.
    """
    if mistake.module in sys.modules:
        raise NotPlantedError(f"{mistake.name}: {mistake.module} was imported before")
    sys.meta_path.insert(0, Planter(mistake))
    importlib.import_module(mistake.module)
