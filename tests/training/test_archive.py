import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from numpy_attention.training import archive as archive_module
from numpy_attention.training.archive import METADATA, Archive, write_archive

ARRAYS = {"a.W": np.arange(6.0).reshape(2, 3), "b": np.ones(4, np.float32)}


@pytest.fixture
def path(tmp_path):
    write_archive(tmp_path / "x.npz", {"step": 3, "words": ["ä", "b"]}, ARRAYS)
    return tmp_path / "x.npz"


def test_what_is_written_comes_back(path):
    with Archive(path) as archive:
        assert archive.metadata(most=100) == {"step": 3, "words": ["ä", "b"]}
        for name, array in ARRAYS.items():
            found = archive.read(name, array.shape, array.dtype)
            np.testing.assert_array_equal(found, array)
            found[...] = 0  # it may be written to
    np.testing.assert_array_equal(np.load(path)["a.W"], ARRAYS["a.W"])  # it is a plain npz file
    assert [each.name for each in path.parent.iterdir()] == ["x.npz"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(path, monkeypatch, function):
    before = path.read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"os.{function}", full)
    with pytest.raises(OSError, match="No space left"):
        write_archive(path, {}, {"a": np.zeros(1000)})
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["x.npz"]


def rewrite(path, *, replace=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members.update(replace)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def header(shape, dtype="<f8"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header((2, 3)), "a.W is not whole"),
        (header((2, 3)) + b"\0" * 47, "a.W is not whole"),
        (header((2, 3)) + b"\0" * 49, "a.W is not whole"),
        (header((10**9, 10**9)), r"expected a.W of shape \(2, 3\) and float64, got \(1000000000, 1000000000\) float64"),
        (header((2, 3), "|O"), r"expected a.W of shape \(2, 3\) and float64, got \(2, 3\) object"),
        (header((3, 2)) + b"\0" * 48, r"expected a.W of shape \(2, 3\)"),
    ],
)
def test_an_array_that_is_not_what_it_should_be(path, content, reason):
    rewrite(path, replace={"a.W.npy": content})
    with Archive(path) as archive, pytest.raises(ValueError, match=f"^{reason}"):
        archive.read("a.W", (2, 3), np.float64)


def test_compressed_and_missing_members_are_refused(path):
    with Archive(path) as archive, pytest.raises(ValueError, match="^c is missing$"):
        archive.read("c", (1,), np.float64)
    rewrite(path, compression=zipfile.ZIP_DEFLATED)
    with Archive(path) as archive, pytest.raises(ValueError, match="^a.W is compressed"):
        archive.read("a.W", (2, 3), np.float64)


def as_npy(text):
    file = io.BytesIO()
    np.save(file, np.frombuffer(text, np.uint8))
    return file.getvalue()


def test_metadata_that_is_no_table(path):
    rewrite(path, replace={f"{METADATA}.npy": as_npy(b"[1]")})
    with Archive(path) as archive, pytest.raises(ValueError, match="^its metadata is list"):
        archive.metadata(most=100)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("something from the file was executed",))


def test_nothing_in_a_file_is_executed(path):
    file = io.BytesIO()
    np.save(file, np.array([Trap()]), allow_pickle=True)
    rewrite(path, replace={f"{METADATA}.npy": file.getvalue(), "a.W.npy": file.getvalue()})
    with Archive(path) as archive:
        with pytest.raises(ValueError, match="allow_pickle"):
            archive.metadata(most=100)
        with pytest.raises(ValueError, match="got .* object"):
            archive.read("a.W", (2, 3), np.float64)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="^it is no archive of arrays, or not whole"):
        Archive(path)


@pytest.mark.parametrize("word", ["[" * 999, "{,[", '"', "\\", '\\"', ',"', '\\\\",'])
def test_brackets_and_commas_within_words_do_not_count(path, word):
    write_archive(path, {"words": [word, word], word: 1}, {})
    with Archive(path) as archive:
        assert archive.metadata(most=4) == {"words": [word, word], word: 1}
    with Archive(path) as archive, pytest.raises(ValueError, match="more parts"):
        archive.metadata(most=3)


def test_many_words_without_brackets_are_refused(path):
    rewrite(path, replace={f"{METADATA}.npy": as_npy(b'{"a":' + b'"b"' * 10**5)})
    with Archive(path) as archive, pytest.raises(ValueError, match="more parts"):
        archive.metadata(most=100)


def test_words_take_the_bytes_of_their_letters_and_too_many_are_refused_before_anything_is_written(path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr(
        archive_module, "LONGEST_METADATA", 2 * len(json.dumps(["ж" * 100], ensure_ascii=False).encode())
    )
    with pytest.raises(ValueError, match="vocabularies: expected at most 204 bytes, got 205"):
        write_archive(path, ["ж" * 100 + "x"], {})
    assert path.read_bytes() == before
    write_archive(path, ["ж" * 100], {})


def test_half_of_a_surrogate_pair_is_refused_before_anything_is_written(path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="surrogates not allowed"):
        write_archive(path, ["\ud800"], {})
    assert path.read_bytes() == before
