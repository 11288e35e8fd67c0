"""What the doctor finds, on hosts made bad for it, and on this one."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from buildflow.config import Settings
from buildflow.drivers.doctor import (
    BAD,
    CHECKS,
    OK,
    WARN,
    CheckResult,
    host,
    kvm,
    run_checks,
    table,
)
from buildflow.drivers.doctor.check import Check
from buildflow.drivers.libvirt import kvm_rights, qemu_modules
from buildflow.drivers.libvirt.orphans import reaping_time
from buildflow.drivers.libvirt.qemu_user import QemuUser
from buildflow.errors import HostUnusable
from tests.drivers.embedded import shared_uri
from tests.lab.directories import open_directory

NOBODY = QemuUser("nobody", 65534, frozenset({65534}))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, connect="test:///default")


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orphans take seconds to measure on some hosts: once is enough, at the end."""
    if "libvirt" not in request.keywords:
        monkeypatch.setattr(host, "reaping_time", lambda _patience: 0.01)


def found(settings: Settings, name: str) -> CheckResult:
    return next(result for result in run_checks(settings) if result.name == name)


def test_names_are_unique_and_needs_name_earlier_checks() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    for place, check in enumerate(CHECKS):
        assert check.why
        assert check.needs is None or check.needs in names[:place]


def test_everything_that_is_wrong_has_a_cure(settings: Settings) -> None:
    for result in run_checks(settings):
        assert result.detail
        assert result.cure or result.status == OK


def test_programs_that_are_missing_are_told_with_their_packages(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the program that measures orphans stays, all else goes
    (tmp_path / "sh").symlink_to("/bin/sh")
    (tmp_path / "sleep").symlink_to("/bin/sleep")
    monkeypatch.setenv("PATH", str(tmp_path))
    results = {result.name: result for result in run_checks(settings)}
    for name, package in (("qemu", "qemu-system"), ("qemu-img", "qemu-utils")):
        assert results[name].status == BAD
        assert package in results[name].cure
    assert results["graphviz"].status == WARN
    assert results["hypervisor"].status == BAD


@pytest.mark.parametrize(
    ("mode", "group", "hidden"),
    [(0o600, 0, True), (0o660, 0, True), (0o660, 65534, False), (0o666, 0, False)],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_rights_on_kvm_that_only_root_has(
    tmp_path: Path, mode: int, group: int, hidden: bool
) -> None:
    device = tmp_path / "kvm"
    device.touch()
    device.chmod(mode)
    os.chown(device, 0, group)
    assert kvm_rights.hidden_from(NOBODY, device) is hidden
    assert not kvm_rights.hidden_from(None, device)
    assert not kvm_rights.hidden_from(NOBODY, tmp_path / "missing")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another user is never hit")
def test_the_trap_is_reported_with_its_cure(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "kvm"
    device.touch(mode=0o600)
    monkeypatch.setattr(kvm, "KVM", device)
    monkeypatch.setattr(kvm_rights, "KVM", device)
    monkeypatch.setattr(kvm_rights.hidden_from, "__defaults__", (device,))
    monkeypatch.setattr(kvm_rights.cure, "__defaults__", (device,))
    result = kvm.rights(replace(settings, connect=f"qemu:///embed?root={tmp_path}/embed"))
    assert result.status == WARN
    assert "30 s" in result.detail
    assert result.cure == f"chgrp kvm {device} && chmod 660 {device}"


@pytest.mark.parametrize(
    ("waited", "connect", "status"),
    [
        (0.01, "qemu:///system", OK),
        (1.8, "qemu:///system", WARN),
        (3.0, "qemu:///session", WARN),
        (1.8, "qemu:///embed?root=/x", OK),
    ],
)
def test_a_slow_pid_1_is_reported_with_its_cure(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, waited: float, connect: str, status: str
) -> None:
    monkeypatch.setattr(host, "reaping_time", lambda _patience: waited)
    result = host.orphans(replace(settings, connect=connect))
    assert result.status == status
    assert (waited < 0.1) == (not result.cure)
    if waited > 0.1:
        assert "tini" in result.cure


def test_orphans_are_really_measured() -> None:
    assert 0 <= reaping_time(0.3) < 1.5


def test_a_home_that_cannot_be_written(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert host.disk(settings).status == BAD


@pytest.mark.parametrize(("free_mib", "status"), [(64, BAD), (1024, WARN), (1 << 20, OK)])
def test_room_on_disk(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, free_mib: int, status: str
) -> None:
    usage = type("Usage", (), {"free": free_mib << 20})
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage)
    assert host.disk(replace(settings, home=settings.home / "not" / "yet")).status == status


@pytest.mark.parametrize(("free_mib", "status"), [(64, BAD), (512, WARN), (1 << 20, OK)])
def test_room_in_memory(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, free_mib: int, status: str
) -> None:
    seen = type("Seen", (), {"available": free_mib << 20})
    monkeypatch.setattr("psutil.virtual_memory", lambda: seen)
    assert host.memory(settings).status == status


def test_missing_block_drivers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_modules, "modules", lambda: frozenset({"block-curl"}))
    result = found(settings, "block drivers")
    assert result.status == WARN
    assert "iscsi" in result.detail
    assert "qemu-block-extra" in result.cure


def test_a_cloud_that_clouds_yaml_does_not_have(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "clouds.yaml"
    empty.write_text("clouds: {}\n")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(empty))
    wanted = replace(settings, os_cloud="nowhere", network_driver="user", volume_driver="local")
    result = found(replace(wanted, image_driver="file"), "clouds.yaml")
    assert result.status == BAD
    assert "nowhere" in result.detail
    assert "clouds.yaml" in result.cure


def test_a_hypervisor_that_does_not_answer(settings: Settings) -> None:
    with open_directory() as home:
        away = replace(settings, home=home, connect="qemu+unix:///system?socket=/nonexistent")
        results = {result.name: result for result in run_checks(away)}
    assert results["hypervisor"].status == BAD
    assert "/nonexistent" in results["hypervisor"].detail
    assert not {"kvm", "network"} & set(results)  # which nobody could answer now


def test_an_error_is_an_answer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_settings: Settings) -> CheckResult:
        raise HostUnusable("no such\nluck")

    monkeypatch.setattr(table, "CHECKS", (Check("luck", fails, "one needs it"),))
    (result,) = run_checks(settings)
    assert (result.status, result.detail) == (BAD, "no such luck")


@pytest.mark.libvirt
def test_this_host_can_build_machines() -> None:
    with open_directory("bf-home-") as home:
        results = run_checks(Settings(home=home, connect=shared_uri()))
    assert [result for result in results if result.status == BAD] == []
    assert {"kvm rights", "orphans", "hypervisor", "kvm"} <= {result.name for result in results}
