"""Whether all tests of a directory ran, for a claim that only all of them together can make."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest


class WholeRun:
    """A plugin of pytest that remembers which tests of a directory were left out, and which ran."""

    NAME: ClassVar[str] = "whole-run"

    def __init__(self, config: pytest.Config, directory: Path) -> None:
        self._config = config
        self._directory = directory
        self._deselected = 0
        self._collected: dict[str, Path] = {}
        self._ended: set[str] = set()
        self._failed: set[str] = set()

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._deselected += sum(item.path.is_relative_to(self._directory) for item in items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._collected = {i.nodeid: i.path for i in session.items if i.path.is_relative_to(self._directory)}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.add(report.nodeid)
        if report.when == "teardown":
            self._ended.add(report.nodeid)

    def lacks(self, claiming: Path) -> str:
        """Say what is missing for a claim about all tests but those of the file that makes it; empty if nothing is."""
        files = {path for path in self._directory.glob("test_*.py") if path not in self._collected.values()}
        others = {nodeid for nodeid, path in self._collected.items() if path != claiming}
        chosen = any("::" in str(argument) for argument in self._config.args)
        missing = {
            "files were left out": len(files),
            "tests were deselected": self._deselected,
            "tests did not run before": len(others - self._ended),
            "tests failed": len(others & self._failed),
        }
        told = [f"{count} {what}" for what, count in missing.items() if count]
        if chosen:
            told.insert(0, "single tests were named")
        return ", ".join(told)
