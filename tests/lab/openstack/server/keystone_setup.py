# mypy: ignore-errors
"""Keystone's tables, keys, users and catalog, in one process rather than fifty commands.

`python keystone_setup.py keystone.conf`; the catalog's addresses come as CATALOG_<SERVICE>.
"""

import os
import sys
import uuid
from pathlib import Path

import keystone.conf
from keystone.cmd import bootstrap
from keystone.common import fernet_utils, provider_api, sql
from keystone.common.sql import upgrades

CONF = keystone.conf.CONF
PROVIDERS = provider_api.ProviderAPIs
SERVICE_USERS = ("cinder", "neutron", "glance", "nova", "buildsvc")


def configure(path):
    """Load the configuration and every driver that it names."""
    keystone.conf.configure()
    sql.initialize()
    keystone.conf.set_default_for_default_log_levels()
    CONF(args=["--config-file", path], project="keystone")
    keystone.conf.setup_logging()
    from keystone.server import backends  # noqa: F401


def make_keys():
    """The keys that sign tokens and encrypt credentials."""
    for repository, group, active in (
        (CONF.fernet_tokens.key_repository, "fernet_tokens", CONF.fernet_tokens.max_active_keys),
        (CONF.credential.key_repository, "credential", 3),
    ):
        Path(repository).mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = fernet_utils.FernetUtils(repository, active, group)
        keys.create_key_directory()
        keys.initialize_key_repository()


def bootstrap_admin():
    """The admin user, the standard roles and Keystone's own catalog entry."""
    first = bootstrap.Bootstrapper()
    first.admin_username = first.project_name = first.admin_role_name = "admin"
    first.admin_password = "labadminpw"
    first.service_name, first.region_id = "keystone", "RegionOne"
    first.public_url = first.internal_url = first.admin_url = os.environ["CATALOG_KEYSTONE"] + "/v3"
    first.bootstrap()


def project(name):
    """Make a project and return its id."""
    made = uuid.uuid4().hex
    PROVIDERS.resource_api.create_project(
        made,
        {
            "id": made,
            "name": name,
            "domain_id": "default",
            "enabled": True,
            "description": "",
            "parent_id": "default",
            "is_domain": False,
        },
    )
    return made


def user(name, password, in_project, roles):
    """Make a user with roles in a project."""
    made = PROVIDERS.identity_api.create_user(
        {"name": name, "password": password, "domain_id": "default", "enabled": True}
    )
    ids = {role["name"]: role["id"] for role in PROVIDERS.role_api.list_roles()}
    for role in roles:
        PROVIDERS.assignment_api.add_role_to_user_and_project(made["id"], in_project, ids[role])


def catalog(kind, name, url):
    """Publish a service at one address for everybody."""
    service = uuid.uuid4().hex
    PROVIDERS.catalog_api.create_service(
        service, {"id": service, "type": kind, "name": name, "enabled": True}
    )
    for interface in ("public", "internal", "admin"):
        endpoint = uuid.uuid4().hex
        PROVIDERS.catalog_api.create_endpoint(
            endpoint,
            {
                "id": endpoint,
                "service_id": service,
                "interface": interface,
                "region_id": "RegionOne",
                "url": url,
                "enabled": True,
            },
        )


configure(sys.argv[1])
upgrades.offline_sync_database_to_version()
make_keys()
bootstrap_admin()
service_project, lab_project = project("service"), project("lab")
for service_user in SERVICE_USERS:
    user(service_user, f"svcpw-{service_user}", service_project, ("admin", "service"))
user("builder", "builderpw", lab_project, ("member",))
user("buildadmin", "buildadminpw", lab_project, ("admin", "member", "service"))
cinder = os.environ["CATALOG_CINDER"] + "/v3/%(project_id)s"
catalog("block-storage", "cinder", cinder)
catalog("volumev3", "cinderv3", cinder)
catalog("network", "neutron", os.environ["CATALOG_NEUTRON"])
catalog("image", "glance", os.environ["CATALOG_GLANCE"])
