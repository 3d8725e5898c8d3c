"""Official release binaries: taken only whole and as published, and never in the way."""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prompt_operator.cluster import components, sources
from prompt_operator.cluster.binaries import find_binaries
from prompt_operator.cluster.download import Downloader
from prompt_operator.cluster.gobuild import GoModuleSource
from prompt_operator.cluster.gotoolchain import PathGo
from prompt_operator.cluster.releases import ReleaseSource, architecture
from tests.unit.cluster.release_site import ReleaseSite, archive_of, content_of, serving

NEEDED = components.BINARIES


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def site() -> Iterator[ReleaseSite]:
    with serving() as made:
        made.publish()
        yield made


def source(directory: Path, notes, site: ReleaseSite, **more) -> ReleaseSource:
    return ReleaseSource(directory, notes, site.kubernetes, site.etcd, **{"machine": "x86_64", **more})


def in_cache(directory: Path) -> set[str]:
    """What the cache holds, but its lock."""
    return {path.name for path in directory.iterdir()} - {".lock"}


def test_release_binaries_are_fetched_checked_and_made_executable(tmp_path, notes, site):
    found = source(tmp_path, notes, site).find(NEEDED)
    assert found is not None
    assert found.source == "releases"
    for name in NEEDED:
        assert found.binaries[name].read_bytes() == content_of(name)
        assert os.access(found.binaries[name], os.X_OK)
    assert in_cache(tmp_path) == set(NEEDED)


def test_the_progress_says_which_of_how_many_and_how_much(tmp_path, notes, site):
    site.put(site.path_of("kubectl"), b"x" * 5_000_000)
    source(tmp_path, notes, site).find(NEEDED)
    assert "Downloading etcd (1/4)" in notes.lines
    assert "Downloading kubectl (4/4)" in notes.lines
    assert "5 of 5 MB" in notes.lines


def test_a_second_time_nothing_is_asked(tmp_path, notes, site):
    source(tmp_path, notes, site).find(NEEDED)
    site.asked.clear()
    assert source(tmp_path, notes, site).find(NEEDED) is not None
    assert site.asked == []


def test_only_what_is_missing_is_fetched(tmp_path, notes, site):
    source(tmp_path, notes, site).find(["kubectl"])
    site.asked.clear()
    assert source(tmp_path, notes, site).find(NEEDED) is not None
    assert not [path for path in site.asked if "kubectl" in path]


@pytest.mark.parametrize("name", ["kube-apiserver", "etcd"])
def test_a_wrong_checksum_is_refused_and_leaves_nothing(tmp_path, notes, site, name):
    site.files[site.path_of(name)] = archive_of({"evil": b"evil"}) if name == "etcd" else b"evil"
    assert source(tmp_path, notes, site).find(NEEDED) is None
    assert in_cache(tmp_path) == set(NEEDED) - {name}
    refusal = next(line for line in notes.lines if "is refused" in line)
    assert name in refusal
    assert hashlib.sha256(site.files[site.path_of(name)]).hexdigest() in refusal


@pytest.mark.parametrize("name", ["kube-apiserver", "etcd"])
def test_a_download_that_breaks_off_is_refused_and_leaves_nothing(tmp_path, notes, site, name):
    site.broken.add(site.path_of(name))
    assert source(tmp_path, notes, site).find(NEEDED) is None
    assert in_cache(tmp_path) == set(NEEDED) - {name}
    assert "broke off after" in notes.text


def test_after_a_broken_download_the_next_start_fetches_that_one_alone(tmp_path, notes, site):
    site.broken.add(site.path_of("kubectl"))
    assert source(tmp_path, notes, site).find(NEEDED) is None
    site.broken.clear()
    site.asked.clear()
    assert source(tmp_path, notes, site).find(NEEDED) is not None
    assert site.asked == [f"{site.path_of('kubectl')}.sha256", site.path_of("kubectl")]


@pytest.mark.parametrize("missing", ["binary", "checksum"])
def test_a_release_that_is_not_there_is_told_in_a_line(tmp_path, notes, site, missing):
    del site.files[site.path_of("kubectl") + (".sha256" if missing == "checksum" else "")]
    assert source(tmp_path, notes, site).find(NEEDED) is None
    assert "answers 404" in notes.text
    assert "kubectl" not in in_cache(tmp_path)


@pytest.mark.parametrize("words", [b"", b"<html>sign in</html>", b"abc", b"x" * 2_000_000])
def test_what_is_no_checksum_is_never_compared_with(tmp_path, notes, site, words):
    site.files[f"{site.path_of('kubectl')}.sha256"] = words
    assert source(tmp_path, notes, site).find(["kubectl"]) is None
    assert site.path_of("kubectl") not in site.asked
    assert "No release of kubectl" in notes.text


def test_an_archive_without_etcd_in_it_is_refused(tmp_path, notes, site):
    archive = archive_of({"somewhere/else": b"no"})
    site.files[site.path_of("etcd")] = archive
    name = site.path_of("etcd").rpartition("/")[2]
    site.files[site.sums] = f"{hashlib.sha256(archive).hexdigest()}  {name}\n".encode()
    assert source(tmp_path, notes, site).find(["etcd"]) is None
    assert in_cache(tmp_path) == set()


def test_a_redirect_on_the_same_host_is_followed(tmp_path, notes, site):
    site.files["/elsewhere"] = site.files.pop(site.path_of("kubectl"))
    site.redirects[site.path_of("kubectl")] = f"{site.url}/elsewhere"
    assert source(tmp_path, notes, site).find(["kubectl"]) is not None


@pytest.mark.parametrize("target", ["http://localhost:{port}/kubectl", "file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_to_elsewhere_without_tls_is_not_followed(tmp_path, notes, site, target):
    site.redirects[site.path_of("kubectl")] = target.format(port=site.url.rpartition(":")[2])
    assert source(tmp_path, notes, site).find(["kubectl"]) is None
    assert "/kubectl" not in site.asked
    assert "No release of kubectl" in notes.text


def test_a_server_that_trickles_is_given_up(tmp_path, notes, site):
    site.slow.add(site.path_of("kubectl"))
    impatient = Downloader(least=(1_000_000, 0.2))
    assert source(tmp_path, notes, site, downloader=impatient).find(["kubectl"]) is None
    assert "comes too slowly" in notes.text
    assert in_cache(tmp_path) == set()


def test_a_server_that_falls_silent_is_given_up(tmp_path, notes, site):
    site.silent.add(site.path_of("kubectl"))
    assert source(tmp_path, notes, site, downloader=Downloader(timeout=0.3)).find(["kubectl"]) is None
    assert "timed out" in notes.text


def test_an_interrupted_download_leaves_nothing_half(tmp_path, notes, site):
    class Interrupted(type(notes)):
        def update(self, detail):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source(tmp_path, Interrupted(), site).find(NEEDED)
    assert in_cache(tmp_path) == set()
    assert source(tmp_path, notes, site).find(NEEDED) is not None, "and the lock is free again"


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_without_a_connection_one_line_is_said_and_the_cache_is_not_touched(tmp_path, notes):
    nowhere = f"http://127.0.0.1:{closed_port()}"
    found = ReleaseSource(tmp_path / "cache", notes, nowhere, f"{nowhere}/etcd", "x86_64").find(NEEDED)
    assert found is None
    assert len(notes.lines) == 1
    assert "Connection refused" in notes.text
    assert not (tmp_path / "cache").exists()


def test_a_name_that_is_looked_up_for_ever_is_not_waited_for(tmp_path, notes, monkeypatch):
    never = threading.Event()

    def look_up(*_args, **_named):
        never.wait(120)
        raise OSError("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    began = time.monotonic()
    hosts = ("https://kubernetes.invalid", "https://etcd.invalid")
    assert ReleaseSource(tmp_path, notes, *hosts, "x86_64", connect_within=0.2).find(NEEDED) is None
    never.set()
    assert time.monotonic() - began < 60
    assert len(notes.lines) == 1
    assert "no answer within" in notes.text


def test_what_one_site_lacks_does_not_keep_the_other_from_being_used(tmp_path, notes, site, fake_go):
    half = ReleaseSource(tmp_path, notes, site.kubernetes, f"http://127.0.0.1:{closed_port()}", "x86_64")
    found = find_binaries(NEEDED, [half, GoModuleSource(tmp_path, [PathGo()], notes)])
    assert found.source == "Go modules"
    assert found.binaries["kubectl"].read_bytes() == content_of("kubectl")
    assert len(fake_go.built) == 1, "etcd alone"


def test_what_was_refused_is_built_from_source(tmp_path, notes, site, fake_go):
    for name in NEEDED:
        site.files[site.path_of(name)] = b"evil"
    found = find_binaries(NEEDED, [source(tmp_path, notes, site), GoModuleSource(tmp_path, [PathGo()], notes)])
    assert found.source == "Go modules"
    assert len(fake_go.built) == len(NEEDED)
    assert all(b"evil" not in path.read_bytes() for path in found.binaries.values())


def test_a_mirror_is_named_by_the_environment(tmp_path, notes, site, monkeypatch):
    monkeypatch.setenv("PROMPT_OPERATOR_KUBERNETES_RELEASES", f"{site.kubernetes}/")
    monkeypatch.setenv("PROMPT_OPERATOR_ETCD_RELEASES", site.etcd)
    assert ReleaseSource(tmp_path, notes, machine="x86_64").find(NEEDED) is not None


def test_a_place_set_to_nothing_is_not_asked(tmp_path, notes, monkeypatch):
    monkeypatch.setenv("PROMPT_OPERATOR_KUBERNETES_RELEASES", "")
    monkeypatch.setenv("PROMPT_OPERATOR_ETCD_RELEASES", "")
    assert ReleaseSource(tmp_path / "cache", notes, machine="x86_64").find(NEEDED) is None
    assert notes.lines == []


@pytest.mark.parametrize(
    ("machine", "arch"), [("x86_64", "amd64"), ("AMD64", "amd64"), ("aarch64", "arm64"), ("arm64", "arm64")]
)
def test_each_machine_gets_its_own_binaries(tmp_path, notes, site, machine, arch):
    assert architecture(machine) == arch
    site.publish(arch)
    found = source(tmp_path, notes, site, machine=machine).find(NEEDED)
    assert found is not None
    assert {path.read_bytes() for path in found.binaries.values()} == {content_of(name, arch) for name in NEEDED}


def test_a_machine_without_releases_is_left_to_the_build(tmp_path, notes, site):
    assert architecture("riscv64") is None
    assert source(tmp_path, notes, site, machine="riscv64").find(NEEDED) is None
    assert site.asked == []


def test_the_official_places_are_asked_over_tls(notes, monkeypatch, tmp_path):
    monkeypatch.delenv("PROMPT_OPERATOR_KUBERNETES_RELEASES", raising=False)
    monkeypatch.delenv("PROMPT_OPERATOR_ETCD_RELEASES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    official = next(s for s in sources.default_sources(notes) if isinstance(s, ReleaseSource))
    assert official.kubernetes.startswith("https://")
    assert official.etcd.startswith("https://")
