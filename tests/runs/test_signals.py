"""The first signal is noted, the second ends at once."""

import os
import signal
import threading

import pytest

from jaxdl.runs import signals


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_the_first_is_noted_and_the_second_is_the_system_s(number, code):
    before = signal.getsignal(number)
    with signals.catch() as caught:
        assert not caught()
        os.kill(os.getpid(), number)
        assert caught()
        assert caught.exit_code == code
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(number) is before


def test_raising_it_ends_what_is_done_also_one_that_came_before():
    with signals.catch() as caught:
        with pytest.raises(KeyboardInterrupt), caught.raising():
            os.kill(os.getpid(), signal.SIGTERM)
        assert caught.exit_code == 143
        with pytest.raises(KeyboardInterrupt), caught.raising():
            pytest.fail("one was noted before")


def test_other_threads_set_no_handler():
    seen = []

    def work():
        with signals.catch() as caught:
            seen.append((caught(), signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
