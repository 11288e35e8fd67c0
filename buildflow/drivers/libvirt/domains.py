"""Domains: find, define, start, destroy, undefine (nova/virt/libvirt/guest.py and driver.py)."""

from __future__ import annotations

import time
from typing import Any, Final

import libvirt
from lxml import etree

from buildflow.drivers.libvirt import embedded_root, network_ports, qemu_process
from buildflow.drivers.libvirt.connection import Connection
from buildflow.drivers.libvirt.domain_xml import NAMESPACE, build_of
from buildflow.drivers.libvirt.power import power_state
from buildflow.drivers.libvirt.uri import Kind
from buildflow.drivers.protocols import Domain
from buildflow.errors import Conflict, DriverError, Refused
from buildflow.states import power

_GONE_WAIT_S: Final = 10.0
_GONE_POLL_S: Final = 0.02
# what QEMU's driver says to a second start, and what the mock driver says
_STARTED_ALREADY: Final = (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_INTERNAL_ERROR)
_UNDEFINE_FLAGS: Final = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)


class Domains:
    """The domains of one connection. Each call reads the world anew and keeps nothing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, uuid: str) -> Domain | None:
        """The domain as it is now, None when there is none."""
        with self._connection.calling("look the domain up") as conn:
            dom = _lookup(conn, uuid)
            return None if dom is None else self._describe(dom)

    def all(self) -> list[Domain]:
        """Every domain, ours or not. One that vanishes meanwhile is left out."""
        found: list[Domain] = []
        with self._connection.calling("list the domains") as conn:
            for dom in conn.listAllDomains():
                try:
                    found.append(self._describe(dom))
                except libvirt.libvirtError as error:
                    if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                        raise
        return found

    def named(self, name: str) -> Domain | None:
        """The domain of this name, None when there is none."""
        with self._connection.calling("look the domain up") as conn:
            try:
                return self._describe(conn.lookupByName(name))
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                    return None
                raise

    def define(self, uuid: str, xml: str) -> Domain:
        """Define the domain; one of ours that is there already is returned as it is.

        libvirt would silently redefine a domain of the same name and uuid. Raises Conflict when
        uuid or name belong to another domain, Refused when libvirt refuses the XML.
        """
        with self._connection.calling("define the domain") as conn:
            dom = _lookup(conn, uuid)
            if dom is not None:
                found = self._describe(dom)
                if found.build is None:
                    raise Conflict(f"domain {found.name} has uuid {uuid} and is not ours")
                return found
            if self._connection.target.kind is Kind.TEST:
                dom = conn.defineXML(xml)  # the mock driver knows no validation
            else:
                dom = conn.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
            root = etree.fromstring(xml)
            return Domain(
                uuid=uuid,
                name=dom.name(),
                power_state=power.SHUTDOWN,
                active=False,
                persistent=True,
                build=root.findtext(f".//{{{NAMESPACE}}}build"),
            )

    def undefine(self, uuid: str) -> None:
        """Undefine the domain; one that is not there is fine.

        libvirt would let an active one run on as a transient domain: raises Refused instead.
        """
        with self._connection.calling("undefine the domain") as conn:
            dom = _lookup(conn, uuid)
            if dom is None:
                return
            if dom.isActive():
                raise Refused(
                    f"domain {dom.name()} is running: destroy it before it is undefined",
                    driver="compute",
                )
            name = dom.name()
            try:
                if self._connection.target.kind is Kind.TEST:
                    dom.undefine()
                else:
                    dom.undefineFlags(_UNDEFINE_FLAGS)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
        root = self._connection.target.root
        if root is not None:
            embedded_root.remove_log(root, name)

    def start(self, uuid: str) -> Domain:
        """Start the domain; returns it RUNNING. One that runs already is returned as it is.

        Raises Refused, Exhausted or DriverError with libvirt's own words and code. After an error
        whose outcome is known, the domain is defined and nothing else is left.
        """
        with self._connection.calling("start the domain") as conn:
            dom = _lookup(conn, uuid)
            if dom is None:
                raise Refused(f"cannot start domain {uuid}: there is none", driver="compute")
            try:
                dom.create()
            except libvirt.libvirtError as error:
                if error.get_error_code() not in _STARTED_ALREADY or not dom.isActive():
                    raise
            return self._describe(dom)

    def destroy(self, uuid: str) -> None:
        """Stop the domain hard, and return only when its QEMU is seen to be gone.

        Raises DriverError when a QEMU survives.
        """
        with self._connection.calling("destroy the domain") as conn:
            dom = _lookup(conn, uuid)
            if dom is not None:
                try:
                    dom.destroy()
                except libvirt.libvirtError as error:
                    if error.get_error_code() not in (
                        libvirt.VIR_ERR_NO_DOMAIN,
                        libvirt.VIR_ERR_OPERATION_INVALID,
                    ):
                        raise
            if self._connection.target.has_networks:
                for port in network_ports.of_domain(conn, uuid):
                    port.delete()
        if self._connection.target.local:
            self._see_gone(uuid)

    def _see_gone(self, uuid: str) -> None:
        deadline = time.monotonic() + _GONE_WAIT_S
        while pids := qemu_process.find(uuid):
            if time.monotonic() >= deadline:
                raise DriverError(
                    f"QEMU of {uuid} is still there as process {', '.join(map(str, pids))}",
                    driver="compute",
                )
            time.sleep(_GONE_POLL_S)

    def _describe(self, dom: Any) -> Domain:
        state, reason = dom.state()
        return Domain(
            uuid=dom.UUIDString(),
            name=dom.name(),
            power_state=power_state(state, reason),
            active=bool(dom.isActive()),
            persistent=bool(dom.isPersistent()),
            build=_build(dom),
        )


def _lookup(conn: Any, uuid: str) -> Any:
    try:
        return conn.lookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _build(dom: Any) -> str | None:
    try:
        return build_of(dom.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE))
    except libvirt.libvirtError as error:
        # no such element, or gone since: not ours either way
        if error.get_error_code() in (
            libvirt.VIR_ERR_NO_DOMAIN_METADATA,
            libvirt.VIR_ERR_NO_DOMAIN,
            libvirt.VIR_ERR_NO_SUPPORT,
        ):
            return None
        raise
