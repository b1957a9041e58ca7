import ctypes
import platform
import subprocess
import sys
import sysconfig

import numpy as np
import pytest

from numpy_attention import Batch, Seq2Seq, memory, memory_kept

MODEL = Seq2Seq(12, 12, 64, 64)
RNG = np.random.default_rng(0)
BATCH = Batch.from_sequences(RNG.integers(3, 12, (32, 20)).tolist(), RNG.integers(3, 12, (32, 20)).tolist())

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library has the setting")
# There other objects lie elsewhere, and after some arrays the C library keeps the memory of the next by itself.
with_gil = pytest.mark.skipif(sysconfig.get_config_var("Py_GIL_DISABLED") == 1, reason="a Python without the GIL")

# In a new process: the free memory of this one depends on the tests before.
COUNT_PAGES = """
import resource
import numpy as np
from numpy_attention.memory import give_back, memory_kept

def pages(times=2):
    "Page faults of fifty arrays, after fifty arrays of the same size were freed."
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        arrays = [np.ones(250_000) for _ in range(50)]  # small enough not to lie in huge pages
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        del arrays
    return faults

before = pages()
with memory_kept():
    kept = pages()
    with memory_kept():
        pass
    within = pages()
    give_back()
    given = pages(times=1)
print(before, kept, within, given, pages())
"""


@glibc
@with_gil
def test_memory_that_is_kept_is_not_asked_for_again():
    done = subprocess.run([sys.executable, "-c", COUNT_PAGES], capture_output=True, text=True, check=True)
    before, kept, within, given, after = map(int, done.stdout.split())
    assert kept < 100
    assert within < 100, "the inner block closed the outer one"
    assert before > 1000
    assert given > 1000, "memory that was given back is asked for again"
    assert after > 1000, "behind the block memory goes back to the system"


# Page faults of arrays that are freed one by one: none, as the memory is there. In a process that never opened a block
# the C library adapts its thresholds to the same effect.
ONE_AT_A_TIME = """
import resource
import numpy as np
from numpy_attention.memory import memory_kept

with memory_kept():
    pass
for size in (20_000, 60_000, 25_000):
    np.ones(size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(size)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@glibc
def test_behind_the_block_arrays_are_not_slower_than_before():
    done = subprocess.run([sys.executable, "-c", ONE_AT_A_TIME], capture_output=True, text=True, check=True)
    assert max(map(int, done.stdout.split())) < 100


def test_where_the_c_library_has_no_such_setting_nothing_happens(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with memory_kept():
        assert np.ones(10**6).sum() == 10**6


def test_results_stay_what_they_were_when_the_next_step_is_made():
    first, second = MODEL.init(0), MODEL.init(1)
    with memory_kept():
        loss, cache = MODEL.forward(first, BATCH)
        gradients = MODEL.backward(cache)
        kept = {name: value.copy() for name, value in gradients.items()}
        for _ in range(3):
            other, others = MODEL.loss_and_gradients(second, BATCH)
        assert other != loss
        for name, value in kept.items():
            np.testing.assert_array_equal(gradients[name], value)
            assert not np.shares_memory(gradients[name], others[name])
        for name, value in MODEL.backward(cache).items():  # a cache may be used as often as one likes
            np.testing.assert_array_equal(value, kept[name])


@pytest.fixture
def system(monkeypatch, tmp_path):
    """A function that writes a file of the system."""
    monkeypatch.setattr(memory, "SYSTEM", tmp_path)

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    return write


def test_free_memory_is_what_the_system_tells_or_endless(system):
    assert memory.free_memory() == float("inf")
    for text, found in [
        ("MemTotal: 9 kB\nMemAvailable:    123 kB\n", 123 * 1024),
        ("", float("inf")),
        ("MemAvailable: much", float("inf")),
    ]:
        system("proc/meminfo", text)
        assert memory.free_memory() == found


@pytest.mark.parametrize("path", ["/", "/docker/1f"])
@pytest.mark.parametrize(
    ("line", "root", "limit", "used", "unused"),
    [
        ("0::", "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        (
            "4:memory:",
            "sys/fs/cgroup/memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ],
)
def test_free_memory_in_a_container(system, path, line, root, limit, used, unused):
    system("proc/meminfo", "MemAvailable: 1000 kB\n")
    system("proc/self/cgroup", f"5:devices:/\n\nnonsense\n{line}{path}\n")
    assert memory.free_memory() == 1000 * 1024, "no group has a limit"
    group = f"{root}{path}"
    system(f"{group}/{used}", "700\n")
    system(f"{group}/memory.stat", f"anon 650\n{unused} 50\n")
    for most, found in [("max\n", 1000 * 1024), ("1000\n", 350), ("9223372036854771712\n", 1000 * 1024), ("600\n", 0)]:
        system(f"{group}/{limit}", most)
        assert memory.free_memory() == found
    system(f"{root}/{used}", "0")  # in a container the group's own name may not be there
    system(f"{root}/{limit}", "10")
    system(f"{root}/memory.stat", "")
    assert memory.free_memory() == (0 if path != "/" else 10)


def test_every_group_above_may_have_a_limit(system):
    system("proc/meminfo", "MemAvailable: 1000 kB\n")
    system("proc/self/cgroup", "0::/job/step/task\n")
    for group, most in [("", "max"), ("job", "5000"), ("job/step", "max"), ("job/step/task", "max")]:
        for name, text in [("memory.max", most), ("memory.current", "700"), ("memory.stat", "inactive_file 50\n")]:
            system(f"sys/fs/cgroup/{group}/{name}", text)
    assert memory.free_memory() == 4350
    system("sys/fs/cgroup/job/step/memory.max", "2000")
    assert memory.free_memory() == 1350
