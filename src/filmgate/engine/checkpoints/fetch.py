"""A published model from a hub to the disk: whole and with the right hashes, or not at all. Without torch.

The files are gathered beside the destination, in a directory that nobody takes for a model; it gets its name when
every hash is right. What was interrupted goes on at the byte where it stopped. ``huggingface_hub`` knows endpoints,
tokens and proxies; its own downloads throw away what they have when they fail, so that only its transfer of one file
is used here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from filmgate.media.publish import writable, write_bytes
from filmgate.media.run_folder import claim
from filmgate.spec.errors import BackendError, DamagedFile, FilmgateError, InvalidRequest, OutputError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

RECEIPT = "fetched.json"
"""In a fetched model: where it is from, and the hash of each file."""
_SUFFIXES = (".safetensors", ".json", ".pth", ".model", ".gguf", ".toml", ".md")
_FOLDERS = ("assets", "examples", "figures", "images")
_PARTS = ".parts"
_BLOCK = 1 << 20
_SPARE = 64 << 20
"""Bytes that stay free on the disk: a full one troubles everybody else."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: its name in it, its size in bytes, and its hash in hexadecimal.

    ``sha256`` is that of the content; files that are not in large-file storage have git's ``blob`` instead: SHA-1 of
    a header and the content.
    """

    name: str
    bytes: int
    sha256: str | None
    blob: str | None

    @property
    def hash(self) -> str:
        """What tells this content from another."""
        return self.sha256 or self.blob or ""


@dataclass(frozen=True)
class Offer:
    """What a fetch would do. ``here`` and ``total`` are in bytes; ``free`` is on the disk of the destination."""

    repository: str
    commit: str
    destination: Path
    files: tuple[RemoteFile, ...]
    here: int
    free: int

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def missing(self) -> int:
        """Bytes that are still to be transferred."""
        return self.total - self.here


@dataclass(frozen=True)
class Arrived:
    """How far a fetch is: bytes of all files, those that were there before included, and seconds since it began."""

    file: str
    done: int
    total: int
    seconds: float
    eta_seconds: float | None


def staging_directory(destination: Path) -> Path:
    """Where the files lie until all are there."""
    return destination.parent.with_name(destination.parent.name + "-unfinished") / destination.name


def offer(repository: str, destination: Path, *, revision: str | None = None, endpoint: str | None = None) -> Offer:
    """Ask a hub for the files of a model, and look what is here already. Writes nothing.

    Args:
        repository: ``owner/name`` on the hub.
        destination: Directory that the model is to have.
        revision: Branch, tag or commit; None: the main branch.
        endpoint: Address of the hub; None: ``HF_ENDPOINT``, or huggingface.co.

    Raises:
        InvalidRequest: there is no such repository or revision, or it is not open to this user.
        BackendError: no hub can be reached, it answers nonsense, or huggingface_hub is not installed.
    """
    api = _api(endpoint)
    with _told(repository, api.endpoint):
        info = api.model_info(repository, revision=revision, files_metadata=True)
    files = tuple(_file(repository, entry) for entry in info.siblings or () if _wanted(entry.rfilename))
    if not files or not info.sha:
        raise InvalidRequest("model", f"{repository} has no weights", allowed="a repository with a model in it")
    here = sum(_present(staging_directory(destination), file) for file in files)
    free = shutil.disk_usage(_existing(destination)).free
    return Offer(repository, info.sha, destination, files, here, free)


def is_here(found: Offer) -> bool:
    """Whether the destination is this very model already.

    Raises:
        OutputError: something else lies there.
    """
    if not found.destination.exists():
        return False
    if _receipt(found.destination) == {file.name: file.hash for file in found.files}:
        return True
    raise OutputError(
        f"{found.destination} exists, and is not {found.repository} at {found.commit[:12]}",
        allowed="a free name: move the directory away",
    )


def fetch(
    found: Offer,
    check: Callable[[Path], object],
    report: Callable[[Arrived], None] = lambda _: None,
    *,
    endpoint: str | None = None,
) -> Path:
    """Transfer what is missing, compare every hash, and give the directory its name.

    Args:
        found: From :func:`offer`.
        check: Looks at the whole directory before it gets its name, and raises if it is no model.
        report: Called as bytes arrive.
        endpoint: As for :func:`offer`.

    Returns:
        The destination.

    Raises:
        OutputError: the disk is too small or cannot be written, or another process fetches the same.
        DamagedFile: a file does not have its hash; it is removed, so that it is fetched again next time.
        InvalidRequest, BackendError: as :func:`offer`; what has arrived is kept for the next time.
    """
    if is_here(found):
        return found.destination
    if found.missing + _SPARE > found.free:
        raise OutputError(
            f"{found.repository} needs {found.missing} more bytes, and {found.free} are free at {found.destination}",
            allowed="a disk with more space: see FILMGATE_MODELS",
        )
    staging = staging_directory(found.destination)
    held = claim(staging / _PARTS)
    if held is None:
        raise OutputError(f"another process is fetching {found.destination}", allowed="to wait for it")
    try:
        _gather(found, staging, _Clock(found, report), endpoint)
        check(staging)
    finally:
        held.release()
    with writable(found.destination):
        shutil.rmtree(staging / _PARTS, ignore_errors=True)
        found.destination.parent.mkdir(parents=True, exist_ok=True)
        staging.rename(found.destination)
    with contextlib.suppress(OSError):
        staging.parent.rmdir()  # unless another model is unfinished
    return found.destination


def _gather(found: Offer, staging: Path, clock: _Clock, endpoint: str | None) -> None:
    """Transfer every file that is not complete."""
    api = _api(endpoint)
    for file in found.files:
        if _complete(staging, file):
            clock.done += file.bytes
        else:
            _transfer(api, found, file, staging, clock)


class _Clock:
    """Counts bytes, and reports them at most ten times a second."""

    def __init__(self, found: Offer, report: Callable[[Arrived], None]) -> None:
        self._total, self._report = found.total, report
        self._begun, self._told, self._new = time.monotonic(), 0.0, 0
        self.done = 0

    def arrived(self, file: str, count: int, *, fresh: bool = True) -> None:
        self.done += count
        self._new += count if fresh else 0
        now = time.monotonic() - self._begun
        if now - self._told < 0.1 and self.done < self._total:
            return
        self._told = now
        left = (self._total - self.done) * now / self._new if self._new > 0 else None
        self._report(Arrived(file, self.done, self._total, now, left))


class _Sink:
    """A file that counts what is written to it, and what is taken back."""

    def __init__(self, file: BinaryIO, name: str, clock: _Clock) -> None:
        self._file, self._name, self._clock = file, name, clock

    def write(self, data: bytes) -> int:
        self._clock.arrived(self._name, len(data))
        return self._file.write(data)

    def truncate(self) -> int:
        """Begin again: the server gave the whole file where the rest was asked for."""
        self._clock.arrived(self._name, -self._file.seek(0, 2), fresh=False)
        self._file.seek(0)
        return self._file.truncate()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _transfer(api: HfApi, found: Offer, file: RemoteFile, staging: Path, clock: _Clock) -> None:
    """Fetch one file from where it stopped, compare its hash, and give it its name."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get

    part, path = _part(staging, file), staging / file.name
    url = hf_hub_url(found.repository, file.name, revision=found.commit, endpoint=api.endpoint)
    with writable(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    with part.open("rb+") as opened:
        start = opened.seek(0, 2)
        if start > file.bytes:
            start = opened.truncate(0)
            opened.seek(0)
        clock.arrived(file.name, start, fresh=False)
        with _told(found.repository, api.endpoint, part):
            http_get(
                url,
                _Sink(opened, file.name, clock),  # type: ignore[arg-type]  # it writes, seeks, tells and truncates
                resume_size=start,
                headers=_headers(api),
                expected_size=file.bytes,
                displayed_filename=file.name,
                tqdm_class=_silent_bar(),
            )
    if _hash(part, file) != file.hash:
        part.unlink()
        raise DamagedFile(
            path, "does not have its hash, and was removed; fetch again", expected=file.hash, found="another"
        )
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.replace(path)
        _remember(staging, file)


def _api(endpoint: str | None) -> HfApi:
    if find_spec("huggingface_hub") is None:
        raise BackendError("huggingface_hub is not installed", allowed="pip install 'filmgate[fetch]'")
    from huggingface_hub import HfApi

    # Its warnings about retries would tear the progress bar; what fails for good is told by _told.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return HfApi(endpoint=endpoint, library_name="filmgate")


def _headers(api: HfApi) -> dict[str, str]:
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented, not listed

    # Compressed, a range would not be one of the file.
    return {**build_hf_headers(token=api.token, library_name="filmgate"), "Accept-Encoding": "identity"}


def _silent_bar() -> Any:
    from huggingface_hub.utils.tqdm import tqdm

    class Silent(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

    return Silent


@contextlib.contextmanager
def _told(repository: str, endpoint: str, written: Path | None = None) -> Iterator[None]:
    """Turn what goes wrong on the way to a hub into errors that say what to do."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # The HTTP library's own errors, whichever library this version uses; ValueError: an answer that is no JSON.
    transport: tuple[type[Exception], ...] = (cast("type[Exception]", HfHubHTTPError.__bases__[0]), ValueError)
    try:
        yield
    except FilmgateError:
        raise
    except HFValidationError as error:
        raise InvalidRequest("model", f"{repository!r:.80} is no repository: {error}", allowed="owner/name") from None
    except GatedRepoError:
        raise InvalidRequest(
            "model", f"{repository} is open only to those who accepted its terms",
            allowed=f"accept them at {endpoint}/{repository}, then `hf auth login` or HF_TOKEN",
        ) from None  # fmt: skip
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise InvalidRequest(
            "model", f"{endpoint} has no {repository}, or not for you",
            allowed="owner/name and a revision that exist; for private ones `hf auth login` or HF_TOKEN",
        ) from None  # fmt: skip
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise InvalidRequest(
                "model", f"{endpoint} does not give {repository} to you: {_short(error)}",
                allowed="a repository that is open to you: `hf auth login` or HF_TOKEN",
            ) from None  # fmt: skip
        raise BackendError(f"{endpoint} refused {repository}: {_short(error)}", allowed="try again later") from None
    except OSError as error:
        if written is not None and getattr(error, "errno", None) is not None and not isinstance(error, ConnectionError):
            with writable(written):
                raise
        raise _unreachable(endpoint, error) from None
    except transport as error:
        raise _unreachable(endpoint, error) from None


def _unreachable(endpoint: str, error: Exception) -> BackendError:
    return BackendError(
        f"the connection to {endpoint} failed: {_short(error)}",
        allowed="a network with a way to it, or a mirror in HF_ENDPOINT; a fetch goes on where it stopped",
    )


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]:.200}" if lines else type(error).__name__


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    known = path.suffix in _SUFFIXES or path.name.upper().startswith("LICENSE")
    return known and not set(path.parts) & set(_FOLDERS)


def _file(repository: str, entry: Any) -> RemoteFile:
    path = PurePosixPath(entry.rfilename)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.rfilename or ":" in entry.rfilename:
        raise BackendError(f"{repository} names a file outside of itself: {entry.rfilename!r:.80}")
    sha256 = entry.lfs.sha256 if entry.lfs else None
    if entry.size is None or not (sha256 or entry.blob_id):
        raise BackendError(f"the hub gives neither size nor hash of {entry.rfilename} in {repository}")
    return RemoteFile(entry.rfilename, entry.size, sha256, entry.blob_id)


def _part(staging: Path, file: RemoteFile) -> Path:
    # The hash in the name: bytes of another version are never continued.
    return staging / _PARTS / f"{file.hash}.part"


def _present(staging: Path, file: RemoteFile) -> int:
    if _complete(staging, file):
        return file.bytes
    part = _part(staging, file)
    return min(part.stat().st_size, file.bytes) if part.is_file() else 0


def _complete(staging: Path, file: RemoteFile) -> bool:
    path = staging / file.name
    return path.is_file() and path.stat().st_size == file.bytes and _receipt(staging).get(file.name) == file.hash


def _receipt(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(staging: Path, file: RemoteFile) -> None:
    text = json.dumps(_receipt(staging) | {file.name: file.hash}, indent=1, sort_keys=True)
    write_bytes(staging / RECEIPT, text.encode())


def _hash(path: Path, file: RemoteFile) -> str:
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(f"blob {file.bytes}\0".encode(), usedforsecurity=False)
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
