"""Files that belong to the distribution: beside the package when installed, at the top of a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def crd_directory() -> Path:
    """Return the directory of the CRDs."""
    installed = _PACKAGE / "crds"
    return installed if installed.is_dir() else _PACKAGE.parent.parent / "crds"
