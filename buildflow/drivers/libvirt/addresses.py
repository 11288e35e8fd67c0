"""Which addresses a guest is seen to have.

On a libvirt network a lease proves that the guest's own DHCP client has spoken, as long as it is
not the lease of a former guest with the same MAC, which is told by its expiry: what stood there
when the port was made does not count. A reservation is no lease. User-mode networking has nobody to
ask: QEMU tells no one what it has given out.
"""

from __future__ import annotations

from collections.abc import Sequence

import libvirt

from buildflow.drivers.libvirt.connection import Connection
from buildflow.drivers.protocols import Json
from buildflow.errors import BadInput


def seen(connection: Connection, network_info: Sequence[Json]) -> list[str]:
    """Addresses that guests with these ports have been given by libvirt's DHCP and still hold.

    Raises BadInput when no port is of a kind that can be asked.
    """
    askable = [vif for vif in network_info if vif["type"] == "network"]
    if not askable:
        kinds = ", ".join(sorted({vif["type"] for vif in network_info})) or "none"
        raise BadInput(
            f"nobody can be asked for the addresses of this guest's ports ({kinds}):"
            " wait for its console or its power state instead"
        )
    found: list[str] = []
    with connection.calling("ask for leases") as conn:
        for vif in askable:
            try:
                network = conn.networkLookupByName(vif["network"]["label"])
                leases = network.DHCPLeases(vif["address"])
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_NETWORK:
                    continue
                raise
            before = vif["details"].get("leases_before", ())
            found += [
                lease["ipaddr"]
                for lease in leases
                if f"{lease['ipaddr']}@{lease['expirytime']}" not in before
            ]
    return found
