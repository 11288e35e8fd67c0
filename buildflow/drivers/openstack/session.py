"""One cloud: who we are there, and the clients that share that identity.

Credentials are read as every OpenStack client reads them (clouds.yaml, OS_*). One keystoneauth
session serves openstacksdk and python-cinderclient, so that there is one token and one place where
it is renewed when it expires in mid-build.

Where `os_service_cloud` names a second identity (a user with the role `service`), its token goes
along with each of our requests (X-Service-Token): Cinder lets nobody else delete an attachment that
an instance uses (CVE-2023-2088), and Neutron nobody else delete a port of `compute:*`. The same
identity does what a tenant may not do itself: bind a port to a host.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

from cinderclient import client as cinder_client
from keystoneauth1.identity.base import BaseIdentityPlugin
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.service_token import ServiceTokenAuthWrapper
from keystoneauth1.session import Session
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion
from openstack.connection import Connection
from oslo_utils import strutils

from buildflow.config import Settings
from buildflow.drivers.openstack.ask import ask
from buildflow.drivers.openstack.error_table import SERVICE_ERRORS
from buildflow.errors import BuildflowError, HostUnusable

REQUEST_TIMEOUT_S: Final = 60.0
"""A request without an answer for this long is given up, unless the cloud sets `api_timeout`."""

SERVICE_ROLE: Final = "service"
"""Cinder's and Neutron's `service_token_roles` default to it; `extra["service_token_role"]`
names another where a cloud has changed it."""

LOG: Final = logging.getLogger("buildflow.openstack")


class _MaskSecrets(logging.Filter):
    """Takes passwords out of what keystoneauth logs of requests and answers at level DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = strutils.mask_password(record.getMessage()), None
        return True


LOG.addFilter(_MaskSecrets())


class Cloud:
    """Sessions and clients of one cloud, made at first use; safe for several threads.

    Raises HostUnusable, with the cure, where the credentials are missing, incomplete or refused.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.RLock()
        self._user: Connection | None = None
        self._service: Connection | None = None
        self._cinder: dict[str, Any] = {}
        self._sends_service_token = False
        self._project: str | None = None

    @property
    def connection(self) -> Connection:
        """openstacksdk with the user's own identity (and the service token, where there is one)."""
        self._open()
        assert self._user is not None
        return self._user

    @property
    def privileged(self) -> Connection:
        """openstacksdk as the service identity where one is configured, else as the user."""
        self._open()
        return self._service or self.connection

    @property
    def sends_service_token(self) -> bool:
        """Whether requests carry a service token whose role Cinder will accept."""
        self._open()
        return self._sends_service_token

    @property
    def project_id(self) -> str:
        """The user's project; asked for once, for Keystone may be down when it is wanted again."""
        if self._project is None:
            self._project = str(self.connection.session.get_project_id())
        return self._project

    def roles(self, connection: Connection) -> frozenset[str]:
        """Names of the roles that an identity has in its project."""
        return _roles(connection.session)

    def cinder(self, microversion: str) -> Any:
        """python-cinderclient at a microversion, on the shared session."""
        with self._lock:
            client = self._cinder.get(microversion)
            if client is None:
                config = self.connection.config
                client = cinder_client.Client(
                    microversion,
                    session=self.connection.session,
                    service_type="block-storage",
                    region_name=config.get_region_name(),
                    endpoint_type=config.get_interface("block-storage") or "public",
                    logger=LOG,
                )
                self._cinder[microversion] = client
            return client

    def cinder_microversion(self) -> tuple[int, int]:
        """The newest microversion that this Cinder speaks; (3, 0) where it knows none."""
        data = ask(
            "volume",
            "discover Cinder's versions",
            lambda: self.cinder("3.0").client.get_endpoint_data(),
            idempotent=True,
        )
        newest = getattr(data, "max_microversion", None)
        return (int(newest[0]), int(newest[1])) if newest else (3, 0)

    def close(self) -> None:
        """Close all connections. The cloud may be used again: it opens itself anew."""
        with self._lock:
            for connection in (self._user, self._service):
                if connection is not None:
                    connection.close()
                    connection.session.session.close()
            self._user = self._service = None
            self._cinder.clear()

    def _open(self) -> None:
        if self._user is not None:
            return
        with self._lock:
            if self._user is not None:
                return
            settings = self._settings
            user = _connect(settings.os_cloud, "--os-cloud")
            role = str(settings.extra.get("service_token_role", SERVICE_ROLE))
            if settings.os_service_cloud is not None:
                service = _connect(settings.os_service_cloud, "--os-service-cloud")
                if role not in _roles(service.session):
                    raise HostUnusable(
                        f"cloud {settings.os_service_cloud!r} has no role {role!r} in its project,"
                        " so Cinder would not accept its token as a service token; give its user"
                        " that role"
                    )
                _send_along(user.session, service.session.auth)
                self._sends_service_token, self._service = True, service
            elif role in _roles(user.session):
                # a user who has the role may vouch for itself
                _send_along(user.session, user.session.auth)
                self._sends_service_token = True
            self._user = user


def _connect(cloud: str | None, option: str) -> Connection:
    """An authenticated Connection for a cloud of clouds.yaml, or for what OS_* says."""
    config = OpenStackConfig(app_name="buildflow")
    try:
        # by default openstacksdk itself repeats Glance's 503s for up to a minute
        region: CloudRegion = config.get_one(cloud=cloud, image_status_code_retries=0)
        session = region.get_session()
    except (*SERVICE_ERRORS, ValueError) as error:
        known = ", ".join(sorted(config.get_cloud_names())) or "none"
        text = " ".join(str(error).split()).rstrip(".")
        raise HostUnusable(
            f"no usable credentials for {f'cloud {cloud!r}' if cloud else 'OpenStack'}: {text};"
            f" name a cloud of clouds.yaml with {option} (known here: {known}) or set OS_AUTH_URL"
            " and its companions"
        ) from None
    if session.timeout is None:
        session.timeout = REQUEST_TIMEOUT_S
    session.user_agent = "buildflow"
    _roles(session)
    return Connection(config=region)


def _send_along(session: Session, service_auth: BaseAuthPlugin | None) -> None:
    assert session.auth is not None
    assert service_auth is not None
    session.auth = ServiceTokenAuthWrapper(user_auth=session.auth, service_auth=service_auth)


def _roles(session: Session) -> frozenset[str]:
    """The roles of the session's own token. The first call authenticates."""
    auth: Any = session.auth
    if isinstance(auth, ServiceTokenAuthWrapper):
        auth = auth.user_auth
    if not isinstance(auth, BaseIdentityPlugin):
        return frozenset()  # a bare token or no authentication: nobody says which roles it has
    doing = "authenticate with Keystone"
    try:
        access = ask("", doing, lambda: auth.get_access(session), idempotent=True)
    except HostUnusable:
        raise
    except BuildflowError as error:
        raise HostUnusable(f"{error.summary}; see that Keystone can be reached") from None
    return frozenset(str(role) for role in access.role_names or ())
