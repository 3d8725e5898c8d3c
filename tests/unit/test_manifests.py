"""What the manifests and the image's recipe say, without a cluster."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from prompt_operator import __version__
from prompt_operator.cli.generate import crd_files, role_files
from prompt_operator.controller.preflight import RIGHTS
from prompt_operator.controller.settings import Settings

TOP = Path(__file__).parent.parent.parent
MANIFESTS = TOP / "manifests"
DOCKERFILE = MANIFESTS / "image" / "Dockerfile"


def manifest(path: str) -> Any:
    return yaml.safe_load((MANIFESTS / path).read_text(encoding="utf-8"))


@pytest.fixture
def pod() -> Any:
    return manifest("base/deployment.yaml")["spec"]["template"]["spec"]


@pytest.mark.parametrize("path", sorted(role_files()))
def test_the_roles_grant_what_preflight_asks_for(path: str):
    text = (TOP / path).read_text(encoding="utf-8")
    assert text == role_files()[path], "run make crds"
    granted = [(r["apiGroups"], r["resources"], tuple(r["verbs"])) for r in yaml.safe_load(text)["rules"]]
    assert granted == [([g], [f"{n}/{s}" if s else n], verbs) for (g, n, s), verbs in RIGHTS.items()]
    assert "*" not in text


def test_no_role_of_people_lets_them_write_records_or_status():
    text = (MANIFESTS / "users" / "clusterroles.yaml").read_text(encoding="utf-8")
    for role in yaml.safe_load_all(text):
        for rule in role["rules"]:
            assert not any("/" in r or "*" in r for r in (*rule["resources"], *rule["verbs"]))
            assert "promptrevisions" not in rule["resources"] or rule["verbs"] == ["get", "list", "watch"]


def test_the_crds_are_a_kustomization_and_still_a_directory_to_apply():
    kustomization = yaml.safe_load((TOP / "crds" / "Kustomization").read_text(encoding="utf-8"))
    assert kustomization["resources"] == sorted(crd_files())
    assert not list((TOP / "crds").glob("kustomization.y*ml")), "kubectl apply -f crds/ would send it to the cluster"


@pytest.mark.parametrize("part", ["base", "default", "namespaced", "users", "metric-secrets"])
def test_every_manifest_of_the_installation_belongs_to_its_kustomization(part: str):
    named = manifest(f"{part}/kustomization.yaml")
    listed = {*named["resources"], *(p["path"] for p in named.get("patches", ()))}
    assert all((MANIFESTS / part / name).exists() for name in listed)
    assert {f.name for f in (MANIFESTS / part).glob("*.yaml")} - {"kustomization.yaml"} <= listed


def test_image_and_labels_name_the_version_of_the_code(pod: Any):
    assert pod["containers"][0]["image"] == f"prompt-operator:{__version__}"
    assert manifest("base/kustomization.yaml")["labels"][0]["pairs"]["app.kubernetes.io/version"] == __version__
    assert f"-t prompt-operator:{__version__} ." in DOCKERFILE.read_text(encoding="utf-8")


def test_nothing_installed_looks_like_a_config_map_of_ours():
    texts = [f.read_text(encoding="utf-8") for f in MANIFESTS.rglob("*.yaml")]
    assert not any("app.kubernetes.io/managed-by" in text for text in texts)


def test_one_pod_at_a_time_with_the_probes_of_the_operator(pod: Any):
    spec = manifest("base/deployment.yaml")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    container = pod["containers"][0]
    assert container["ports"] == [{"name": "http", "containerPort": Settings().health_port}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


def test_the_pod_is_restricted_runs_as_a_number_and_writes_nowhere(pod: Any):
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert f"USER {pod['securityContext']['runAsUser']}:" in DOCKERFILE.read_text(encoding="utf-8")
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "volumes" not in pod


def test_the_image_is_built_from_what_its_ignore_file_lets_in():
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied: set[str] = set()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE):
        copied |= set(line.split()[:-1])
    assert copied == let_in
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
    assert {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"], "README.md"} <= copied
