"""From what was typed to Settings; BadInput for what can never be right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from buildflow.config import VOLUME_API, VOLUME_ATTACH, Settings, default_home
from buildflow.drivers.libvirt.uri import refuse_password
from buildflow.errors import BadInput, StoreError

_CHOICES: Final = {
    "volume_api": VOLUME_API,
    "volume_attach": VOLUME_ATTACH,
    "virt_type": ("kvm", "qemu"),
}


def settings_from(home: Path | None, given: Mapping[str, Any]) -> Settings:
    """Settings with what is not None in `given`; the home made absolute, for QEMU is given it."""
    where = home if home is not None else default_home()
    fields = {name: value for name, value in given.items() if value is not None}
    for name, choices in _CHOICES.items():
        if name in fields and fields[name] not in choices:
            option = "--" + name.replace("_", "-")
            raise BadInput(f"{option} {fields[name]!r} is unknown: use {' or '.join(choices)}")
    if "connect" in fields:
        refuse_password(fields["connect"])
    if "store" in fields:
        check_store_url(fields["store"])
    return Settings(home=where.expanduser().absolute(), **fields)


def check_store_url(url: str) -> None:
    """Refuse what no store can be opened by. The URL is not repeated: it may hold a password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        dialect = make_url(url).get_dialect()
        dialect.import_dbapi()
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise BadInput(
            "--store is no URL of a database that is known: use sqlite:////DIR/FILE or"
            " postgresql+psycopg://USER@HOST/NAME"
        ) from error
    except ImportError as error:
        raise StoreError(
            f"--store needs a library that is not installed ({error.name}):"
            " `pip install 'buildflow-vm[postgresql]'`"
        ) from error
