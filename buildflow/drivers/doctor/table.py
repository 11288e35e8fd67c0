"""The checks, in the order in which one would look: programs, host, hypervisor, services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from buildflow.config import Settings
from buildflow.drivers.doctor import host, kvm, programs, services
from buildflow.drivers.doctor.check import BAD, Check, CheckResult
from buildflow.errors import BuildflowError


def _named_cloud(settings: Settings) -> bool:
    return settings.os_cloud is not None


def _host_connects(settings: Settings) -> bool:
    return settings.volume_attach == "host"


CHECKS: Final[tuple[Check, ...]] = (
    Check("qemu", programs.qemu, "it is what runs guests"),
    Check("qemu-img", programs.qemu_img, "it makes disks"),
    Check("libvirt", programs.libvirt_binding, "it defines and starts guests"),
    Check("kvm rights", kvm.rights, "the wrong ones make each define take half a minute"),
    Check("orphans", host.orphans, "a slow PID 1 makes each destroy take seconds"),
    Check("memory", host.memory, "guests live in it"),
    Check("disk", host.disk, "disks and the store live on it"),
    Check("hypervisor", services.hypervisor, "it must answer", needs="libvirt"),
    Check("kvm", kvm.works, "listed is not working", needs="hypervisor"),
    Check("bridges", host.bridges, "ports on bridges need one"),
    Check("block drivers", programs.block_drivers, "volumes are opened by QEMU itself"),
    Check("os-brick", programs.os_brick, "volumes are opened by this host", _host_connects),
    Check("clouds.yaml", services.cloud, "OpenStack is found by it", _named_cloud),
    Check("network", services.network, "ports are made by it", needs="hypervisor"),
    Check("volume", services.volume, "volumes come from it"),
    Check("image", services.image, "images come from it"),
    Check("graphviz", programs.graphviz, "it draws svg and png"),
    Check("tgt", programs.tgt, "the lab's volumes are exported by it"),
)


def run_checks(settings: Settings) -> list[CheckResult]:
    """Every check that applies to these settings, in the table's order. Raises nothing of ours: an
    error is an answer. May boot a probe for some seconds, once after each boot of the host.
    """
    return list(_run(settings))


def _run(settings: Settings) -> Iterator[CheckResult]:
    failed: set[str] = set()
    for check in CHECKS:
        if not check.applies(settings):
            continue
        if check.needs in failed:
            failed.add(check.name)
            continue
        result = _look(check, settings)
        if result.status == BAD:
            failed.add(check.name)
        yield result


def _look(check: Check, settings: Settings) -> CheckResult:
    try:
        return check.look(settings)
    except (BuildflowError, OSError) as error:
        summary = error.summary if isinstance(error, BuildflowError) else str(error)
        return CheckResult(check.name, BAD, summary, "what it says would be right")
