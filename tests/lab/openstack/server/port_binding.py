# mypy: ignore-errors
"""Neutron binds every port at once, without an agent; the host's name says how.

nobind*        the binding fails
inactive*      the port is bound but never becomes ACTIVE
vif-TYPE*      the port gets the vif_type TYPE, for instance vif-ovs or vif-macvtap
anything else  a port on the Linux bridge that BUILDFLOW_LAB_BRIDGE names
"""

import os

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class LabMechanismDriver(api.MechanismDriver):
    """Binds by the name of the host."""

    def initialize(self):
        """Nothing to prepare."""

    @property
    def connectivity(self):
        """Ports are on an Ethernet segment."""
        return portbindings.CONNECTIVITY_L2

    def bind_port(self, context):
        """Bind to the first segment, unless the host's name asks for a failure."""
        host = context.host
        if host.startswith("nobind"):
            return
        kind = portbindings.VIF_TYPE_BRIDGE
        if host.startswith("vif-"):
            kind = host.split("-")[1]
        status = constants.PORT_STATUS_ACTIVE
        if host.startswith("inactive"):
            status = constants.PORT_STATUS_DOWN
        details = {
            portbindings.CAP_PORT_FILTER: True,
            "bridge_name": os.environ["BUILDFLOW_LAB_BRIDGE"],
        }
        for segment in context.segments_to_bind[:1]:
            context.set_binding(segment[api.ID], kind, details, status=status)
