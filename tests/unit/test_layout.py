"""What must hold of the repository itself."""

import operator
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from prompt_operator.cli.files import crd_directory
from prompt_operator.cli.generate import TABLES_IN, crd_files, readme_with_tables

TOP = Path(__file__).parent.parent.parent


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, capture_output=True, text=True, check=True
    )
    return [TOP / line for line in listed.stdout.splitlines() if (TOP / line).is_file()]


def test_the_source_root_is_not_a_package_because_it_would_shadow_the_standard_library():
    assert not (TOP / "operator" / "__init__.py").exists()
    assert operator.add(1, 1) == 2


def test_the_crds_are_those_of_the_models():
    assert {f.name: f.read_text(encoding="utf-8") for f in (TOP / "crds").glob("*.yaml")} == crd_files()
    assert crd_directory().samefile(TOP / "crds")


@pytest.mark.parametrize("readme", TABLES_IN)
def test_the_tables_of_the_readmes_are_those_of_the_code(readme: str):
    text = (TOP / readme).read_text(encoding="utf-8")
    assert "<!-- end -->" in text
    assert readme_with_tables(text) == text


@pytest.mark.parametrize("sample", sorted((TOP / "manifests").rglob("*.yaml")), ids=lambda p: p.name)
def test_every_manifest_parses(sample: Path):
    assert all(isinstance(doc, dict) for doc in yaml.safe_load_all(sample.read_text(encoding="utf-8")) if doc)


def test_no_module_is_too_long_to_be_read_at_once():
    long = {
        str(f.relative_to(TOP)): n
        for f in tracked_files()
        if f.suffix == ".py" and (n := len(f.read_text().splitlines())) > 400
    }
    assert long == {}


def test_the_pins_cover_everything_the_project_asks_for_and_name_no_place_to_get_it_from():
    pins = (TOP / "requirements" / "lock.txt").read_text(encoding="utf-8")
    pinned = {name.lower() for name in re.findall(r"^([A-Za-z0-9_.-]+)==", pins, re.MULTILINE)}
    project = (TOP / "pyproject.toml").read_text(encoding="utf-8")
    wanted = {m.lower() for m in re.findall(r'"([A-Za-z0-9_.-]+)(?:>=|<|==)[^"]*"', project)} - {"prompt-operator"}
    assert wanted <= pinned | {"hatchling"}
    assert "://" not in pins
