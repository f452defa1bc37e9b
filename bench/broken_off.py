"""What a client of nginx notices when the server behind it breaks an answer off, as curl's exit codes.

A raw server sends half an answer, delimited in each way there is, and closes the connection (FIN) or resets
it (RST). nginx asks it by HTTP/1.0 and HTTP/1.1, with buffering and without; curl asks nginx, with gzip and
without. It needs `nginx`, `curl` and `openssl`, and takes two minutes.
"""

import itertools
import os
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

_BODY = b"".join(b"%08d,some text\r\n" % number for number in range(250_000))  # 5 MB
_SHORT = _BODY[:600]
_FRAMINGS = {
    "chunked": b"Transfer-Encoding: chunked",
    "length": b"Content-Length: %d",
    "close": b"Connection: close",
}
_ENDS = ("FIN", "RST")
_CLIENTS = {"HTTP/1.1": ["--http1.1"], "HTTP/2": ["--http2", "--insecure"], "HTTP/1.0": ["--http1.0"]}
_CONF = """
daemon off; {user} worker_processes 1; pid pid; error_log error.log; events {{}}
http {{
    access_log off; gzip on; ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;
    client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
    server {{
        listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl http2;
        location /1.0/ {{ proxy_pass http://127.0.0.1:{upstream}; }}
        location /1.1/ {{ proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; }}
        location /1.0-unbuffered/ {{ proxy_pass http://127.0.0.1:{upstream}; proxy_buffering off; }}
    }}
}}
"""


def _answer(connection: socket.socket) -> None:
    """Half of what `/version/framing/end/type/size` asks for."""
    with connection:
        asked = connection.recv(65_536).split(b" ", 2)[1].decode()
        _, _, framing, end, kind, size = asked.split("/")
        body = _SHORT if size == "short" else _BODY
        delimited = _FRAMINGS[framing]
        if framing == "length":
            delimited %= 2 * len(body)
        if framing == "chunked":
            body = b"%x\r\n%b\r\n" % (len(body), body)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/%b\r\n%b\r\n\r\n%b" % (kind.encode(), delimited, body)
        )
        time.sleep(0.2)  # nginx has read it
        if end == "RST":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _accept(listening: socket.socket) -> None:
    while True:
        threading.Thread(target=_answer, args=(listening.accept()[0],), daemon=True).start()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _codes(urls: dict[str, str], path: str, client: str) -> set[str]:
    """curl's exit codes over all types, sizes and encodings."""
    codes = set()
    for kind, size, encoding in itertools.product(("csv", "html"), ("short", "long"), ("identity", "gzip")):
        command = ["curl", "-s", "-o", os.devnull, "-H", f"Accept-Encoding: {encoding}", *_CLIENTS[client]]
        done = subprocess.run([*command, f"{urls[client]}/{path}/{kind}/{size}"], check=False)
        codes.add(str(done.returncode))
    return codes


def _table(urls: dict[str, str]) -> None:
    print("| nginx asks by | delimited by | broken off by | " + " | ".join(_CLIENTS) + " |")
    print("|---|---|---|" + "---|" * len(_CLIENTS))
    for version, framing, end in itertools.product(("1.0", "1.1", "1.0-unbuffered"), _FRAMINGS, _ENDS):
        codes = [", ".join(_codes(urls, f"{version}/{framing}/{end}", client)) for client in _CLIENTS]
        print(f"| {version} | {framing} | {end} | " + " | ".join(codes) + " |", flush=True)


def main() -> None:
    program = "/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else "nginx"
    plain, tls = _free_port(), _free_port()
    secure = f"https://127.0.0.1:{tls}"
    urls = {client: secure if client == "HTTP/2" else f"http://127.0.0.1:{plain}" for client in _CLIENTS}
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as listening:
        folder = Path(name)
        threading.Thread(target=_accept, args=(listening,), daemon=True).start()
        made = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out"
        subprocess.run([*made.split(), "certificate.pem"], cwd=folder, check=True, capture_output=True)
        user = "user root root;" if os.geteuid() == 0 else ""
        conf = _CONF.format(
            folder=folder, user=user, plain=plain, tls=tls, upstream=listening.getsockname()[1]
        )
        (folder / "nginx.conf").write_text(conf)
        nginx = subprocess.Popen(
            [program, "-p", f"{name}/", "-c", "nginx.conf", "-e", "error.log"], stderr=subprocess.DEVNULL
        )
        try:
            time.sleep(1)
            _table(urls)
        finally:
            nginx.terminate()
            nginx.wait()


if __name__ == "__main__":
    main()
