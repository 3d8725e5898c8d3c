"""A release site on loopback, which can be made to misbehave."""

import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prompt_operator.cluster.binaries import kubernetes_version
from prompt_operator.cluster.releases import etcd_version


class ReleaseSite:
    """Serves what the release sites of Kubernetes and etcd serve, below /kubernetes and /etcd."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.redirects: dict[str, str] = {}
        self.broken: set[str] = set()  # end in the middle
        self.slow: set[str] = set()  # come byte by byte
        self.silent: set[str] = set()  # are never answered
        self.closing = threading.Event()

    @property
    def kubernetes(self) -> str:
        return f"{self.url}/kubernetes"

    @property
    def etcd(self) -> str:
        return f"{self.url}/etcd"

    def publish(self, arch: str = "amd64") -> None:
        """Put everything there that belongs to the version of the recipe."""
        for name in ("kube-apiserver", "kube-controller-manager", "kubectl"):
            self.put(self.path_of(name, arch), content_of(name, arch))
        stem = f"etcd-{etcd_version()}-linux-{arch}"
        archive = archive_of({f"{stem}/README.md": b"read me", f"{stem}/etcd": content_of("etcd", arch)})
        self.files[self.path_of("etcd", arch)] = archive
        others = f"{'0' * 64}  etcd-{etcd_version()}-linux-riscv64.tar.gz\n"
        self.files[self.sums] = f"{others}{hashlib.sha256(archive).hexdigest()}  {stem}.tar.gz\n".encode()

    def put(self, path: str, content: bytes) -> None:
        self.files[path] = content
        self.files[f"{path}.sha256"] = hashlib.sha256(content).hexdigest().encode()

    def path_of(self, name: str, arch: str = "amd64") -> str:
        if name == "etcd":
            return f"/etcd/{etcd_version()}/etcd-{etcd_version()}-linux-{arch}.tar.gz"
        return f"/kubernetes/{kubernetes_version()}/bin/linux/{arch}/{name}"

    @property
    def sums(self) -> str:
        return f"/etcd/{etcd_version()}/SHA256SUMS"


def content_of(name: str, arch: str = "amd64") -> bytes:
    return f"the {name} of {arch}\n".encode() * 1000


def archive_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_GET(self) -> None:
        site, path = self.server.site, self.path
        site.asked.append(path)
        if path in site.silent:
            site.closing.wait(60)
        elif path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[path])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path not in site.files:
            self.send_error(404)
        else:
            self._send(site, path, site.files[path])

    def _send(self, site: ReleaseSite, path: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if path in site.broken:
            self.wfile.write(content[: len(content) // 2])
        elif path in site.slow:
            for position in range(len(content)):
                if site.closing.is_set():
                    return
                self.wfile.write(content[position : position + 1])
                time.sleep(0.02)
        else:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.site = ReleaseSite(f"http://127.0.0.1:{self.server_address[1]}")

    def handle_error(self, *_: object) -> None:
        pass  # a client that has had enough


@contextmanager
def serving() -> Iterator[ReleaseSite]:
    """Serve on any port of loopback for the length of a block."""
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
        thread.start()
        try:
            yield server.site
        finally:
            server.site.closing.set()
            server.shutdown()
            thread.join()
