"""Files that are written whole or not at all, and never through a symbolic link."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PART = ".part"  # suffix of a file that is not complete yet
NO_LINK = getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to; it takes the place of ``path`` when the block ends, and is removed if that fails.

    It is written under another name in the same folder, flushed to the disk and renamed. The folder is flushed as
    well, so that the new name survives a power cut. A link in its place is replaced, not followed.

    Raises
    ------
    OSError
        If it cannot be written, in one line with its name.
    """
    temporary = path.with_name(path.name + PART)
    try:
        temporary.unlink(missing_ok=True)  # left over from a process that was killed, or a link
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o666)
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException as error:
        with suppress(OSError):  # the first error says more
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def add_line(path: Path, line: str) -> None:
    """Add a line to a file, which is made if it is not there.

    Raises
    ------
    OSError
        If it cannot be written or is a link, in one line with its name.
    """
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_LINK, 0o666)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
