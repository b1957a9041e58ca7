"""Archive: arrays and JSON in one ``.npz`` file, written whole or not at all; reading it executes nothing."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._files import written_whole
from .._typing import Array

METADATA = "metadata"
LONGEST_METADATA = 1 << 26  # bytes: a vocabulary of a million words takes some ten million


def write_archive(path: Path, metadata: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write arrays and metadata. The previous file stays until the new one is complete on the disk.

    Parameters
    ----------
    path : Path
    metadata : dict
        Plain values that JSON can hold.
    arrays : dict of arrays

    Raises
    ------
    OSError
        If it cannot be written; the partial file is removed.
    ValueError
        If the metadata are longer than half of what is read (a run grows a little while it trains), or hold half of a
        surrogate pair, which is no character.
    """
    told = json.dumps(metadata, ensure_ascii=False).encode()
    if len(told) > LONGEST_METADATA // 2:
        raise ValueError(f"vocabularies: expected at most {LONGEST_METADATA // 2:,} bytes, got {len(told):,}")
    text = np.frombuffer(told, np.uint8)
    with written_whole(path) as file:
        np.savez(file, allow_pickle=False, **{METADATA: text}, **arrays)


@contextmanager
def alone_in(folder: Path) -> Iterator[Callable[[], None]]:
    """Lock a folder against other processes that train in it.

    Yields
    ------
    require_same : callable
        Raises OSError if the folder has been removed, or another one has taken its place.

    Raises
    ------
    ValueError
        If another process has locked it.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # a system without such locks
        yield lambda: None
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"out: another process is training in {folder}") from None

        def require_same() -> None:
            if not (folder.exists() and os.path.samestat(os.fstat(number), folder.stat())):
                raise OSError(f"out: the folder {folder} was removed or replaced while it trained; nothing was written")

        yield require_same
    finally:
        os.close(number)


class Archive:
    """A file that :func:`write_archive` wrote, open for reading in a ``with`` statement.

    Shape, dtype and size of an array are checked before it is read, so a damaged or hostile file takes no more memory
    than the expected arrays.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ValueError
        If the file is no such archive, or incomplete.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ValueError(f"it is no archive of arrays, or not whole ({error})") from error
        self._length = path.stat().st_size
        names = self._file.namelist()
        if len(set(names)) != len(names):
            raise ValueError("some of its arrays are there twice")
        if any("/" in name or "\\" in name or "\0" in name for name in names):
            raise ValueError("some of its arrays have the names of paths")

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def metadata(self, most: int) -> dict[str, Any]:
        """The metadata, if it has at most ``most`` brackets and commas: parsing more would take memory for nothing.

        Those within words do not count.
        """
        size = self._info(METADATA).file_size
        if size > LONGEST_METADATA:
            raise ValueError(f"its metadata is {size:,} bytes long")
        text = np.load(io.BytesIO(self._file.read(self._info(METADATA))), allow_pickle=False).tobytes()
        bare = text.replace(rb"\\", b"").replace(rb"\"", b"")  # without what a string may end with and does not
        outside = b"".join(bare.split(b'"', 4 * most)[::2])
        if sum(map(outside.count, (b"[", b"{", b","))) > most or bare.count(b'"') > 4 * most:
            raise ValueError("its metadata has more parts than a run with these vocabularies has")
        found = json.loads(text.decode(errors="surrogatepass"))
        if not isinstance(found, dict):
            raise ValueError(f"its metadata is {type(found).__name__}, not a table of settings")
        return found

    def read(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """One array of exactly this shape and dtype.

        Raises
        ------
        ValueError
            If it is missing, of another shape or dtype, or incomplete.
        """
        info = self._info(name)
        with self._file.open(info) as member:
            if np.lib.format.read_magic(member) != (1, 0):
                raise ValueError(f"{name} is of an unknown format")
            found, fortran, found_dtype = np.lib.format.read_array_header_1_0(member)
            if (found, found_dtype) != (shape, np.dtype(dtype)) or (fortran and len(shape) > 1):
                raise ValueError(f"expected {name} of shape {shape} and {np.dtype(dtype)}, got {found} {found_dtype}")
            size = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=object))
            if info.file_size - member.tell() != size:
                raise ValueError(f"{name} is not whole")
            return np.frombuffer(bytearray(member.read(size)), dtype).reshape(shape)

    def length(self, name: str) -> int:
        """Length of the first axis of an array."""
        with self._file.open(self._info(name)) as member:
            np.lib.format.read_magic(member)
            shape: tuple[int, ...] = np.lib.format.read_array_header_1_0(member)[0]
            return shape[0] if shape else 1

    def _info(self, name: str) -> zipfile.ZipInfo:
        try:
            info = self._file.getinfo(f"{name}.npy")
        except KeyError:
            raise ValueError(f"{name} is missing") from None
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is compressed, which is never written")
        if info.file_size != info.compress_size or info.file_size > self._length:
            raise ValueError(f"{name} is not whole")
        return info
