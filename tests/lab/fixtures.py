"""The laboratory as pytest fixtures; `tests/conftest.py` names this module as a plugin."""

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.directories import CACHE, is_open, open_directory
from tests.lab.guest import GuestImages, make
from tests.lab.openstack import OpenStackLab
from tests.lab.services import Etcd, PostgreSQL, Redis, ServicePool, ZooKeeper

# The quick ones first: a plain mistake shows before any server is started.
_ORDER = ("libvirt", "services", "openstack", "slow")
_TOGETHER = ("openstack", "browser")


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run unit tests first, then those that need servers, slow ones last.

    With several processes (`-n`), the tests of OpenStack stay in one: they share one lab. So do
    those of the browser, which fetch what they need once.
    """
    for item in items:
        for mark in _TOGETHER:
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.xdist_group(mark))

    def rank(item: pytest.Item) -> int:
        marks = {mark.name for mark in item.iter_markers()}
        return max((_ORDER.index(mark) + 1 for mark in marks if mark in _ORDER), default=0)

    items.sort(key=rank)  # stable: the order within a rank stays


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fail where pytest and xdist do not understand each other on groups: they say nothing."""
    if getattr(session.config.option, "loadgroup", False):
        for item in session.items:
            if item.get_closest_marker("xdist_group") and "@" not in item.nodeid:
                raise pytest.UsageError("this pytest-xdist finds no groups of this pytest's tests")


@pytest.fixture(scope="session")
def guest_images() -> Iterator[GuestImages]:
    """The bootable guest, made on the first run and cached, where QEMU can read it."""
    images = make(CACHE / "guest")
    if os.geteuid() != 0 or is_open(images.directory):
        yield images
        return
    # A checkout that is root's alone, say in /root, is closed to QEMU, which libvirt runs as
    # another user.
    with open_directory() as directory:
        for path in images.files():
            shutil.copy(path, directory)
        yield GuestImages(directory)


@pytest.fixture(scope="session")
def capabilities() -> Path:
    """What libvirt found out about this host's QEMU, shared by all private libvirtds."""
    return CACHE / "libvirt-capabilities"


@pytest.fixture(scope="session")
def openstack_session() -> Iterator[OpenStackLab]:
    """One OpenStack for the whole run; tests take `openstack_lab`, which undoes their faults.

    BUILDFLOW_LAB_DIR names a lab that is up already (`make lab`) and is used instead: quicker when
    one test is run again and again.
    """
    running = os.environ.get("BUILDFLOW_LAB_DIR")
    if running:
        yield OpenStackLab.attach(Path(running))
        return
    # A bridge name of its own: `make lab` may be up at the same time.
    bridge = f"br-{secrets.token_hex(4)}"
    with open_directory() as directory, OpenStackLab(directory, bridge=bridge) as lab:
        yield lab


@pytest.fixture
def openstack_lab(openstack_session: OpenStackLab) -> Iterator[OpenStackLab]:
    """The lab with all of it running, no fault armed and no quota, before and after each test."""
    openstack_session.restore()
    openstack_session.faults.forget()
    yield openstack_session
    openstack_session.restore()


@pytest.fixture(scope="session")
def services_session() -> Iterator[ServicePool]:
    """The servers behind buildflow's optional parts, each started when it is first wanted."""
    with open_directory() as directory, ServicePool(directory) as pool:
        yield pool


@pytest.fixture
def postgresql(services_session: ServicePool) -> PostgreSQL:
    """A running PostgreSQL; `new_database()` gives a test one of its own."""
    return services_session.get(PostgreSQL)


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> str:
    """SQLAlchemy's URL of an empty database."""
    return postgresql.new_database()


@pytest.fixture
def redis(services_session: ServicePool) -> Redis:
    """A running Redis, perhaps with what earlier tests left in it."""
    return services_session.get(Redis)


@pytest.fixture
def etcd(services_session: ServicePool) -> Etcd:
    """A running etcd, perhaps with what earlier tests left in it."""
    return services_session.get(Etcd)


@pytest.fixture
def zookeeper(services_session: ServicePool) -> ZooKeeper:
    """A running ZooKeeper, perhaps with what earlier tests left in it."""
    return services_session.get(ZooKeeper)
