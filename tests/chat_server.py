"""A server of OpenAI's chat protocol as a process of its own, with the manners that language models have.

``python tests/chat_server.py`` prints its port and serves until its standard input closes. What it does is chosen by
the name of the model; every answer is made from the question, nothing is recorded.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MOVES = {"pans left": ("pan", "left"), "pans right": ("pan", "right"), "zooms in": ("zoom", "in")}


def extraction(text: str) -> dict:
    """Parts of sentences of the form "<subject> <verb>s <rest>. The camera <move>. seed <n>"."""
    parts: dict = {"subjects": [], "actions": [], "camera": [], "settings": []}
    if found := re.search(r"(an? [\w ]+?) (\w+s\b[^.]*)", text):
        parts["subjects"].append(found[1])
        parts["actions"].append(found[2])
    for quote, (kind, direction) in MOVES.items():
        if quote in text:
            parts["camera"].append({"quote": quote, "kind": kind, "direction": direction, "speed": ""})
    if found := re.search(r"seed (\d+)", text):
        parts["settings"].append({"quote": found[0], "name": "seed", "value": found[1]})
    return parts


def answer(model: str, messages: list[dict]) -> str:
    """What a model of that name says."""
    instructions, question, repaired = messages[0]["content"], messages[1]["content"], len(messages) > 2
    if model == "talkative":
        return "Sure! Here is your rewritten prompt: a beautiful scene."
    if "take a video prompt apart" in instructions:
        return apart(model, question, repaired)
    asked = json.loads(question)
    if "add detail" in instructions:
        return json.dumps({"text": f"{'' if model == 'forgetful' else asked['prompt']} Dust glitters.".strip()})
    return json.dumps({"text": fluent(model, asked["draft"], repaired)})


def apart(model: str, question: str, repaired: bool) -> str:
    parts = extraction(question)
    if model == "forgetful" and not repaired:
        parts["camera"] = []
    if model == "inverting":
        for move in parts["camera"]:
            move["direction"] = {"left": "right", "right": "left"}.get(move["direction"], move["direction"])
    if model == "inventing":
        parts["scene"] = ["a modern office"]
    return f"```json\n{json.dumps(parts)}\n```" if model == "fencing" else json.dumps(parts)


def fluent(model: str, text: str, repaired: bool) -> str:
    if model == "forgetful" and not repaired:
        return text.split(". ", maxsplit=1)[0] + "."
    if model == "inventing":
        return text + " An executive strides through an office."
    if model == "inverting":
        return text.replace("left", "right")
    return text.replace(". The camera", ", while the camera")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[dict] = []  # noqa: RUF012

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.reply(200, {"requests": self.seen})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
        model = body["model"]
        tries = sum(request["model"] == model for request in self.seen)
        if self.path != "/v1/chat/completions":
            self.reply(404, {"error": {"message": "no such path"}})
        elif model == "schemaless" and "response_format" in body:
            self.reply(400, {"error": {"message": "response_format is not supported"}})
        elif model == "refusing":
            self.reply(401, {"error": {"message": "a key is needed"}})
        elif model == "overloaded" or (model == "busy" and tries < 3):
            self.reply(503, {"error": {"message": "try again"}})
        elif model == "empty":
            self.reply(200, {"choices": []})
        elif model == "slow":
            time.sleep(3)
            self.reply(200, {})
        else:
            content = answer(model, body["messages"])
            self.reply(200, {"choices": [{"message": {"role": "assistant", "content": content}}], "model": model})

    def reply(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def chat_server():
    """The address of a server that runs for as long as the body does."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        port = process.stdout.readline().strip()
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
