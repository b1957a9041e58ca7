"""Files are whole or not there, and nothing is written through a link."""

import os

import pytest

from numpy_attention._files import add_line, written_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with written_whole(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert (path.read_text(), names(tmp_path)) == ("new", ["a.txt"])


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(TypeError), written_whole(path) as file:
        file.writelines([b"half", None])
    assert (path.read_text(), names(tmp_path)) == ("old", ["a.txt"])


@pytest.mark.parametrize("place", ["a.txt", "a.txt.part"])
def test_a_link_is_replaced_and_not_followed(tmp_path, place):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / place).symlink_to(victim)
    with written_whole(folder / "a.txt") as file:
        file.write(b"new")
    assert (victim.read_text(), (folder / "a.txt").read_text(), names(folder)) == ("precious", "new", ["a.txt"])
    assert not (folder / "a.txt").is_symlink()


@pytest.mark.parametrize("exists", [True, False])
def test_a_line_is_not_added_through_a_link(tmp_path, exists):
    victim = tmp_path / "victim"
    if exists:
        victim.write_text("precious")
    (tmp_path / "a.txt").symlink_to(victim)
    with pytest.raises(OSError, match=r"^cannot write .*a\.txt: "):
        add_line(tmp_path / "a.txt", "line")
    assert victim.exists() == exists


def test_lines_are_added(tmp_path):
    for line in ("one", "two"):
        add_line(tmp_path / "a.txt", line)
    assert (tmp_path / "a.txt").read_text() == "one\ntwo\n"


def test_a_folder_that_is_gone_is_one_line_with_the_name(tmp_path):
    with (
        pytest.raises(OSError, match=r"^cannot write .*gone/a\.txt: No such file or directory$"),
        written_whole(tmp_path / "gone" / "a.txt"),
    ):
        pass
    with pytest.raises(OSError, match=r"^cannot write .*gone/a\.txt: No such file or directory$"):
        add_line(tmp_path / "gone" / "a.txt", "line")
    assert os.listdir(tmp_path) == []
