import ast
import configparser
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import numpy_attention as na

ROOT = Path(__file__).parent.parent
WITHOUT_EXTRAS = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"rich", "matplotlib"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def python(program, *, code=0, cwd=None):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == code, done.stderr
    return done


def test_every_public_name_is_there():
    assert sorted(na.__all__) == na.__all__
    for name in na.__all__:
        assert hasattr(na, name)


def test_the_library_works_without_the_extras(tmp_path):
    program = f"""
import numpy_attention as na
config = na.TrainConfig("copy", length=3, hidden_size=8, steps=5, out={str(tmp_path / "run")!r})
assert str(na.train(config).translate("a b c")) == str(na.load_run(config.out).translate("a b c"))
assert not {{"rich", "matplotlib"}} & set(sys.modules)
"""
    python(WITHOUT_EXTRAS + program)


def test_the_command_line_without_the_extras_says_what_to_install():
    done = python(WITHOUT_EXTRAS + "from numpy_attention.cli import main; sys.exit(main([]))", code=2)
    assert done.stderr.startswith("numpy-attention: the command line needs rich: pip install")
    assert done.stderr.count("\n") == 1


def test_importing_the_package_imports_the_model_alone():
    rest = ("scipy", "numpy_attention.gradcheck", "numpy_attention.training", "numpy_attention.superhighway")
    python(f"import sys, numpy_attention; assert not any(name.startswith({rest}) for name in sys.modules)")


def test_help_begins_with_what_the_package_is_and_names_what_is_there():
    paragraph, listed = (
        pydoc.plain(pydoc.render_doc(na)).split("DESCRIPTION")[1].split("PACKAGE CONTENTS")[0].split("* ", 1)
    )
    assert "A recurrent encoder reads a sequence." in paragraph
    named = set(re.findall(r"\w+", listed.split(">>>")[0]))
    assert {name for name in named if name != name.lower() or "_" in name} - {"NumPy"} <= set(na.__all__)
    assert len(named & set(na.__all__)) > 15


def test_names_that_are_imported_later_are_shown_and_others_are_not_there():
    assert [name for name in dir(na) if not name.startswith("__")] == na.__all__
    with pytest.raises(AttributeError, match=r"^module 'numpy_attention' has no attribute 'nothing'$"):
        _ = na.nothing


@pytest.mark.slow
def test_the_example_of_the_first_steps_prints_what_the_page_says(tmp_path):
    page = (ROOT / "docs/first_steps.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```.*?```text\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 1
    program = "\n".join(code for code, _ in examples)
    assert python(program, cwd=tmp_path).stdout == "".join(printed for _, printed in examples)


def test_everything_that_the_readme_points_to_is_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| `((?:ops|model)/\w+\.py)` (.*) \|", readme)
    assert rows
    for path, names in rows:
        text = (ROOT / "numpy_attention" / path).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^ *(def|class) {name}\b", text, re.MULTILINE), (path, name)
    assert not re.findall(r"\b[A-Z]+_[A-Z]+\b", readme), "a place that was left to be filled in"
    for link in map("".join, re.findall(r"\]\(([^)]+)\)|(?:src|href)=\"([^\"]+)\"", readme)):
        assert (ROOT / link.partition("#")[0]).exists(), link


def imported(path):
    """The folders of the package that a module imports, at its top or later."""
    package = ("numpy_attention", *path.relative_to(ROOT / "numpy_attention").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = (*start, *(node.module or "").split(".")) if node.module else start
            names = [(*base, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        else:
            continue
        yield from (name[1] for name in names if name[0] == "numpy_attention" and len(name) > 1)


def test_imports_run_downward():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (order,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    level = {name: i for i, line in enumerate(order.splitlines()) for name in re.findall(r"\b[a-z]+\b", line)}
    folders = {path.parent.name for path in (ROOT / "numpy_attention").glob("*/__init__.py")}
    assert folders <= set(level)
    seen = set()
    for path in (ROOT / "numpy_attention").glob("*/**/*.py"):
        folder = path.relative_to(ROOT / "numpy_attention").parts[0]
        for name in imported(path):
            if name in folders and name != folder:
                assert level[name] < level[folder], (path, name)
                seen.add((folder, name))
    assert ("model", "ops") in seen


def metadata():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def test_what_is_built_holds_the_license_and_the_mark_of_type_hints():
    config = metadata()
    assert config["metadata"]["license"] == "MIT"
    assert (ROOT / config["metadata"]["license_files"]).read_text(encoding="utf-8").startswith("MIT License\n")
    assert config["options.package_data"]["numpy_attention"] == "py.typed"
    assert (ROOT / "numpy_attention" / "py.typed").exists()


def test_an_editable_installation_is_a_folder_on_the_path_which_type_checkers_follow():
    # With no package_dir, setuptools installs an import hook instead, which they do not know.
    assert metadata()["options"]["package_dir"].split() == ["=", "."]


def test_the_citation_names_the_version_and_license_of_the_package():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    fields = dict(re.findall(r"^([\w-]+): (.+)$", citation, re.MULTILINE))
    config = metadata()["metadata"]
    assert (fields["cff-version"], fields["type"]) == ("1.2.0", "software")
    assert (fields["version"], fields["license"]) == (config["version"], config["license"])
    assert f"  - name: {config['author']}\n" in citation


def test_no_text_says_to_install_from_an_index_what_is_not_there():
    """The package is installed from its folder; anybody could take its name on an index."""
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("numpy_attention/**/*.py")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"pip install [-'\" \w]*numpy.attention", text), path
