"""Signals: before anything is made they end us, afterwards they turn the build round."""

from __future__ import annotations

import os
import signal
import threading
import time
import weakref

import pytest

from buildflow.cli.interruption import (
    GOING_ON,
    ROLLING_BACK,
    SIGNALS,
    STILL_AT_IT,
    Interrupted,
    Interruption,
)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_before_anything_is_made_it_ends_us(number: signal.Signals) -> None:
    with pytest.raises(Interrupted), Interruption(lambda _: None) as interruption:
        send(number)
    assert interruption.happened


def in_a_callback(number: signal.Signals) -> None:
    """A signal while Python calls back: what is raised there is ignored by it."""

    class Thing:
        pass

    thing = Thing()
    watched = weakref.ref(thing, lambda _: send(number))
    del thing
    assert watched() is None


@pytest.mark.parametrize("number", SIGNALS)
def test_one_that_python_ignores_ends_us_all_the_same(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    alarm = signal.getsignal(signal.SIGALRM)
    interruption = Interruption(lambda _: None)

    def verb() -> None:
        with interruption:
            in_a_callback(number)
            time.sleep(5)

    with pytest.raises(Interrupted):
        verb()
    assert interruption.happened
    assert capfd.readouterr().err == ""
    assert signal.getsignal(signal.SIGALRM) == alarm


def test_one_that_python_ignores_turns_the_build_round_if_that_has_begun() -> None:
    told: list[str] = []
    with Interruption(told.append) as interruption:
        in_a_callback(signal.SIGTERM)
        with interruption.turning_round(lambda: None):
            time.sleep(0.1)
    assert told == [ROLLING_BACK]


def test_afterwards_it_turns_the_build_round_once_and_answers_again() -> None:
    told: list[str] = []
    stops: list[int] = []
    with (
        Interruption(told.append) as interruption,
        interruption.turning_round(lambda: stops.append(1)),
    ):
        send(signal.SIGINT)
        send(signal.SIGTERM)
    assert told == [ROLLING_BACK, STILL_AT_IT]
    assert len(stops) == 2


def test_once_it_is_over_nothing_is_interrupted() -> None:
    told: list[str] = []
    with Interruption(told.append):
        with Interruption(told.append) as verb:
            with verb.turning_round(lambda: None):
                pass
            send(signal.SIGTERM)  # while the engine is closed
            assert not verb.happened
        send(signal.SIGTERM)  # while the document is printed
    assert told == []


def test_at_the_end_of_the_process_nothing_can_change_its_exit_code() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    try:
        with Interruption(lambda _: None, whole_process=True), Interruption(lambda _: None):
            pass
        assert [signal.getsignal(number) for number in SIGNALS] == [signal.SIG_IGN] * len(SIGNALS)
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def test_a_process_without_a_verb_can_be_ended_to_the_last() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruption(lambda _: None, whole_process=True):
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_removal_goes_on() -> None:
    told: list[str] = []
    with Interruption(told.append) as interruption, interruption.going_on():
        send(signal.SIGINT)
    assert told == [GOING_ON]


def test_the_handlers_of_before_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruption(lambda _: None):
        assert signal.getsignal(signal.SIGINT) not in before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_what_is_ignored_stays_ignored() -> None:
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption(lambda _: None) as interruption:
            send(signal.SIGHUP)
        assert not interruption.happened
    finally:
        signal.signal(signal.SIGHUP, earlier)


def test_in_another_thread_it_catches_nothing() -> None:
    errors: list[BaseException] = []

    def enter() -> None:
        try:
            with Interruption(lambda _: None):
                pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert errors == []
