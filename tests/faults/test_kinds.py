"""The kinds of fault against what they stand for: the real drivers' tables of errors; and that none
of it is there unless somebody armed it.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import libvirt
import pytest

from buildflow.api import open_engine
from buildflow.config import Settings
from buildflow.drivers.libvirt import error_table as libvirt_table
from buildflow.drivers.openstack import error_table as openstack_table
from buildflow.drivers.openstack.error_table import Answer
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.errors import DriverError, VolumeServiceError
from buildflow.faults.injector import Injector
from buildflow.faults.kinds import BY_CODE, KINDS, Act, Kind
from buildflow.faults.proxies import Seen

REPOSITORY = Path(__file__).parents[2]
OF_LIBVIRT = [k for k in KINDS if k.act is Act.RAISE and k.drivers == {"compute"}]
OF_CLOUD = [
    k for k in KINDS
    if k.act in (Act.RAISE, Act.DOWN) and k.status is not None and k not in OF_LIBVIRT
]  # fmt: skip
# Neutron's 409s are told apart by the type in the body
BODY = {"n9": "IpAddressGenerationFailure"}


class Said(libvirt.libvirtError):
    """What libvirt raises, without a libvirt that does."""

    def __init__(self, code: int, domain: int, text: str) -> None:
        Exception.__init__(self, text)
        self._said = code, domain, text

    def get_error_code(self) -> int:
        """See libvirt."""
        return self._said[0]

    def get_error_domain(self) -> int:
        """See libvirt."""
        return self._said[1]

    def get_error_message(self) -> str:
        """See libvirt."""
        return self._said[2]


def described(error: BaseException) -> tuple[Any, ...]:
    """What of an error decides what the engine does."""
    return (
        type(error), getattr(error, "outcome_unknown", False),
        error.code if isinstance(error, DriverError) else None,
    )  # fmt: skip


@pytest.mark.parametrize("kind", OF_LIBVIRT, ids=lambda k: k.name)
def test_an_error_of_libvirt_is_what_its_driver_raises(kind: Kind) -> None:
    assert kind.status is not None
    said = Said(kind.status, libvirt.VIR_FROM_QEMU, kind.text)
    real = libvirt_table.translate(said, "start the domain")
    assert described(kind.make_error("[fault 1]", "compute")) == described(real)


def test_the_names_of_libvirts_codes() -> None:
    named = {k.code: k.why for k in OF_LIBVIRT if k.why.startswith("VIR_ERR_")}
    assert len(named) == 3
    for code, name in named.items():
        assert BY_CODE[code].status == getattr(libvirt, name)


@pytest.mark.parametrize("kind", OF_CLOUD, ids=lambda k: k.name)
def test_an_error_of_a_service_is_what_its_driver_raises(kind: Kind) -> None:
    row = openstack_table.row_for(Answer(kind.status, BODY.get(kind.code, ""), kind.text))
    (driver,) = kind.drivers or {"network"}
    error = kind.make_error("[fault 1]", driver)
    becomes = row.becomes
    if driver == "volume" and becomes is DriverError:
        becomes = VolumeServiceError
    assert type(error) is becomes
    assert getattr(error, "outcome_unknown", False) == row.outcome_unknown
    assert re.search(rf"\(HTTP {kind.status}\)", str(error))


@pytest.mark.parametrize("code", ["lo", "ha", "dn", "rd", "v5"])
def test_what_goes_wrong_with_cinder_is_told_as_cinders(code: str) -> None:
    assert type(BY_CODE[code].make_error("", "volume")) is VolumeServiceError
    assert type(BY_CODE[code].make_error("", "network")) is DriverError


def test_a_lost_answer_is_told_as_both_drivers_tell_it() -> None:
    lost = BY_CODE["lo"]
    said = Said(libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC, lost.text)
    assert libvirt_table.row_for(said).outcome_unknown
    assert openstack_table.row_for(Answer(None, "ConnectFailure", lost.text)).outcome_unknown
    assert lost.outcome_unknown


def test_codes_are_short_and_no_two_share_one() -> None:
    assert len(BY_CODE) == len(KINDS)
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert {len(kind.code) for kind in KINDS} == {2}


# --- nothing is armed unless somebody arms it ---


def environment_variables() -> set[str]:
    """Every setting of ours that the sources read from the environment."""
    found: set[str] = set()
    for folder in ("buildflow", "flows", "diagrams"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            found.update(re.findall(r"BUILDFLOW_[A-Z_]+[A-Z]", file.read_text()))
    return found


def test_no_environment_variable_arms_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = environment_variables()
    assert {"BUILDFLOW_HOME", "BUILDFLOW_LIBVIRT_URI"} <= names
    guesses = {f"BUILDFLOW_{word}" for word in ("INJECT", "FAULTS", "FAULT", "POINTS", "PLAN")}
    for name in names | guesses:
        monkeypatch.setenv(
            name, str(tmp_path) if name.endswith("HOME") else "wait_for_boot:execute"
        )
    made: list[Injector] = []
    monkeypatch.setattr(Injector, "__init__", lambda self, *_args: made.append(self))
    world = SimulatedWorld()
    drivers = drivers_of(world, "h1")
    settings = Settings(home=tmp_path, store=f"sqlite:///{tmp_path}/s", boot_grace_s=0.0)
    with open_engine(settings=settings, world=drivers) as engine:
        assert engine.points is None
        assert engine.store.journal.on_commit is None
        assert engine.build(name="a", image="cirros").wait()["status"] == "complete"
        for driver in (*engine.world.computes.values(), engine.world.network,
                       engine.world.volume, engine.world.image):  # fmt: skip
            assert not isinstance(driver, Seen)
            assert type(driver).__module__.startswith("buildflow.drivers.simulated")
        engine.delete("a").wait()
    assert made == []


UNARMED = """
import sys
from pathlib import Path
from buildflow.api import open_engine
from buildflow.config import Settings
from buildflow.drivers.simulated import SimulatedWorld, drivers_of

home = Path(sys.argv[1])
with open_engine(settings=Settings(home=home, boot_grace_s=0.0),
                 world=drivers_of(SimulatedWorld(), "h1")) as engine:
    assert engine.build(name="a", image="cirros").wait()["status"] == "complete"
print(sorted(name for name in sys.modules if name.startswith("buildflow.faults")))
"""


def test_a_run_that_is_not_armed_does_not_even_import_the_kit(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNARMED, str(tmp_path)], capture_output=True, text=True, check=False,
        timeout=120, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr


# --- chance ---


PLANS = """
from buildflow.faults.explore import play_at_random
from buildflow.faults.own_flow import OwnFlowScene
from buildflow.faults.play import reference_of
from tests.faults.orders import Shop, order_flow

scene = OwnFlowScene(order_flow, Shop, name="orders")
for played in play_at_random(scene, reference_of(scene), {seed}, 25, faults=6, points=60):
    print([(f.code, f.name, f.turn) for f in played.faults], played.outcome.value)
"""


def plans(seed: int, hash_seed: str) -> list[str]:
    """Random plans, as a process of its own plays them."""
    done = subprocess.run(
        [sys.executable, "-c", PLANS.format(seed=seed)], capture_output=True, text=True, check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": hash_seed},
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_seed_gives_the_same_plans_in_every_process() -> None:
    one = plans(7, "1")
    assert len(one) == 25
    assert len(set(one)) > 20
    assert plans(7, "2") == one
    other = plans(1007, "1")
    assert len(set(one) & set(other)) < 5


def test_this_test_is_the_one_that_the_table_names() -> None:
    from buildflow.faults import kinds

    named = re.findall(r"tests/\S+?\.py", inspect.getdoc(kinds) or "")
    assert named == [str(Path(__file__).relative_to(REPOSITORY))]
