"""The operator decides with the standard library: what it is compared with stays in the tests."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import prompt_operator

PACKAGE = Path(prompt_operator.__file__).parent
STATISTICS = ("ab", "buckets", "comparison", "counts", "epochs", "looking", "means", "monitoring", "proportions")
STATISTICS += ("ratio", "readings", "sequential", "special", "wording")
PURE = {"collections", "dataclasses", "datetime", "enum", "functools", "hashlib", "math", "statistics", "typing"}
PURE |= {"__future__", "prompt_operator"}


def imported(module: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_the_operator_never_imports_scipy_or_numpy():
    modules = list(PACKAGE.rglob("*.py"))
    assert len(modules) > 100
    for module in modules:
        assert not {name.split(".")[0] for name in imported(module)} & {"scipy", "numpy"}, module


def test_deciding_loads_neither_of_them_either():
    program = (
        "import sys, prompt_operator.evaluation.ab, prompt_operator.evaluation.monitoring;"
        "sys.exit(bool({'scipy', 'numpy', 'aiohttp', 'asyncio'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_statistics_are_pure():
    for name in STATISTICS:
        names = imported(PACKAGE / "evaluation" / f"{name}.py")
        assert {n.split(".")[0] for n in names} <= PURE, name
        ours = {n for n in names if n.startswith("prompt_operator.")}
        assert all(n.split(".")[1] in ("api", "evaluation", "lifecycle") for n in ours), name
        assert not any(".sources" in n for n in ours), name
