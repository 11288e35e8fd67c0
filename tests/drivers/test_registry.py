"""Which driver serves, by name, by default and from third parties."""

import importlib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from buildflow.config import Settings
from buildflow.drivers import registry
from buildflow.drivers.files.image_files import FileImageDriver
from buildflow.drivers.local_volume import LocalVolumeDriver
from buildflow.drivers.registry import default_name, names, open_driver
from buildflow.drivers.user_network import UserNetworkDriver
from buildflow.errors import BadInput


def settings(**changed: Any) -> Settings:
    return Settings(home=Path("/nonexistent"), **changed)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ("libvirt", "user", "local", "file")),
        ({"connect": "qemu:///session"}, ("libvirt", "user", "local", "file")),
        ({"connect": "qemu:///system"}, ("libvirt", "libvirt", "local", "file")),
        ({"connect": "qemu+ssh://host/system"}, ("libvirt", "libvirt", "local", "file")),
        ({"os_cloud": "lab"}, ("libvirt", "neutron", "cinder", "glance")),
        ({"connect": "sim:///srv/world.jsonl"}, ("simulated",) * 4),
        ({"compute_driver": "simulated"}, ("libvirt",) + ("simulated",) * 3),
        ({"compute_driver": "fake.FakeDriver"}, ("libvirt",) + ("simulated",) * 3),
    ],
)
def test_defaults(changed: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert tuple(default_name(kind, settings(**changed)) for kind in registry.KINDS) == expected


def test_the_defaults_of_a_plain_host_open_without_touching_anything() -> None:
    assert isinstance(open_driver("network", settings()), UserNetworkDriver)
    assert isinstance(open_driver("volume", settings()), LocalVolumeDriver)
    assert isinstance(open_driver("image", settings()), FileImageDriver)
    assert open_driver("compute", settings(connect="test:///default")).name == "libvirt"


def test_the_documented_name_of_the_libvirt_driver_is_understood() -> None:
    chosen = settings(connect="test:///default", compute_driver="libvirt.LibvirtDriver")
    assert open_driver("compute", chosen).name == "libvirt"


@pytest.mark.parametrize("kind", registry.KINDS)
def test_an_unknown_name_is_refused_with_those_there_are(kind: registry.DriverKind) -> None:
    with pytest.raises(BadInput) as caught:
        open_driver(kind, settings(**{f"{kind}_driver": "no-such"}))
    for name in registry.BUILT_IN[kind]:
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "path"),
    [(kind, path) for kind, table in registry.BUILT_IN.items() for path in table.values()],
)
def test_every_built_in_factory_exists(kind: str, path: str) -> None:
    module, _, function = path.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_a_third_party_adds_a_driver_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("tape", f"{__name__}:open_tape", "buildflow.volume")
    point_loads = type("Point", (), {"name": "tape", "load": staticmethod(lambda: open_tape)})
    assert point.group == "buildflow.volume"
    monkeypatch.setattr(
        registry,
        "entry_points",
        lambda group: [point_loads] if group == "buildflow.volume" else [],
    )
    assert "tape" in names("volume")
    assert "tape" not in names("image")
    assert open_driver("volume", settings(volume_driver="tape")).name == "tape"


def open_tape(chosen: Settings, say: Any) -> Any:
    """What a third party writes."""
    return type("Tape", (), {"name": "tape"})()
