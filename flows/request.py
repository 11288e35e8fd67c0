"""What a build asks for: checked once at the edge, then carried as plain JSON."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from buildflow.errors import BadInput

# what libvirt, a host name and a file name all take
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
NAME_MAX = 63
GROUP_MAX = 255
MEMORY_MAX_MIB = 16 * 1024 * 1024
WAIT_MODES = ("power", "address", "console:REGEX")


class VolumeRequest(BaseModel):
    """One volume: one that is there (`id`), or one made from an image, a snapshot or blank."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = None
    image_id: str | None = None
    snapshot_id: str | None = None
    size: int | None = Field(default=None, ge=1, description="GiB")
    boot_index: int | None = None
    delete_on_termination: bool = False
    read_only: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> VolumeRequest:
        if self.id is not None and (self.image_id or self.snapshot_id or self.size):
            raise ValueError("a volume is given by id, or made: not both")
        if self.id is None and self.image_id and self.snapshot_id:
            raise ValueError("a volume is made from an image or from a snapshot: not both")
        if self.id is None and self.size is None and not self.snapshot_id:
            raise ValueError("a volume to be made needs a size in GiB")
        return self


class NicRequest(BaseModel):
    """One NIC: a network by name or id, or a port of the user's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str | None = None
    port_id: str | None = None
    fixed_ip: str | None = None
    mac: str | None = None

    @field_validator("mac")
    @classmethod
    def _mac(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"(?i)([0-9a-f]{2}:){5}[0-9a-f]{2}", value):
            raise ValueError("a MAC is six pairs of hexadecimal digits, such as 52:54:00:12:34:56")
        return value.lower() if value is not None else None

    @field_validator("fixed_ip")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None:
            import ipaddress

            ipaddress.ip_address(value)
        return value


class BuildRequest(BaseModel):
    """A virtual machine to be built. Memory in MiB, disk in GiB, times in seconds.

    `networks` empty means the driver's default NIC; the one word `none` means no NIC. `wait` is
    power, address or console:REGEX. `virt_type` kvm or qemu; None lets the boot probe decide.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    image: str | None = None
    boot_volume: str | VolumeRequest | None = None
    volumes: tuple[VolumeRequest, ...] = ()
    networks: tuple[NicRequest, ...] = ()
    no_network: bool = False
    memory_mib: int = Field(default=512, ge=1, le=MEMORY_MAX_MIB)
    vcpus: int = Field(default=1, ge=1, le=512)
    disk_gib: int | None = Field(default=None, ge=1)
    wait: str = "power"
    timeout_s: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    virt_type: Literal["kvm", "qemu"] | None = None
    affinity_group: str | None = None
    anti_affinity_group: str | None = None

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not value or len(value) > NAME_MAX or not _NAME.match(value):
            shown = value if len(value) <= 40 else value[:37] + "..."
            raise ValueError(
                f"{shown!r} is not a name for a machine: use 1 to {NAME_MAX} letters, digits, '-',"
                " '_' and '.', beginning with a letter or digit"
            )
        return value

    @field_validator("affinity_group", "anti_affinity_group")
    @classmethod
    def _group(cls, value: str | None) -> str | None:
        if value is not None and not (0 < len(value.strip()) <= GROUP_MAX and value.isprintable()):
            raise ValueError(f"a group's name has 1 to {GROUP_MAX} printable characters")
        return value

    @field_validator("wait")
    @classmethod
    def _wait(cls, value: str) -> str:
        if value in ("power", "address"):
            return value
        if value.startswith("console:") and value != "console:":
            try:
                re.compile(value.removeprefix("console:"))
            except re.error as error:
                raise ValueError(f"the pattern after console: does not compile: {error}") from error
            return value
        raise ValueError(f"{value!r} is none of {', '.join(WAIT_MODES)}")

    @model_validator(mode="after")
    def _one_root(self) -> BuildRequest:
        if (self.image is None) == (self.boot_volume is None):
            raise ValueError("give an image or a boot volume: one of the two")
        if self.no_network and self.networks:
            raise ValueError("the network 'none' goes with no other")
        if self.affinity_group is not None and self.affinity_group == self.anti_affinity_group:
            raise ValueError("the machines of one group can't be both together and apart")
        return self

    def inputs(self) -> dict[str, Any]:
        """As the arguments of `build_flow`, JSON; what is not set is left out."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        data["name"] = self.name
        if isinstance(self.boot_volume, str):
            data["boot_volume"] = {"id": self.boot_volume}
        return data


def parse_request(**fields: Any) -> BuildRequest:
    """A BuildRequest, or BadInput with one line that says what is wrong."""
    try:
        return BuildRequest(**fields)
    except ValidationError as error:
        first: Any = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = _in_words(first)
        raise BadInput(f"{where}: {message}" if where else message) from None


# a pydantic error's type -> the words for it, and the key of its limit
_LIMITS = {
    "greater_than": ("must be more than", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than": ("must be less than", "lt"),
    "less_than_equal": ("must be at most", "le"),
}


def _in_words(error: dict[str, Any]) -> str:
    """What is wrong and what would be right, of one of pydantic's errors."""
    kind, given = error["type"], error.get("input")
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if kind in _LIMITS:
        words, limit = _LIMITS[kind]
        return f"{words} {error['ctx'][limit]:.12g}, not {given}"
    return str(error["msg"]) + ("" if kind == "missing" else f" (got {given!r})")
