"""The hypervisor, and OpenStack where the settings name a cloud."""

from __future__ import annotations

from buildflow.config import Settings
from buildflow.drivers.doctor.check import CheckResult, bad, ok, warn
from buildflow.drivers.registry import DriverKind, default_name, open_driver
from buildflow.errors import HypervisorBusy


def hypervisor(settings: Settings) -> CheckResult:
    """Open it, with a way in for QEMU to the home."""
    driver = open_driver("compute", settings)
    try:
        driver.check()
    except HypervisorBusy as error:
        return warn("hypervisor", str(error), "nothing, if that is a build of yours")
    finally:
        driver.close()
    return ok("hypervisor", f"{settings.libvirt_uri} answers")


def network(settings: Settings) -> CheckResult:
    """The network driver."""
    return _service("network", settings)


def volume(settings: Settings) -> CheckResult:
    """The volume driver; with Cinder also whether a rollback could detach (service token)."""
    return _service("volume", settings)


def image(settings: Settings) -> CheckResult:
    """The image driver."""
    return _service("image", settings)


def _service(kind: DriverKind, settings: Settings) -> CheckResult:
    name = getattr(settings, f"{kind}_driver") or default_name(kind, settings)
    driver = open_driver(kind, settings)
    try:
        driver.check()
    finally:
        driver.close()
    return ok(kind, f"{name} can be used")


def cloud(settings: Settings) -> CheckResult:
    """clouds.yaml has the clouds that the settings name."""
    from openstack.config import OpenStackConfig
    from openstack.exceptions import ConfigException

    named = [c for c in (settings.os_cloud, settings.os_service_cloud) if c]
    known = OpenStackConfig()
    for name in named:
        try:
            known.get_one(name)
        except ConfigException as error:
            return bad(
                "clouds.yaml",
                " ".join(str(error).split()),
                "write it to ~/.config/openstack/clouds.yaml, or name another cloud by --os-cloud",
            )
    if settings.os_service_cloud is None:
        return warn(
            "clouds.yaml",
            f"cloud {settings.os_cloud} is known, and no service cloud is named: Cinder may refuse"
            " to detach in a rollback, Neutron to bind",
            "--os-service-cloud NAME, a cloud whose user has the role service",
        )
    return ok("clouds.yaml", f"{', '.join(named)}: known")
