"""libvirt's own chains in the host's packet filter, made before any daemon looks for them.

A daemon that starts its first network makes the chains that are missing. Two that do so at the same
time stumble over each other: one fails with "Chain already exists", and will not start a network
for the rest of its life. Chains that are there are left alone by all.
"""

from __future__ import annotations

import subprocess

# libvirt: src/network/network_iptables.c, the private chains of each layer
_CHAINS = {
    "filter": ("LIBVIRT_INP", "LIBVIRT_OUT", "LIBVIRT_FWO", "LIBVIRT_FWI", "LIBVIRT_FWX"),
    "nat": ("LIBVIRT_PRT",),
    "mangle": ("LIBVIRT_PRT",),
}


def make_chains() -> None:
    """Make those that are missing; as root. What can't be made is the daemon's to complain of."""
    for command in ("iptables", "ip6tables"):
        for table, chains in _CHAINS.items():
            for chain in chains:
                subprocess.run(
                    [command, "--wait", "--table", table, "--new-chain", chain],
                    check=False,
                    capture_output=True,
                )
