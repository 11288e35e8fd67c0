"""Who we are in a cloud, and what is said when that does not hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buildflow.config import Settings
from buildflow.drivers.openstack import factory
from buildflow.drivers.openstack.session import Cloud
from buildflow.errors import HostUnusable
from tests.lab.openstack import Fault, OpenStackLab

pytestmark = pytest.mark.openstack


def test_one_session_serves_both_clients(cloud: Cloud) -> None:
    assert cloud.cinder("3.44").client.session is cloud.connection.session
    assert cloud.sends_service_token


def test_one_authentication_for_three_drivers(settings: Settings, lab: OpenStackLab) -> None:
    lab.faults.forget()
    drivers = [
        make(settings, lambda line: None)
        for make in (factory.volume, factory.network, factory.image)
    ]
    for driver in drivers:
        driver.check()
    tokens = [
        seen
        for seen in lab.faults.requests()
        if (seen.service, seen.method) == ("keystone", "POST")
    ]
    assert len(tokens) == 2  # the user's and the service's
    for driver in drivers[:2]:
        driver.close()
    drivers[2].check()
    drivers[2].close()
    assert not factory._clouds


def test_environment_variables_do_as_well_as_clouds_yaml(
    lab: OpenStackLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "none.yaml"))
    for name, value in {
        "OS_AUTH_URL": lab.ports.front_url("keystone") + "/v3",
        "OS_USERNAME": "builder",
        "OS_PASSWORD": "builderpw",
        "OS_PROJECT_NAME": "lab",
        "OS_USER_DOMAIN_ID": "default",
        "OS_PROJECT_DOMAIN_ID": "default",
        "OS_REGION_NAME": "RegionOne",
    }.items():
        monkeypatch.setenv(name, value)
    cloud = Cloud(Settings(home=tmp_path))
    assert "member" in cloud.roles(cloud.connection)
    assert not cloud.sends_service_token


def test_a_cloud_that_is_not_known(settings: Settings) -> None:
    cloud = Cloud(replace(settings, os_cloud="elsewhere"))
    with pytest.raises(HostUnusable, match=r"'elsewhere'.*--os-cloud.*lab, labadmin, labsvc"):
        _ = cloud.connection


def test_no_credentials_at_all(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "none.yaml"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(HostUnusable, match="OS_AUTH_URL"):
        _ = Cloud(replace(settings, os_cloud=None)).connection


def test_a_wrong_password_is_said_once_and_not_shown(
    settings: Settings, lab: OpenStackLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = tmp_path / "clouds.yaml"
    wrong.write_text(lab.clouds_yaml.read_text().replace("builderpw", "not-the-password"))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(wrong))
    lab.faults.forget()
    with pytest.raises(HostUnusable, match="Keystone") as caught:
        _ = Cloud(settings).connection
    assert "not-the-password" not in str(caught.value)
    tries = [seen for seen in lab.faults.requests() if seen.method == "POST"]
    assert len(tries) == 1  # an account must not be locked by us


def test_keystone_down(settings: Settings, lab: OpenStackLab) -> None:
    lab.faults.add(Fault("keystone", action="drop", times=-1))
    with pytest.raises(HostUnusable, match="Keystone can be reached"):
        _ = Cloud(settings).connection


def test_a_closed_cloud_opens_itself_anew(cloud: Cloud) -> None:
    assert cloud.project_id
    cloud.close()
    assert cloud.cinder("3.44").attachments.list() is not None
