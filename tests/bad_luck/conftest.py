"""Stages: as whoever runs the tests, and as a user without any privilege."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bad_luck.code import Code, for_anybody, our_own
from tests.bad_luck.stage import Stage
from tests.lab.directories import open_directory
from tests.lab.guest import GuestImages

NOBODY = "nobody"


@contextmanager
def a_stage(user: str | None = None, code: Code | None = None) -> Iterator[Stage]:
    """A home that QEMU can reach, gone afterwards; no guest may be left running."""
    with open_directory() as directory:
        home = directory / "home"
        home.mkdir()
        if user is not None:
            entry = pwd.getpwnam(user)
            os.chown(home, entry.pw_uid, entry.pw_gid)
        stage = Stage(home, user=user, code=code or our_own())
        yield stage
        left = [thing for thing in stage.footprint() if thing.startswith("process")]
        assert left == []


@pytest.fixture(scope="module")
def stage(guest_images: GuestImages) -> Iterator[Stage]:
    """One home for a module's tests; its embedded hypervisor is made by the first of them."""
    with a_stage() as made:
        yield made


@pytest.fixture
def own_stage(guest_images: GuestImages) -> Iterator[Stage]:
    """A home for one test alone."""
    with a_stage() as made:
        yield made


@pytest.fixture(scope="session")
def open_code() -> Iterator[Code | None]:
    """The program where anybody may run it."""
    with for_anybody() as code:
        yield code


@pytest.fixture
def powerless(open_code: Code | None, guest_images: GuestImages) -> Iterator[Stage]:
    """A home of a user who may nothing at all; skipped where the tests run as such a user."""
    if os.geteuid() != 0:
        pytest.skip("who runs the tests has no privilege already: the other stages show it")
    if open_code is None:
        pytest.skip("no Python that every user may run takes this environment's modules")
    with a_stage(NOBODY, open_code) as made:
        yield made


@pytest.fixture(scope="session")
def image(guest_images: GuestImages) -> Path:
    """The guest that prints its marker."""
    return guest_images.qcow2
