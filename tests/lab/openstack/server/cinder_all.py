# mypy: ignore-errors
# ruff: noqa: E402
"""cinder-api, cinder-scheduler and cinder-volume in one process, so that no broker is needed.

With `transport_url = fake://` their calls to each other stay in memory.
"""

from cinder import monkey_patch

monkey_patch.patch()

import sys

import cinder.cmd.volume  # registers the option backend_host
import cinder.privsep
import os_brick
from cinder import coordination, objects, rpc, service, version
from cinder.common import config, constants
from oslo_config import cfg
from oslo_log import log
from oslo_service import service as oslo_service

CONF = cfg.CONF
_report = service.Service.report_state


def _report_state(self):
    # service_id is an attribute of the class, as one service a process is assumed: unless each
    # reports as itself, cinder-volume counts as down after a minute.
    service.Service.service_id = self.origin_service_id
    return _report(self)


service.Service.report_state = _report_state

objects.register_all()
CONF(sys.argv[1:], project="cinder", version=version.version_string())
config.set_middleware_defaults()
log.setup(CONF, "cinder")
os_brick.setup(CONF)
cinder.privsep.sys_admin_pctxt.set_client_mode(False)
coordination.COORDINATOR.start()
rpc.init(CONF)
launcher = oslo_service.ServiceLauncher(CONF)
for backend in CONF.enabled_backends:
    CONF.register_opt(cinder.cmd.volume.host_opt, group=backend)
    host = f"{getattr(CONF, backend).backend_host or CONF.host}@{backend}"
    launcher.launch_service(
        service.Service.create(
            host=host, service_name=backend, binary=constants.VOLUME_BINARY, coordination=True
        )
    )
launcher.launch_service(service.Service.create(binary="cinder-scheduler"))
launcher.launch_service(service.WSGIService("osapi_volume"))
launcher.wait()
