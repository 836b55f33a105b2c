from __future__ import annotations

import os
import signal

import pytest

from essnet.training.interruption import interruption_by_signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    with interruption_by_signal() as interruption:
        assert not interruption.requested
        os.kill(os.getpid(), number)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    def fail_inside() -> None:
        with interruption_by_signal():
            assert [signal.getsignal(number) for number in SIGNALS] != before
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert [signal.getsignal(number) for number in SIGNALS] == before
