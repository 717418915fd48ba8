"""A hub on this machine, with the endpoints that a download uses, and the faults that a network has."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = "1234567890" * 4
REPOSITORY = "Wan-AI/Wan2.2-TI2V-5B"


class Hub:
    """``files`` by name; ``requests`` are all that came, with the first byte that was asked for.

    Faults: ``cut`` ends every answer after so many bytes, ``patience`` times; ``lies`` are files whose bytes are
    others; ``status`` (and ``error_code``) of the listing, ``file_status`` of the files; ``ranges`` False: a range is
    answered with the whole file.
    """

    def __init__(self, folder: Path) -> None:
        self.files = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
        self.requests: list[tuple[str, int]] = []
        self.cut, self.patience, self.lies = 0, 0, set()
        self.status, self.file_status, self.error_code, self.ranges = 200, 200, "", True
        self.extra: list[dict] = []
        self.address = ""

    def listing(self) -> bytes:
        siblings = []
        for name, data in self.files.items():
            blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
            entry = {"rfilename": name, "size": len(data), "blobId": blob}
            if name.endswith(".safetensors"):
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            siblings.append(entry)
        return json.dumps(
            {"id": REPOSITORY, "sha": COMMIT, "siblings": siblings + self.extra, "tags": [], "private": False}
        ).encode()

    def content(self, name: str) -> bytes:
        data = self.files[name]
        return bytes(255 - byte for byte in data) if name in self.lies else data


@contextmanager
def serving(hub: Hub):
    """Serve a hub at ``hub.address`` for as long as the body runs."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            path = unquote(self.path.split("?")[0])
            if "/resolve/" not in path:
                listed = path.startswith("/api/models/")
                self.answer(hub.status if listed else 404, hub.listing() if listed and hub.status == 200 else b"{}")
                return
            name = path.split(f"/resolve/{COMMIT}/", 1)[-1]
            asked = self.headers.get("Range")
            start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
            hub.requests.append((name, start))
            if hub.file_status != 200 or name not in hub.files:
                self.answer(hub.file_status if hub.file_status != 200 else 404, b"{}")
                return
            data = hub.content(name)
            partial = start and hub.ranges
            self.answer(206 if partial else 200, data[start:] if partial else data, start if partial else 0, len(data))

        def answer(self, status, body, start=0, whole=0):
            self.send_response(status)
            if status >= 400 and hub.error_code:
                self.send_header("X-Error-Code", hub.error_code)
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if whole and hub.patience and len(body) > hub.cut:
                hub.patience -= 1
                self.wfile.write(body[: hub.cut])
                self.wfile.flush()
                self.connection.close()
                return
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
