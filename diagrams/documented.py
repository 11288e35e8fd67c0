"""The boxes of the documented call diagram, by the names that it gives them.

A picture in the documented style shows these and no others; what they hold comes from the flow.
"""

from __future__ import annotations

from typing import Final

DOCUMENTED: Final = frozenset(
    {
        "buildinstance",
        "_prebuild_instance",
        "_build_instance",
        "network_info = self._allocate_network",
        "block_device_info = self._prep_block_device",
        "instance = self._spawn",
        "self.driver.spawn",
        "_create_image",
        "to_xml",
        "_create_domain_and_network",
        "Wait for boot",
    }
)
