"""Any server that speaks the chat protocol of OpenAI: llama.cpp, vLLM, Ollama, DashScope's compatible mode, OpenAI.

The only place of migration that does input and output; what is asked and what is believed is in ``language_model``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from filmgate.spec.errors import BackendError, InvalidRequest

Messages = Sequence[Mapping[str, str]]
_LONGEST_ANSWER = 2048
"""Tokens; an extraction of the longest prompt that the model reads takes fewer."""
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})


class ChatModel(Protocol):
    """Something that answers in JSON of a schema. ``name`` is for reports."""

    name: str

    def complete(self, messages: Messages, schema: Mapping[str, Any]) -> str:
        """The answer's text.

        Raises:
            BackendError: there is none: no connection, an error of the server, or no text in its answer.
        """
        ...


class Endpoint:
    """A chat model behind an address.

    Asks at temperature 0 with a fixed seed for JSON of the schema; a server that does not know schemas is asked
    without. Equal questions are asked once.

    Args:
        url: Up to and with the version, for example ``http://localhost:8080/v1``.
        model: The server's name of the model.
        key: Bearer token, if the server wants one.
        timeout: Seconds for an answer.
        retries: How often an overloaded or unreachable server is asked again.

    Raises:
        InvalidRequest: the address is not of http or https, or httpx is not installed.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        timeout: float = 60.0,
        retries: int = 2,
        wait: float = 0.5,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidRequest(
                "language-model",
                f"{url!r} is not an address",
                allowed="http:// or https://, as http://localhost:8080/v1",
            )
        try:
            import httpx
        except ImportError:
            raise InvalidRequest(
                "language-model", "the library httpx is not installed", allowed="pip install 'filmgate[language]'"
            ) from None
        self.name = model
        self._url = url.rstrip("/") + "/chat/completions"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(timeout=timeout, headers=headers, follow_redirects=False)
        self._retries, self._wait = retries, wait
        self._known: dict[str, str] = {}
        self._schemas = True

    def complete(self, messages: Messages, schema: Mapping[str, Any]) -> str:
        """See :class:`ChatModel`."""
        question = json.dumps([list(map(dict, messages)), schema], sort_keys=True, ensure_ascii=False)
        if question not in self._known:
            self._known[question] = self._ask(messages, schema)
        return self._known[question]

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def _ask(self, messages: Messages, schema: Mapping[str, Any]) -> str:
        body: dict[str, Any] = {"model": self.name, "messages": list(messages), "temperature": 0, "seed": 0}
        body["max_tokens"] = _LONGEST_ANSWER
        if self._schemas:
            form = {"name": "answer", "strict": True, "schema": schema}
            status, answer = self._post({**body, "response_format": {"type": "json_schema", "json_schema": form}})
            if status not in (400, 404, 422):
                return self._text(status, answer)
            self._schemas = False
        return self._text(*self._post(body))

    def _post(self, body: Mapping[str, Any]) -> tuple[int, str]:
        import httpx

        reason = ""
        for attempt in range(self._retries + 1):
            if attempt:
                time.sleep(self._wait * 2 ** (attempt - 1))
            try:
                answer = self._client.post(self._url, json=body)
            except httpx.HTTPError as error:
                reason = str(error) or type(error).__name__
                continue
            if answer.status_code not in _RETRIED:
                return answer.status_code, answer.text
            reason = f"it answered {answer.status_code}"
        raise BackendError(f"the language model at {self._url} cannot be reached: {reason}")

    def _text(self, status: int, answer: str) -> str:
        if status != 200:
            raise BackendError(f"the language model at {self._url} answered {status}: {answer[:200]}")
        try:
            content = json.loads(answer)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError):
            content = None
        if not isinstance(content, str):
            raise BackendError(f"the language model at {self._url} answered without a text: {answer[:200]}")
        return content
