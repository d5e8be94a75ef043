"""Git over HTTP without a forge: Git's own `http-backend`, for tests that push hundreds of times, and for faults."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.parts.git import ENVIRONMENT, WorkTree, git
from tests.parts.process import Part, answers, free_port


class GitHttp:
    """Serves the bare repositories below ``root``; every request's path and headers are kept in ``requests``."""

    def __init__(self, root: Path, *, port: int = 0, keep_requests: bool = True) -> None:
        self.root, self._keep_requests = root, keep_requests
        root.mkdir(parents=True, exist_ok=True)
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.password: str | None = None  # set: basic authentication by any user with it
        self.redirect: str | None = None  # set: every request is answered 302 to here
        self.served = 0  # bytes of answers
        self.down = False  # set: every request is answered 503
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def create(self, name: str) -> str:
        """A new bare repository; returns its URL."""
        _create(self.root, name)
        return f"{self.url}/{name}.git"

    def serve_forever(self) -> None:
        """Serve in this thread, until the process ends."""
        self._server.serve_forever()

    def work_tree(self, name: str, folder: Path) -> WorkTree:
        """A work tree whose pushes go to the bare repository's folder, past HTTP."""
        return WorkTree(folder, str(self.root / f"{name}.git"))

    def __enter__(self) -> GitHttp:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: C901, N805 - the handler's own `self` is inside
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet
            disable_nagle_algorithm = True  # or every answer waits 40 ms for an acknowledgement

            def log_message(self, *_: object) -> None:
                """The requests are kept, not printed."""

            def do_GET(self) -> None:
                self._serve()

            def do_POST(self) -> None:
                self._serve()

            def _serve(self) -> None:
                body = self._body()
                if server._keep_requests:
                    server.requests.append((self.command, self.path, dict(self.headers.items())))
                if server.down:
                    return self._answer(503, {}, b"")
                if server.redirect is not None:
                    return self._answer(302, {"Location": server.redirect + self.path}, b"")
                if server.password is not None and not self._authorized():
                    return self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"")
                return self._backend(body)

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                    parts = []
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        parts.append(self.rfile.read(size))
                        self.rfile.readline()
                    self.rfile.readline()
                    return b"".join(parts)
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def _authorized(self) -> bool:
                given = self.headers.get("Authorization", "").removeprefix("Basic ")
                return base64.b64decode(given or b"").partition(b":")[2].decode() == server.password

            def _backend(self, body: bytes) -> None:
                parts = urlsplit(self.path)
                environment = {
                    **os.environ,
                    **ENVIRONMENT,
                    "GIT_PROJECT_ROOT": str(server.root),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "PATH_INFO": parts.path,
                    "QUERY_STRING": parts.query,
                    "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "CONTENT_LENGTH": str(len(body)),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "REMOTE_USER": "tester",
                    "REMOTE_ADDR": "127.0.0.1",
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                }
                process = subprocess.run(
                    ["git", "http-backend"], input=body, env=environment, capture_output=True, check=False
                )
                head, _, content = process.stdout.partition(b"\r\n\r\n")
                headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
                status = int(headers.pop("Status", "200").split()[0])
                self._answer(status, headers, content)

            def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                server.served += len(content)
                self.wfile.write(content)

        return Handler


def _create(root: Path, name: str) -> None:
    repository = root / f"{name}.git"
    git("init", "-q", "--bare", "-b", "main", str(repository))
    git("config", "http.receivepack", "true", cwd=repository)
    git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=repository)


class GitHttpProcess:
    """The same server as a process of its own: a measure's clock must not share an interpreter with it."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        self._part: Part | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def create(self, name: str) -> str:
        """A new bare repository; returns its URL."""
        _create(self.root, name)
        return f"{self.url}/{name}.git"

    def work_tree(self, name: str, folder: Path) -> WorkTree:
        """A work tree whose pushes go to the bare repository's folder, past HTTP."""
        return WorkTree(folder, str(self.root / f"{name}.git"))

    def __enter__(self) -> GitHttpProcess:
        self.root.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.parts.git_http", str(self.root), str(self.port)]
        self._part = Part("git-http", command, self.root / "git-http.log")
        self._part.wait_ready(answers(self.port))
        return self

    def __exit__(self, *_: object) -> None:
        if self._part is not None:
            self._part.stop()


if __name__ == "__main__":
    server = GitHttp(Path(sys.argv[1]), port=int(sys.argv[2]), keep_requests=False)
    server.serve_forever()
