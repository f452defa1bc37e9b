"""A real nginx before a server, on this computer only: `deploy/nginx.conf`, or no more than `proxy_pass`."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

SHIPPED = Path(__file__).parents[2] / "deploy/nginx.conf"
_START_SECONDS = 30

# Besides where things lie it says what Debian's own says, and so leaves time-outs and buffering as they are.
_MAIN = """
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
error_log error.log notice;
events {{ worker_connections 768; }}
http {{
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    sendfile on;
    tcp_nopush on;
    access_log access.log;
    gzip on;
    include site.conf;
}}
"""
_BARE = "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream}; }} }}\n"


def found() -> str | None:
    """The program: the system's, or the one that `.ci/setup` put beside Python."""
    places = [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", str(Path(sys.executable).parent)]
    return shutil.which("nginx", path=os.pathsep.join(places))


class Nginx:
    """nginx in a folder of its own, as one process that `with` ends. Stopped, it can start again.

    `shipped` takes `deploy/nginx.conf` with other ports, `tls` as well what is commented out there.
    """

    def __init__(self, folder: Path, upstream: int, *, shipped: bool, tls: bool = False) -> None:
        folder.mkdir()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        site = _BARE.format(port=self.port, upstream=upstream)
        if shipped:
            site = _moved(SHIPPED.read_text(), self.port, upstream)
        if tls:
            port = _free_port()
            self.url = f"https://127.0.0.1:{port}"
            site = _with_tls(site, port, folder)
        (folder / "site.conf").write_text(site)
        # A server that root starts works as nobody, who may not look into the tests' folders.
        (folder / "nginx.conf").write_text(_MAIN.format(user="user root root;" if os.geteuid() == 0 else ""))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        program = found()
        assert program
        command = [program, "-p", f"{self._folder}/", "-c", "nginx.conf", "-e", "error.log"]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Every connection is cut."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(15)
            self._process = None

    def reload(self) -> None:
        """As `nginx -s reload`: new workers take what comes, the old ones end what they have."""
        assert self._process is not None
        before = self._started_workers()
        self._process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + _START_SECONDS
        while self._started_workers() == before or "gracefully shutting down" not in self.log:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def _started_workers(self) -> int:
        return len(re.findall(r"start worker process \d+", self.log))

    @property
    def log(self) -> str:
        file = self._folder / "error.log"
        return file.read_text() if file.exists() else ""


def _moved(site: str, port: int, upstream: int) -> str:
    site = _replaced(site, "listen 80;", f"listen 127.0.0.1:{port};")
    site = _replaced(site, "    listen [::]:80;\n", "")
    return _replaced(site, "server 127.0.0.1:8000;", f"server 127.0.0.1:{upstream};")


def _with_tls(site: str, port: int, folder: Path) -> str:
    """What is commented out, without a space after the #, is let in."""
    site = re.sub(r"^( *)#(?=\S)", r"\1", site, flags=re.MULTILINE)
    site = _replaced(site, "listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;")
    site = _replaced(site, "    listen [::]:443 ssl http2;\n", "")
    site = _replaced(site, "/etc/ssl/certs/rowfall.pem", str(folder / "certificate.pem"))
    site = _replaced(site, "/etc/ssl/private/rowfall.key", str(folder / "key.pem"))
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-days",
        "2",
    ]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*made, *files], check=True, capture_output=True)
    return site


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"deploy/nginx.conf has {old!r} {text.count(old)} times"
    return text.replace(old, new)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
