"""Nova's table of abort and reschedule: by the error's names, as they are left after a crash."""

from __future__ import annotations

import pytest

from buildflow import errors
from buildflow.flows.reschedule import TABLE, Resolution, resolve


@pytest.mark.parametrize(
    ("error", "resolution"),
    [
        (errors.BindingFailed, Resolution.RESCHEDULE),
        (errors.NoAddressLeft, Resolution.ABORT),
        (errors.QuotaUsedUp, Resolution.ABORT),
        (errors.VolumeServiceError, Resolution.ABORT),
        (errors.Exhausted, Resolution.RESCHEDULE),
        (errors.Refused, Resolution.ABORT),
        (errors.GuestDied, Resolution.RESCHEDULE),
        (errors.DeadlineExceeded, Resolution.RESCHEDULE),
        (errors.NotFound, Resolution.ABORT),
        (errors.BuildStopped, Resolution.ABORT),
        (errors.HypervisorBusy, Resolution.RESCHEDULE),
        (RuntimeError, Resolution.ABORT),
    ],
)
def test_each_class_by_its_names(error: type[Exception], resolution: Resolution) -> None:
    names = [cls.__name__ for cls in error.__mro__]
    assert resolve(names).resolution is resolution


def test_a_row_is_never_hidden_behind_one_of_its_bases() -> None:
    for index, row in enumerate(TABLE):
        for before in TABLE[:index]:
            assert not issubclass(row.error, before.error), (row.error, before.error)
    assert all(row.why for row in TABLE)
