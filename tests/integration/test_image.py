"""The steps of the image's recipe, run as they stand there: no container is built here, but what is in it is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent.parent
RECIPE = TOP / "manifests" / "image" / "Dockerfile"
INSTALLED = "/opt/prompt-operator"


@pytest.mark.integration
@pytest.mark.timeout(900)  # it downloads every pinned file that no cache has
def test_the_image_holds_the_operator_from_checked_files_and_nothing_to_develop_with(tmp_path: Path):
    recipe = RECIPE.read_text(encoding="utf-8")
    build = tmp_path / "build"
    build.mkdir()
    copies = re.findall(r"^COPY (?!--from)(.+)$", recipe, re.MULTILINE)
    for source in {word for line in copies for word in line.split()[:-1]}:
        copy(TOP / source, build / source)
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PIP_NO_COMPILE": "1"}
    steps = re.findall(r"^RUN (.+)$", recipe, re.MULTILINE)
    assert [step for step in steps if "--require-hashes" in step]
    for step in steps:
        here = step.replace(INSTALLED, str(tmp_path / "installed")).replace("/wheels", str(tmp_path / "wheels"))
        run(["sh", "-c", here], cwd=build, env=os.environ | environment)

    command = tmp_path / "installed" / "bin" / "prompt-operator"
    assert "Run the operator" in run([command, "run", "--help"], cwd=tmp_path, env={})
    refused = subprocess.run([command, "run"], capture_output=True, text=True, check=False, env={}, cwd=tmp_path)
    assert (refused.returncode, "the pod's service account" in refused.stderr) == (1, True)
    python = tmp_path / "installed" / "bin" / "python"
    listed = run([sys.executable, "-m", "pip", "--python", python, "list", "--format=freeze"], cwd=tmp_path)
    inside = dict(line.lower().split("==") for line in listed.splitlines())
    assert {"kopf", "kubernetes", "uvloop", "prompt-operator"} <= inside.keys()
    assert not {"pip", "pytest", "mypy", "ruff", "hatchling", "hypothesis", "cryptography"} & inside.keys()
    pins = (TOP / "requirements" / "lock.txt").read_text(encoding="utf-8")
    for name, version in inside.items():
        assert name == "prompt-operator" or f"{name.replace('_', '-')}=={version} " in pins


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def run(command: list[str | Path], cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout
