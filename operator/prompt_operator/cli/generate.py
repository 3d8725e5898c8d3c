"""Write what is made from the code: CRDs, roles, and tables of the README. Run by ``make crds``; a test finds drift."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from prompt_operator.api.crd import all_crds
from prompt_operator.api.phases import TERMINAL, TRANSITIONS, Phase
from prompt_operator.controller.metrics import Metrics
from prompt_operator.controller.preflight import RIGHTS

_HEADER = "# Made from the models by `make crds`. Change the models, not this file.\n"
_ROLE_HEADER = "# Made from controller/preflight.py by `make crds`. Change RIGHTS there, not this file.\n"
#: The files with generated tables.
TABLES_IN = ("README.md", "manifests/monitoring/README.md")
_MEANING = {
    Phase.Proposed: "made from an edit, a promotion or a git revert",
    Phase.ABRunning: "measured against what is live",
    Phase.ABPassed: "has passed what was asked of it, and waits to ship",
    Phase.ABFailed: "was measured, and is not better",
    Phase.Shipped: "went live",
    Phase.Monitoring: "is live and watched",
    Phase.Regressed: "is found worse, by measurement or by a person",
    Phase.RolledBack: "was taken back",
    Phase.Rejected: "ended before it was live: superseded, quarantined, or by a person",
}


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


def role_files() -> dict[str, str]:
    """Return the manifests of the operator's roles by their path: what preflight asks for, and nothing else."""
    rules = [
        {"apiGroups": [group], "resources": [f"{name}/{sub}" if sub else name], "verbs": list(verbs)}
        for (group, name, sub), verbs in RIGHTS.items()
    ]
    kinds = {"manifests/default/clusterrole.yaml": "ClusterRole", "manifests/namespaced/role.yaml": "Role"}
    return {
        path: _ROLE_HEADER + yaml.dump(_role(kind, rules), Dumper=_Dumper, sort_keys=False)
        for path, kind in kinds.items()
    }


def _role(kind: str, rules: list[dict[str, list[str]]]) -> dict[str, Any]:
    version = "rbac.authorization.k8s.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "prompt-operator"}, "rules": rules}


def lifecycle_table() -> str:
    """Return the lifecycle as a Markdown table."""
    rows = ["| phase | meaning | may be followed by |", "| --- | --- | --- |"]
    for phase, after in TRANSITIONS.items():
        following = "nothing" if phase in TERMINAL else ", ".join(f"`{p}`" for p in after)
        rows.append(f"| `{phase}` | {_MEANING[phase]} | {following} |")
    return "\n".join(rows)


def rights_table() -> str:
    """Return the rights the operator needs as a Markdown table."""
    rows = ["| API group | resource | verbs |", "| --- | --- | --- |"]
    for (group, resource, subresource), verbs in RIGHTS.items():
        name = f"{resource}/{subresource}" if subresource else resource
        rows.append(f"| {f'`{group}`' if group else 'core'} | `{name}` | {', '.join(verbs)} |")
    return "\n".join(rows)


def metrics_table() -> str:
    """Return the metrics as a Markdown table."""
    rows = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for metric in Metrics().described():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(rows)


def readme_with_tables(text: str) -> str:
    """Return a README with its generated tables made anew."""
    tables = (("lifecycle", lifecycle_table()), ("rights", rights_table()), ("metrics", metrics_table()))
    for name, table in tables:
        block = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
        text = block.sub(lambda m, table=table: f"{m[1]}{table}\n{m[2]}", text, count=1)  # type: ignore[misc]
    return text


def main() -> None:
    """Write the files into the current directory, which is the top of a checkout."""
    for name, text in crd_files().items():
        Path("crds", name).write_text(text, encoding="utf-8")
    for path, text in role_files().items():
        Path(path).write_text(text, encoding="utf-8")
    for readme in map(Path, TABLES_IN):
        readme.write_text(readme_with_tables(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
