"""MAC addresses from keys."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildflow.drivers.macs import check_mac, mac_from_key
from buildflow.errors import BadInput


@given(st.uuids(), st.integers(0, 255))
def test_a_mac_from_a_key_is_always_the_same_valid_and_qemus(key: uuid.UUID, turn: int) -> None:
    mac = mac_from_key(str(key), turn)
    assert mac == mac_from_key(str(key), turn)
    assert mac.startswith("52:54:00:")
    check_mac(mac)


def test_the_next_turn_is_another_mac() -> None:
    assert len({mac_from_key("key", turn) for turn in range(256)}) > 250


@pytest.mark.parametrize(
    "mac",
    ["", "52:54:00:12:34", "01:00:5e:00:00:01", "00:00:00:00:00:00", "52-54-00-12-34-56", "x"],
)
def test_what_is_no_mac_of_one_machine_is_refused(mac: str) -> None:
    with pytest.raises(BadInput, match="no MAC address"):
        check_mac(mac)
