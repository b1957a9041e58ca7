import signal
import threading
from contextlib import contextmanager

from hypothesis import settings

# The same examples in every run: a failure that comes is there again the next time.
settings.register_profile("seeded", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("seeded")


@contextmanager
def hearing_interrupts():
    """Processes started inside hear a Ctrl-C. A shell starts what runs in the background with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def elsewhere(block):
    """The block is open in another thread meanwhile."""
    opened, done = threading.Event(), threading.Event()

    def hold():
        with block:
            opened.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert opened.wait(60)
    try:
        yield
    finally:
        done.set()
        thread.join()
