"""What a URI says about its hypervisor."""

from pathlib import Path

import pytest

from buildflow.drivers.libvirt.uri import Kind, parse
from buildflow.errors import BadInput


@pytest.mark.parametrize(
    ("uri", "kind", "networks", "secrets", "local"),
    [
        ("qemu:///embed?root=/var/lib/x", Kind.EMBED, False, False, True),
        ("qemu:///session", Kind.SESSION, False, True, True),
        ("qemu:///system", Kind.SYSTEM, True, True, True),
        ("qemu+unix:///system?socket=/run/s", Kind.SYSTEM, True, True, True),
        ("qemu+ssh://root@host/system", Kind.REMOTE, True, True, False),
        ("qemu+tls://host/system", Kind.REMOTE, True, True, False),
        ("qemu+libssh2://host/session", Kind.REMOTE, True, True, False),
        ("test:///default", Kind.TEST, True, False, True),
    ],
)
def test_kinds(uri: str, kind: Kind, networks: bool, secrets: bool, local: bool) -> None:
    target = parse(uri)
    assert target.kind is kind
    assert (target.has_networks, target.has_secrets, target.local) == (networks, secrets, local)


def test_the_root_of_an_embedded_hypervisor() -> None:
    assert parse("qemu:///embed?root=/a%20b/c+d").root == Path("/a b/c+d")
    assert parse("qemu:///embed?x=1&root=/a b").root == Path("/a b")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "xen:///",
        "lxc:///system",
        "qemu:///",
        "qemu:///embed",
        "qemu:///embed?root=rel",
        "qemu:///x",
    ],
)
def test_what_is_not_served_is_refused_with_what_is(uri: str) -> None:
    with pytest.raises(BadInput, match="libvirt URI"):
        parse(uri)
