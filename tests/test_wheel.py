"""What is built, installed where nothing else is, and used as the README's quick start says."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "PYTEST"))}
ENVIRONMENT |= {"NO_COLOR": "1", "COLUMNS": "120"}
BIN = "Scripts" if sys.platform == "win32" else "bin"


def run(*command, cwd, code=0):
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=cwd, env=ENVIRONMENT)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def install(folder):
    """The folder of a wheel and its sources, and that of the programs of an environment that has the wheel alone."""
    for name in ("builder", "empty"):
        venv.create(folder / name, with_pip=True)
    pip = (folder / "builder" / BIN / "python", "-m", "pip", "install", "--quiet", "build")
    done = subprocess.run(pip, capture_output=True, text=True, cwd=folder, env=ENVIRONMENT)
    if done.returncode:
        pytest.skip(f"pip cannot reach a package index: {done.stderr.strip().splitlines()[-1]}")
    run(folder / "builder" / BIN / "python", "-m", "build", "--outdir", folder / "dist", ROOT, cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    run(folder / "empty" / BIN / "python", "-m", "pip", "install", "--quiet", f"{wheel}[cli]", cwd=folder)
    return folder / "dist", folder / "empty" / BIN


@pytest.mark.slow
def test_what_is_built_is_whole(tmp_path):
    for name in ("build", "use"):
        (tmp_path / name).mkdir()
    dist, programs = install(tmp_path / "build")
    the_sources_hold_what_the_tests_and_the_site_need(dist)
    the_description_holds_no_link_that_needs_the_files_beside_it(dist)
    the_quick_start_runs_without_the_sources(programs, tmp_path / "use")


def the_quick_start_runs_without_the_sources(programs, tmp_path):
    program = programs / "numpy-attention"
    place = run(programs / "python", "-c", "import numpy_attention; print(numpy_attention.__file__)", cwd=tmp_path)
    assert Path(place.strip()).is_relative_to(programs.parent)
    trained = run(program, "train", "reverse", "--steps", "50", "--length", "3", cwd=tmp_path)
    assert "sequence accuracy" in trained
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert "--mutants" in run(program, "gradcheck", "--help", cwd=tmp_path)
    assert "softmax" in run(program, "explain", cwd=tmp_path)
    run(program, "explain", "--out", "page.html", cwd=tmp_path)
    assert "</html>" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "whole_model" in run(program, "learn", cwd=tmp_path)


def the_sources_hold_what_the_tests_and_the_site_need(dist):
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        held = {name.partition("/")[2] for name in sources.getnames()}
    needed = {
        path.relative_to(ROOT).as_posix()
        for folder in ("tests", "docs", "numpy_attention")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and path.suffix != ".pyc"
        and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    }
    files = (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "CITATION.cff",
        "LICENSE",
        "setup.cfg",
        "mkdocs.yml",
        ".ci/run",
    )
    assert len(needed) > 100
    assert not (needed | set(files)) - held


def the_description_holds_no_link_that_needs_the_files_beside_it(dist):
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as held:
        (name,) = (name for name in held.namelist() if name.endswith("METADATA"))
        text = held.read(name).decode()
    assert "Description-Content-Type: text/markdown" in text
    assert "## Quick start" in text
    assert "Read it." in text
    assert "](docs/" not in text
    assert '="docs/' not in text
