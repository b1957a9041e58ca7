import signal
import subprocess
import sys
import threading

import pytest

from numpy_attention.training.signals import interrupts_held

ASK = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"


def blocked():
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_process_that_is_started_in_the_block_never_sees_ctrl_c():
    with interrupts_held():
        held = subprocess.check_output([sys.executable, "-c", ASK], text=True)
    free = subprocess.check_output([sys.executable, "-c", ASK], text=True)
    assert (held, free) == ("True\n", "False\n")


def test_ctrl_c_comes_once_the_block_is_over_even_by_another_thread():
    before, begin, done = signal.getsignal(signal.SIGINT), threading.Event(), []

    def interrupt():
        begin.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt), interrupts_held():  # noqa: PT012
        begin.set()
        thread.join()
        done.append("the rest of the block")
    assert done
    assert signal.getsignal(signal.SIGINT) is before
    assert not blocked()


def test_the_block_works_in_any_thread_and_where_ctrl_c_is_ignored():
    found = []

    def work():
        with interrupts_held():
            found.append(blocked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert found == [True]
