"""Container images made without a registry."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from prompt_operator.cluster.node.images import Entry, Image, pause, shell, write


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    """Stands in for a busybox that has three applets."""
    path = tmp_path / "busybox"
    path.write_text("#!/bin/sh\nprintf 'busybox\\nsh\\ncat\\n'\n", encoding="utf-8")
    path.chmod(0o700)
    return path


class Written:
    """An image file, read as a container runtime reads it: from the index down, checking each digest."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as tar:
            self.files = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
        assert json.loads(self.files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
        [self.entry] = json.loads(self.files["index.json"])["manifests"]
        manifest = json.loads(self.blob(self.entry))
        self.config = json.loads(self.blob(manifest["config"]))
        [layer] = manifest["layers"]
        self.plain = gzip.decompress(self.blob(layer))

    def blob(self, descriptor) -> bytes:
        content = self.files["blobs/" + descriptor["digest"].replace(":", "/")]
        assert len(content) == descriptor["size"]
        assert descriptor["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
        return content

    def members(self) -> dict[str, tarfile.TarInfo]:
        with tarfile.open(fileobj=io.BytesIO(self.plain)) as tar:
            return {member.name: member for member in tar.getmembers()}


def written(image: Image, directory: Path) -> Written:
    write(image, directory / "image.tar")
    return Written(directory / "image.tar")


def test_every_digest_in_an_image_is_right_and_it_has_its_name(tmp_path, busybox):
    image = written(shell(busybox, "localhost/busybox:1"), tmp_path)
    assert image.config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(image.plain).hexdigest()}"]
    assert image.entry["annotations"]["io.containerd.image.name"] == "localhost/busybox:1"
    assert image.config["os"] == "linux"


def test_the_shell_image_has_every_applet_as_a_link_and_a_place_for_temporary_files(tmp_path, busybox):
    image = written(shell(busybox), tmp_path)
    members = image.members()
    assert members["bin/busybox"].isreg()
    assert {name for name, member in members.items() if member.issym()} == {"bin/sh", "bin/cat"}
    assert members["bin/sh"].linkname == "/bin/busybox"
    assert members["tmp"].mode == 0o1777
    assert image.config["config"] == {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "WorkingDir": "/"}


def test_the_pause_image_sleeps(tmp_path, busybox):
    image = written(pause(busybox), tmp_path)
    assert image.config["config"]["Entrypoint"][:2] == ["/bin/busybox", "sleep"]


def test_owners_and_times_do_not_reach_the_image_and_any_user_can_run_what_is_in_it(tmp_path, busybox):
    member = written(pause(busybox), tmp_path).members()["bin/busybox"]
    assert (member.uid, member.gid, member.uname, member.mtime) == (0, 0, "", 0)
    assert member.mode & 0o777 == 0o755


def test_the_same_content_gives_the_same_bytes(tmp_path, busybox):
    names = ["one.tar", "two.tar"]
    for name in names:
        write(shell(busybox), tmp_path / name)
        busybox.touch()
    # But for the times that tar itself notes for its members: those are zero.
    assert len({(tmp_path / name).read_bytes() for name in names}) == 1


def test_a_directory_comes_with_all_below_it_and_settings_are_kept(tmp_path):
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").write_text("here", encoding="utf-8")
    settings = {"entrypoint": ["/app/run"], "command": ["--now"], "user": "1000", "directory": "/app"}
    image = written(Image("localhost/app:1", [Entry(tree, "app")], environment={"A": "b"}, **settings), tmp_path)
    assert {"app", "app/deep", "app/deep/file"} <= set(image.members())
    assert image.config["config"] == {
        "Env": ["A=b"],
        "Entrypoint": ["/app/run"],
        "Cmd": ["--now"],
        "User": "1000",
        "WorkingDir": "/app",
    }
