"""A real Prometheus on loopback, scraping once a second."""

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.support.prometheus_binaries import Binaries
from tests.support.waiting import eventually


class Prometheus:
    """``prometheus`` as a process, with what it knows in a directory of the test."""

    def __init__(
        self, binaries: Binaries, directory: Path, targets: Mapping[str, str], rules: Path | None = None
    ) -> None:
        self._binaries = binaries
        self._directory = directory
        self._config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": [
                {"job_name": job, "scrape_timeout": "1s", "static_configs": [{"targets": [address]}]}
                for job, address in targets.items()
            ],
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Start it; again at the same address and with what it knew, after it was killed."""
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._directory / "prometheus.yml"
        config.write_text(yaml.safe_dump(self._config), encoding="utf-8")
        command = [str(self._binaries.prometheus), f"--config.file={config}"]
        command += [
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address={self.address or '127.0.0.1:0'}",
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=self._directory, stdout=log, stderr=log)
        try:
            self.address = eventually(self._listening, what="Prometheus listens")
            eventually(self._is_ready, what="Prometheus is ready")
        except BaseException:
            self.kill()
            raise

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def kill(self) -> None:
        """End it as a crash does; what was scraped stays."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _listening(self) -> str:
        assert self._process is not None
        said = self._log.read_text(encoding="utf-8")
        assert self._process.poll() is None, f"Prometheus ended:\n{said[-3000:]}"
        found = re.search(r'msg="Listening on" (?:component=web )?address=(\S+)', said)
        return found[1] if found else ""

    def _is_ready(self) -> bool:
        try:
            self._get("/-/ready")
        except (urllib.error.URLError, OSError):
            return False
        return True

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
            content: bytes = answer.read()
            return content

    def api(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the HTTP API, e.g. of ``targets``."""
        return json.loads(self._get(f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))["data"]

    def series(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Evaluate an instant query that gives a vector; labels of each series, and its value."""
        return [(row["metric"], float(row["value"][1])) for row in self.api("query", query=query)["result"]]

    def value(self, query: str) -> float | None:
        """Evaluate a query that gives at most one series."""
        found = self.series(query)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def wait_value(self, query: str, wanted: float | None) -> None:
        """Wait until a query has a value; None means no series."""

        def look() -> None:
            found = self.value(query)
            assert found == wanted, f"{query}: {found}, not {wanted}"

        eventually(look, what=query)
