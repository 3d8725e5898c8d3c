"""Kubeconfig files: our own private ones, and our context in a file of the user's choice."""

import base64
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.pki import KeyPair
from prompt_operator.cluster.ports import LOOPBACK
from prompt_operator.cluster.state import write_private

_LOCK_TIMEOUT = 5.0
_SECTIONS = ("clusters", "users", "contexts")


def write_kubeconfig(path: Path, *, name: str, server: str, ca_file: Path, client: KeyPair) -> None:
    """Write a self-contained kubeconfig with one context, readable by its owner alone."""
    write_private(path, yaml.safe_dump(_build(name=name, server=server, ca_file=ca_file, client=client)))


def _build(*, name: str, server: str, ca_file: Path, client: KeyPair) -> dict[str, Any]:
    def data(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode("ascii")

    user = {"client-certificate-data": data(client.cert), "client-key-data": data(client.key)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": data(ca_file)}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def merge(source: Path, target: Path, *, set_context: bool = False) -> bool:
    """Write the one context of our own kubeconfig into another file; return whether that became its current one.

    Everything else in the file stays, but comments. The current context changes only in a file made here, or on
    request. Raises ClusterError for a file that is not a kubeconfig, and for a context of that name that is not ours.
    """
    ours = yaml.safe_load(source.read_text(encoding="utf-8"))
    name = ours["current-context"]
    with _locked(target):
        theirs = _load(target)
        if theirs is None:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_private(target, yaml.safe_dump(ours))
            return True
        _refuse_foreign(theirs, name, target)
        for section in _SECTIONS:
            entries = [entry for entry in theirs.get(section) or [] if _entry_name(entry) != name]
            theirs[section] = [*entries, *ours[section]]
        current = set_context or theirs.get("current-context") == name
        if current:
            theirs["current-context"] = name
        _replace(target, theirs)
        return current


def unmerge(target: Path, name: str) -> bool:
    """Take our context out of a file again; return whether it was there. A file that held nothing else is removed."""
    with _locked(target):
        theirs = _load(target)
        if theirs is None or not _is_ours(theirs, name):
            return False
        for section in _SECTIONS:
            theirs[section] = [entry for entry in theirs.get(section) or [] if _entry_name(entry) != name]
        if theirs.get("current-context") == name:
            theirs["current-context"] = ""
        if any(theirs[section] for section in _SECTIONS):
            _replace(target, theirs)
        else:
            target.unlink()
        return True


def _entry_name(entry: Any) -> Any:
    return entry.get("name") if isinstance(entry, dict) else None


def _named(config: dict[str, Any], section: str, name: str) -> dict[str, Any] | None:
    return next((entry for entry in config.get(section) or [] if _entry_name(entry) == name), None)


def _is_ours(config: dict[str, Any], name: str) -> bool:
    """Tell whether a context of that name leads where ours would: to a port of this machine."""
    cluster = _named(config, "clusters", name)
    server = ((cluster or {}).get("cluster") or {}).get("server")
    return isinstance(server, str) and server.startswith(f"https://{LOOPBACK}:")


def _refuse_foreign(config: dict[str, Any], name: str, path: Path) -> None:
    if any(_named(config, section, name) for section in _SECTIONS) and not _is_ours(config, name):
        raise ClusterError(
            f"{path} already has a context, cluster or user {name!r} that is not an embedded cluster's. "
            "Choose another --name, or name another file.",
        )


def _load(path: Path) -> dict[str, Any] | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ClusterError(f"{path} is not YAML, so nothing was written to it: {error}") from error
    if data is None:
        return None
    lists = [data.get(section) or [] for section in _SECTIONS] if isinstance(data, dict) else [None]
    if not all(isinstance(entries, list) for entries in lists):
        raise ClusterError(f"{path} is not a kubeconfig, so nothing was written to it. Name another file.")
    return dict(data)


def _replace(path: Path, config: dict[str, Any]) -> None:
    real = path.resolve()  # a link, e.g. into a directory of dotfiles, stays one
    write_private(real, yaml.safe_dump(config, sort_keys=False), mode=real.stat().st_mode & 0o777)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock that kubectl itself takes while it writes this file."""
    lock = path.with_name(f"{path.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                raise ClusterError(f"{path} is locked by another program; if none runs, remove {lock}.") from None
            time.sleep(0.05)
        except OSError as error:
            raise ClusterError(f"{path} cannot be written: {error}.") from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
