"""From `build`'s options to a BuildRequest. Pure: touches neither store nor world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from buildflow.errors import BadInput

if TYPE_CHECKING:
    from buildflow.flows.request import BuildRequest

NO_NETWORK: Final = "none"

# what the comma-separated options call a field -> its name in the request
_NIC: Final = {"network": "network", "ip": "fixed_ip", "mac": "mac", "port": "port_id"}
_GIVEN_VOLUME: Final = {"delete": "delete_on_termination", "ro": "read_only"}
_NEW_VOLUME: Final = {
    "size": "size", "image": "image_id", "snapshot": "snapshot_id", "boot": "boot",
    "delete": "delete_on_termination", "ro": "read_only",
}  # fmt: skip
# a field of the request -> the option that it comes from
_OPTIONS: Final = {
    "name": "NAME", "memory_mib": "--memory", "vcpus": "--vcpus", "disk_gib": "--disk",
    "wait": "--wait", "timeout_s": "--timeout", "image": "--image", "boot_volume": "--boot-volume",
    "volumes": "--volume", "networks": "--nic", "affinity_group": "--affinity",
    "anti_affinity_group": "--anti-affinity",
}  # fmt: skip
_TRUTHS: Final = {"yes": True, "true": True, "": True, "no": False, "false": False}
_FLAGS: Final = ("delete_on_termination", "read_only", "boot")


def build_request(
    *,
    networks: Sequence[str] = (),
    ports: Sequence[str] = (),
    nics: Sequence[str] = (),
    boot_volume: str | None = None,
    volumes: Sequence[str] = (),
    new_volumes: Sequence[str] = (),
    **fields: Any,
) -> BuildRequest:
    """The request that the options make. Raises BadInput.

    NICs come in the order network, port, nic; volumes in the order given, then made.
    """
    from buildflow.flows.request import parse_request

    wanted = [{"network": name} for name in networks if name != NO_NETWORK]
    wanted += [{"port_id": port} for port in ports]
    wanted += [_pairs("--nic", nic, _NIC) for nic in nics]
    if NO_NETWORK in networks:
        if wanted or len(networks) > 1:
            raise BadInput("--network none goes with no other network, port or nic")
        fields["no_network"] = True
    disks = [_given("--volume", volume) for volume in volumes]
    boot = None if boot_volume is None else _given("--boot-volume", boot_volume)
    for text in new_volumes:
        disk = _pairs("--new-volume", text, _NEW_VOLUME)
        if not disk.pop("boot", False):
            disks.append(disk)
        elif boot is not None:
            raise BadInput("only one volume can be booted from")
        else:
            boot = disk
    try:
        return parse_request(networks=wanted, volumes=disks, boot_volume=boot, **fields)
    except BadInput as error:
        raise BadInput(_in_options(str(error))) from None


def _in_options(message: str) -> str:
    """The message with the option's name in place of the field's."""
    field, colon, rest = message.partition(": ")
    option = _OPTIONS.get(field.split(".")[0])
    return f"{option}: {rest}" if colon and option else message


def _given(option: str, text: str) -> dict[str, Any]:
    volume, _, rest = text.partition(",")
    if not volume:
        raise BadInput(f"{option} needs a volume's id")
    return {"id": volume, **(_pairs(option, rest, _GIVEN_VOLUME) if rest else {})}


def _pairs(option: str, text: str, names: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        name = names.get(key.strip())
        if name is None:
            raise BadInput(f"{option} {text!r}: {key.strip()!r} is none of {', '.join(names)}")
        if name in _FLAGS:
            if value.lower() not in _TRUTHS:
                raise BadInput(f"{option} {text!r}: {key} is yes or no, not {value!r}")
            found[name] = _TRUTHS[value.lower()]
        elif not equals or not value:
            raise BadInput(f"{option} {text!r}: {key} needs a value, as in {key}=...")
        else:
            found[name] = value
    return found
