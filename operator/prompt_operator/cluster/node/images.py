"""Container images without a registry: an OCI image layout in a tar file, as `ctr images import` reads it."""

import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prompt_operator.cluster.node.config import BUSYBOX_IMAGE, PAUSE_IMAGE

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_OCI = "application/vnd.oci.image"
_BASE = ("bin", "etc", "tmp", "proc", "sys", "dev", "root")
_FOREVER = "2147483647"  # seconds; not every busybox knows infinity


@dataclass(frozen=True)
class Entry:
    """A file, or a directory with all below it, and where it is in the image."""

    source: Path
    path: str
    #: Symbolic links to it, as paths in the image.
    links: Sequence[str] = ()


@dataclass(frozen=True)
class Image:
    """What is in an image and how it is run."""

    name: str
    entries: Sequence[Entry]
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/bin"})
    user: str = ""
    directory: str = "/"


def write(image: Image, target: Path) -> None:
    """Write an image for this kind of machine. The same content gives the same bytes; owners and times are dropped."""
    with tempfile.TemporaryFile(dir=target.parent) as layer, tarfile.open(target, "w") as out:
        diff, digest, size = _write_layer(image.entries, layer)
        settings = {
            "Env": [f"{key}={value}" for key, value in image.environment.items()],
            "Entrypoint": list(image.entrypoint),
            "Cmd": list(image.command),
            "User": image.user,
            "WorkingDir": image.directory,
        }
        config = _json(
            {
                "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
                "os": "linux",
                "config": {key: value for key, value in settings.items() if value},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
            },
        )
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": f"{_OCI}.manifest.v1+json",
                "config": _descriptor("config.v1+json", _sha256(config), len(config)),
                "layers": [_descriptor("layer.v1.tar+gzip", digest, size)],
            },
        )
        names = {
            "io.containerd.image.name": image.name,
            "org.opencontainers.image.ref.name": image.name.rpartition(":")[2],
        }
        entry = _descriptor("manifest.v1+json", _sha256(manifest), len(manifest)) | {"annotations": names}
        _add(out, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(out, "index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
        for blob in (config, manifest):
            _add(out, f"blobs/sha256/{_sha256(blob)}", blob)
        layer.seek(0)
        info = tarfile.TarInfo(f"blobs/sha256/{digest}")
        info.size = size
        out.addfile(info, layer)


def pause(busybox: Path, name: str = PAUSE_IMAGE) -> Image:
    """Return the image that holds a pod's namespaces open: it sleeps."""
    entries = [Entry(busybox, "bin/busybox")]
    return Image(name, entries, entrypoint=["/bin/busybox", "sleep", _FOREVER])


def shell(busybox: Path, name: str = BUSYBOX_IMAGE) -> Image:
    """Return an image with a shell and the usual tools. Raises OSError or CalledProcessError if busybox cannot run."""
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True, timeout=30).stdout.split()
    links = [f"bin/{applet}" for applet in listed if applet != "busybox"]
    return Image(name, [Entry(busybox, "bin/busybox", links)], command=["/bin/sh"])


def _write_layer(entries: Iterable[Entry], into: io.BufferedRandom) -> tuple[str, str, int]:
    """Write a compressed layer; return SHA-256 of the plain and of the compressed bytes, and the latter's number."""
    with tempfile.TemporaryFile() as plain:
        with tarfile.open(fileobj=plain, mode="w") as layer:
            for name in _BASE:
                directory = tarfile.TarInfo(name)
                directory.type = tarfile.DIRTYPE
                directory.mode = 0o1777 if name == "tmp" else 0o755
                layer.addfile(directory)
            for entry in entries:
                layer.add(entry.source.resolve(), entry.path, filter=_anonymous)
                for name in entry.links:
                    link = tarfile.TarInfo(name)
                    link.type = tarfile.SYMTYPE
                    link.linkname = f"/{entry.path}"
                    layer.addfile(link)
        plain.seek(0)
        diff = hashlib.file_digest(plain, "sha256").hexdigest()
        plain.seek(0)
        with gzip.GzipFile(filename="", fileobj=into, mode="wb", mtime=0) as compressed:
            shutil.copyfileobj(plain, compressed)
    into.seek(0)
    digest = hashlib.file_digest(into, "sha256").hexdigest()
    return diff, digest, into.seek(0, os.SEEK_END)


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    info.mode |= 0o444 | (0o111 if info.isdir() or info.mode & 0o100 else 0)
    return info


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": f"{_OCI}.{kind}", "digest": f"sha256:{digest}", "size": size}


def _add(out: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    out.addfile(info, io.BytesIO(content))


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
