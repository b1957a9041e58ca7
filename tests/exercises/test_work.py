"""The reader's folder: nothing of it is lost, and whatever is wrong with it gets one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from numpy_attention.exercises import child, work
from numpy_attention.exercises.course import EXERCISES
from numpy_attention.exercises.judge import Judgement
from tests.exercises.conftest import answer

FILES = sorted(f"{exercise.name}.py" for exercise in EXERCISES)
HEAD = "def dense_backward(dy, x, W):\n    "


def write(folder, source):
    (folder / "dense.py").write_text(source, "utf-8")


def test_start_writes_what_is_missing_and_nothing_else(folder):
    assert sorted(os.listdir(folder)) == sorted([*FILES, "progress.json"])
    write(folder, "mine")
    (folder / "tanh.py").unlink()
    (folder / "progress.json").unlink()
    (folder / "notes.txt").write_text("mine too")
    assert work.start(folder) == ["tanh.py"]
    assert (folder / "dense.py").read_text() == "mine"
    assert (folder / "tanh.py").read_text("utf-8") == EXERCISES[1].blank
    assert work.start(folder) == []


def test_start_in_a_folder_with_files_or_in_none(tmp_path):
    (tmp_path / "dense.py").write_text("mine")
    with pytest.raises(ValueError, match="expected a new or an empty folder, got one with files in it"):
        work.start(tmp_path)
    assert os.listdir(tmp_path) == ["dense.py"]
    with pytest.raises(ValueError, match="expected a folder, got something else"):
        work.start(tmp_path / "dense.py")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(ValueError, match="expected a folder, got something else"):
        work.start(tmp_path / "link")


def test_a_name_cannot_steer_the_terminal(tmp_path):
    with pytest.raises(ValueError, match=r"\\x1b\[31m\\n: expected a folder of exercises") as caught:
        work.find(tmp_path / "\x1b[31m\n")
    assert "\x1b" not in str(caught.value)


def test_find(folder, monkeypatch):
    assert work.find(folder) == folder
    monkeypatch.chdir(folder)
    assert str(work.find(None)) == "."
    monkeypatch.chdir(folder.parent)
    assert str(work.find(None)) == "course"
    work.start(folder.parent / "again")
    with pytest.raises(ValueError, match="expected one of again, course, as there are several"):
        work.find(None)
    (folder.parent / "else").mkdir()
    monkeypatch.chdir(folder.parent / "else")
    with pytest.raises(ValueError, match="found none; numpy-attention learn start exercises makes one"):
        work.find(None)


def test_progress_is_remembered_and_taken_back(folder):
    work.remember(folder, Judgement("dense", "solved"))
    work.remember(folder, Judgement("tanh", "solved"))
    (folder / "progress.json.part").write_text("left over")
    work.remember(folder, Judgement("dense", "wrong"))
    assert list(work.progress(folder).solved) == ["tanh"]
    assert [len(work.next_hint(folder, "gru")) for _ in range(4)] == [1, 2, 3, 3]
    assert work.progress(folder).hints == {"gru": 3}
    (folder / "progress.json").unlink()
    assert work.progress(folder) == work.Progress({}, {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "Expecting property name"),
        ("[]", "list indices"),
        ("[" * 100_000, "recursion|Stack overflow"),
        ('{"format": 2, "solved": {}, "hints": {}}', "its format is 2"),
        ('{"format": 1, "solved": [], "hints": {}}', "its entries are of the wrong kind"),
        ('{"format": 1, "solved": {}, "hints": {"dense": "1"}}', "its entries are of the wrong kind"),
        (" " * 2_000_000, "it has 2000000 bytes"),
    ],
)
def test_damaged_progress(folder, text, told):
    (folder / "progress.json").write_text(text)
    with pytest.raises(ValueError, match=told) as caught:
        work.progress(folder)
    assert "remove it, and the next check writes a new one" in str(caught.value)
    with pytest.raises(ValueError, match=told):
        work.remember(folder, Judgement("dense", "solved"))
    assert (folder / "progress.json").read_text() == text


def test_progress_that_is_no_file_or_out_of_bounds(folder):
    path = folder / "progress.json"
    path.write_text('{"format": 1, "solved": {"dense": 3, "other": "x"}, "hints": {"dense": -5, "tanh": 99}}')
    assert work.progress(folder) == work.Progress({"dense": "3"}, {"dense": 0, "tanh": 3})
    path.unlink()
    os.mkfifo(path)  # reading it would not end
    with pytest.raises(ValueError, match="it is no file"):
        work.progress(folder)


def test_a_folder_that_may_only_be_read(folder, monkeypatch):
    def fail(*_):
        raise OSError("cannot write progress.json: Permission denied")

    monkeypatch.setattr(work, "_save", fail)
    monkeypatch.setattr(work, "_judged", lambda folder, name: Judgement(name, "solved", "PROVED"))
    found = work.check(folder, "dense")
    assert found.ok
    assert found.told == ["This is not remembered: cannot write progress.json: Permission denied"]


def test_without_the_system_s_help(folder, monkeypatch):
    """As on a system without locks, alarms and limits."""
    for name in ("fcntl", "resource"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr(signal, "SIGALRM", raising=False)
    child._limited(60)
    work.remember(folder, Judgement("dense", "solved"))
    assert list(work.progress(folder).solved) == ["dense"]


@pytest.mark.slow
def test_check_in_a_process(folder, monkeypatch):
    write(folder, answer("dense").replace("return", "print('hello\\x1b')\n    return"))
    found = work.check(folder, "dense")
    assert (found.status, found.verdict) == ("solved", "PROVED")
    assert found.told[:2] == ["It printed:", "  hello\x1b"]
    assert list(work.progress(folder).solved) == ["dense"]
    write(folder, answer("dense").replace("x.T @ dy", "-x.T @ dy"))
    found = work.check(folder, "dense")
    assert found.status == "wrong"
    assert [picture.name for picture in found.pictures] == ["dW"]
    assert not work.progress(folder).solved


@pytest.mark.slow
def test_the_reader_s_files_do_not_stand_in_for_modules(folder, monkeypatch):
    for name in ("numpy", "json", "signal", "numpy_attention"):
        (folder / f"{name}.py").write_text("raise SystemExit")
    monkeypatch.chdir(folder)
    write(folder, answer("dense"))
    assert work.check(folder, "dense").ok


@pytest.mark.slow
def test_time_limit(folder, monkeypatch):
    monkeypatch.setattr(work, "LIMIT", 2)
    told = ["dense.py, line 2: stopped after 2 s. Is there a loop that does not end?"]
    write(folder, HEAD + "while True: pass")
    assert work.check(folder, "dense") == Judgement("dense", "failed", told=told, pictures=[])
    write(folder, HEAD + "while True: print('x')")
    assert work.check(folder, "dense").told[:3] == [*told, "It printed:", "  x"]
    monkeypatch.setattr(work, "GRACE", 0.5)
    monkeypatch.setattr(work, "START", "import time; time.sleep(60)")  # hears no alarm
    assert work.check(folder, "dense").told[0].startswith("dense.py: stopped after 2 s")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL: perhaps it took too much memory"),
        ("import os; os.kill(os.getpid(), 11)", "ended by SIGSEGV: compiled code was called in a wrong way"),
        ("raise SystemExit('no')", "ended with status 1: no"),
        ("print('[]')", "ended with status 0: "),
    ],
)
def test_a_process_that_dies(folder, monkeypatch, start, told):
    monkeypatch.setattr(work, "START", start)
    found = work.check(folder, "dense")
    assert found.status == "failed"
    assert found.told == [f"dense.py: the process that judged it {told}"]


@pytest.mark.slow
def test_memory(folder):
    write(folder, HEAD + "a = []\n    while True: a.append([0] * 10**7)")
    assert "It takes more memory than there is." in work.check(folder, "dense").told[0]


@pytest.mark.slow
def test_no_process_is_left_when_the_check_is_killed(folder):
    write(folder, HEAD + "while True: pass")
    command = [sys.executable, "-m", "numpy_attention", "learn", "check", str(folder), "dense"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            process.kill()
            pytest.skip("needs /proc")
        while not (found := children.read_text().split()):
            assert process.poll() is None
        process.kill()
    for _ in range(200):
        if not Path(f"/proc/{found[0]}/cmdline").exists() or not Path(f"/proc/{found[0]}/cmdline").read_bytes():
            break  # gone, or dead and not yet collected
        time.sleep(0.05)
    else:
        raise AssertionError("it is still there")


@pytest.mark.slow
def test_checks_at_the_same_time(folder):
    names = ["dense", "tanh", "context", "tanh_step"]
    for name in names:
        (folder / f"{name}.py").write_text(answer(name), "utf-8")
    command = [sys.executable, "-m", "numpy_attention", "learn", "check", str(folder)]
    processes = [subprocess.Popen([*command, name], stdout=subprocess.DEVNULL) for name in names]
    assert [process.wait() for process in processes] == [0] * 4
    assert sorted(json.loads((folder / "progress.json").read_text())["solved"]) == sorted(names)
