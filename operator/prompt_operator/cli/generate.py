"""Write what is made from the models: the CRDs. Run by ``make crds``; a test fails when the files have drifted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from prompt_operator.api.crd import all_crds

_HEADER = "# Made from the models by `make crds`. Change the models, not this file.\n"


class _Dumper(yaml.SafeDumper):
    """Blocks and indents like kubectl, and never writes anchors."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def crd_files() -> dict[str, str]:
    """Return the content of every file in crds/ by its name."""
    return {
        f"{crd['spec']['names']['plural']}.yaml": _HEADER + yaml.dump(crd, Dumper=_Dumper, sort_keys=False, width=118)
        for crd in all_crds()
    }


def main() -> None:
    """Write the files into crds/ of the current directory."""
    for name, text in crd_files().items():
        Path("crds", name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
