"""The few calls that the lab itself makes of its services: past the fault proxy, without an SDK."""

import http.client
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.directories import REPOSITORY
from tests.lab.openstack.configuration import Ports
from tests.lab.process import LabError, Server


class CallError(LabError):
    """A service refused, or did not answer."""


@dataclass(frozen=True)
class Login:
    """A token and the project it is for."""

    token: str
    project: str


def login(ports: Ports, user: str, password: str, project: str) -> Login:
    """Ask Keystone for a token."""
    domain = {"id": "default"}
    auth = {
        "identity": {
            "methods": ["password"],
            "password": {"user": {"name": user, "password": password, "domain": domain}},
        },
        "scope": {"project": {"name": project, "domain": domain}},
    }
    response = _request(ports, "keystone", "POST", "/v3/auth/tokens", {}, {"auth": auth})
    token = response.getheader("X-Subject-Token")
    if token is None:
        raise CallError("Keystone gave no token")
    return Login(token, json.loads(response.read())["token"]["project"]["id"])


def call(ports: Ports, service: str, method: str, path: str, login: Login, body: Any = None) -> Any:
    """Call a service and return its answer as JSON, or None if it gave none."""
    headers = {"X-Auth-Token": login.token}
    text = _request(ports, service, method, path, headers, body).read()
    return json.loads(text) if text else None


def project_python_server(
    name: str, module: str, arguments: list[str], log: Path, lasting: bool
) -> Server:
    """A server that is a module of these tests."""
    return Server(
        name,
        [sys.executable, "-m", module, *arguments],
        log,
        env={"PYTHONPATH": str(REPOSITORY)},
        lasting=lasting,
    )


def _request(
    ports: Ports, service: str, method: str, path: str, headers: dict[str, str], body: Any
) -> http.client.HTTPResponse:
    raw = isinstance(body, bytes)
    data = body if raw or body is None else json.dumps(body).encode()
    kind = "application/octet-stream" if raw else "application/json"
    connection = http.client.HTTPConnection("127.0.0.1", ports.direct(service), timeout=60)
    try:
        connection.request(method, path, data, {"Content-Type": kind, **headers})
        response = connection.getresponse()
    except OSError as error:
        raise CallError(f"{service} {method} {path}: {error}") from error
    if response.status >= 400:
        text = response.read().decode(errors="replace")
        raise CallError(f"{service} {method} {path}: {response.status} {text}")
    return response
