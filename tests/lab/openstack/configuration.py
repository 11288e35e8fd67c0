"""What each OpenStack service is told, as files."""

from dataclasses import dataclass
from pathlib import Path

from tests.lab.openstack.environment import ENVIRONMENT

SERVICES = ("keystone", "cinder", "neutron", "glance")
# How long a service may take a token for valid without asking: long enough to spare Keystone most
# of its work, short enough for a test to wait when it makes tokens expire.
TOKEN_CACHE_SECONDS = 1
TARGET_PREFIX = "iqn.2026-11.lab.buildflow:"


@dataclass(frozen=True)
class Ports:
    """The loopback ports of one lab: a block of twenty from `base` on.

    Clients talk to the front ports, where the fault proxy listens; the services talk to each other
    directly, so that an injected fault hits the client under test and nobody else.
    """

    base: int

    @property
    def control(self) -> int:
        """Where the fault proxy takes its orders."""
        return self.base

    def front(self, service: str) -> int:
        """Where clients reach a service."""
        return self.base + 1 + SERVICES.index(service)

    def direct(self, service: str) -> int:
        """Where a service really listens."""
        return self.base + 11 + SERVICES.index(service)

    @property
    def iscsi(self) -> int:
        """Where tgtd serves volumes."""
        return self.base + 5

    def front_url(self, service: str) -> str:
        """The address in the catalog."""
        return f"http://127.0.0.1:{self.front(service)}"

    def direct_url(self, service: str) -> str:
        """The address without the fault proxy."""
        return f"http://127.0.0.1:{self.direct(service)}"


def write_all(lab: Path, ports: Ports, token_seconds: int) -> None:
    """Write every configuration file of a lab."""
    _write(lab / "keystone/keystone.conf", _keystone(lab, token_seconds))
    _write(lab / "cinder/cinder.conf", _cinder(lab, ports))
    _write(lab / "neutron/neutron.conf", _neutron(lab, ports))
    _write(lab / "glance/glance-api.conf", _glance(lab, ports))
    _write(lab / "clouds.yaml", _clouds(ports))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _keystone(lab: Path, token_seconds: int) -> str:
    return f"""\
[DEFAULT]
log_file = {lab}/keystone/keystone.log
[database]
connection = sqlite:///{lab}/keystone/keystone.sqlite
[token]
provider = fernet
expiration = {token_seconds}
cache_time = {TOKEN_CACHE_SECONDS}
[fernet_tokens]
key_repository = {lab}/keystone/fernet-keys/
[fernet_receipts]
key_repository = {lab}/keystone/fernet-keys/
[credential]
key_repository = {lab}/keystone/credential-keys/
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memory
[oslo_concurrency]
lock_path = {lab}/keystone/locks
"""


def _common(lab: Path, ports: Ports, service: str) -> str:
    """Authentication, locks and the database.

    Keystone is asked once more, not three times after growing pauses: on loopback, what does not
    answer at once is down, and each request of a rollback would wait for it.
    """
    return f"""\
[keystone_authtoken]
www_authenticate_uri = {ports.front_url("keystone")}/v3
auth_url = {ports.direct_url("keystone")}/v3
auth_type = password
username = {service}
password = svcpw-{service}
project_name = service
user_domain_id = default
project_domain_id = default
service_token_roles = service
service_token_roles_required = true
http_request_max_retries = 1
token_cache_time = {TOKEN_CACHE_SECONDS}
[oslo_concurrency]
lock_path = {lab}/{service}/locks
[oslo_messaging_notifications]
driver = noop
[database]
connection = sqlite:///{lab}/{service}/{service}.sqlite
"""


def _cinder(lab: Path, ports: Ports) -> str:
    etc = ENVIRONMENT / "etc/cinder"
    return f"""\
[DEFAULT]
state_path = {lab}/cinder
auth_strategy = keystone
host = lab
my_ip = 127.0.0.1
transport_url = fake://
enabled_backends = file
default_volume_type = __DEFAULT__
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = {ports.direct("cinder")}
osapi_volume_workers = 1
api_paste_config = {etc}/api-paste.ini
resource_query_filters_file = {etc}/resource_filters.json
rootwrap_config = {etc}/rootwrap.conf
scheduler_driver_init_wait_time = 1
periodic_fuzzy_delay = 0
quota_volumes = -1
quota_gigabytes = -1
quota_snapshots = -1
glance_api_servers = {ports.direct_url("glance")}
log_file = {lab}/cinder/cinder.log
[coordination]
backend_url = file://{lab}/cinder/coordination
[file]
volume_driver = file_volumes.FileVolumeDriver
volume_backend_name = file
file_volumes_dir = {lab}/cinder/volumes
target_protocol = iscsi
target_ip_address = 127.0.0.1
target_port = {ports.iscsi}
target_prefix = {TARGET_PREFIX}
{_common(lab, ports, "cinder")}"""


def _neutron(lab: Path, ports: Ports) -> str:
    return f"""\
[DEFAULT]
auth_strategy = keystone
core_plugin = ml2
service_plugins =
transport_url = fake://
api_paste_config = {ENVIRONMENT}/etc/neutron/api-paste.ini
state_path = {lab}/neutron
log_file = {lab}/neutron/neutron.log
dhcp_agent_notification = false
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
rpc_workers = 0
[quotas]
default_quota = -1
quota_port = -1
quota_network = -1
quota_subnet = -1
quota_security_group = -1
[ml2]
type_drivers = local,vlan,flat
tenant_network_types = local
mechanism_drivers = buildflow_lab
extension_drivers = port_security
{_common(lab, ports, "neutron")}"""


def _glance(lab: Path, ports: Ports) -> str:
    return f"""\
[DEFAULT]
log_file = {lab}/glance/glance.log
enabled_backends = file:file
transport_url = fake://
worker_self_reference_url = {ports.direct_url("glance")}
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = {lab}/glance/images
[os_glance_staging_store]
filesystem_store_datadir = {lab}/glance/staging
[os_glance_tasks_store]
filesystem_store_datadir = {lab}/glance/tasks
[paste_deploy]
flavor = keystone
config_file = {ENVIRONMENT}/etc/glance/glance-api-paste.ini
{_common(lab, ports, "glance")}"""


def _clouds(ports: Ports) -> str:
    """`lab` is a plain tenant, `labadmin` an administrator, `labsvc` a service like Nova."""
    lines = ["clouds:"]
    for cloud, user, password, project in (
        ("lab", "builder", "builderpw", "lab"),
        ("labadmin", "buildadmin", "buildadminpw", "lab"),
        ("labsvc", "buildsvc", "svcpw-buildsvc", "service"),
    ):
        lines += [
            f"  {cloud}:",
            "    region_name: RegionOne",
            "    auth:",
            f"      auth_url: {ports.front_url('keystone')}/v3",
            f"      username: {user}",
            f"      password: {password}",
            f"      project_name: {project}",
            "      user_domain_id: default",
            "      project_domain_id: default",
        ]
    return "\n".join(lines) + "\n"
