"""Downloads from a hub on this machine: whole or not at all, whatever the network does."""

import errno
from collections import namedtuple

import pytest
from tests.hub import COMMIT, REPOSITORY, Hub, serving

from filmgate.engine.checkpoints import fetch as module
from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.fetch import fetch, is_here, offer, staging_directory
from filmgate.media.run_folder import claim
from filmgate.spec import BackendError, DamagedFile, InvalidRequest, MissingFile, OutputError

BIG = "Wan2.1_VAE.safetensors"


@pytest.fixture
def hub(wan_pair, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("filmgate.engine.checkpoints.fetch._SPARE", 0)
    with serving(Hub(wan_pair)) as hub:
        yield hub


@pytest.fixture
def place(tmp_path):
    return tmp_path / "models" / "tiny"


def run(hub, place, check=describe, **options):
    return fetch(offer(REPOSITORY, place, endpoint=hub.address), check, endpoint=hub.address, **options)


def partial_bytes(place):
    return sum(path.stat().st_size for path in staging_directory(place).glob(".parts/*"))


def test_a_model_arrives_whole(hub, place):
    seen = []
    assert run(hub, place, report=seen.append) == place
    for name, data in hub.files.items():
        assert (place / name).read_bytes() == data
    assert {path.name for path in place.iterdir()} - {name.split("/")[0] for name in hub.files} == {module.RECEIPT}
    assert not staging_directory(place).exists()
    assert (seen[-1].done, seen[-1].total) == (sum(map(len, hub.files.values())),) * 2
    assert [arrived.done for arrived in seen] == sorted(arrived.done for arrived in seen)
    assert describe(place).id == "tiny"


def test_an_offer_writes_nothing_and_says_what_would_come(hub, place, tmp_path):
    found = offer(REPOSITORY, place, endpoint=hub.address)
    assert (found.commit, found.total) == (COMMIT, sum(map(len, hub.files.values())))
    assert (found.missing, found.free > 0) == (found.total, True)
    assert (list(tmp_path.iterdir()), hub.requests) == ([], [])


def test_pictures_and_videos_are_left_where_they_are(hub, place):
    hub.files |= {"assets/a.safetensors": b"x", "demo.mp4": b"x", "LICENSE.txt": b"x", "README.md": b"x"}
    names = {file.name for file in offer(REPOSITORY, place, endpoint=hub.address).files}
    assert not names & {"assets/a.safetensors", "demo.mp4"}
    assert {"LICENSE.txt", "README.md"} <= names


def test_a_cut_connection_is_taken_up_within_the_run(hub, place):
    hub.cut, hub.patience = 3000, 4
    run(hub, place)
    assert (place / BIG).read_bytes() == hub.files[BIG]
    assert any(start for _, start in hub.requests)


def test_a_run_that_gave_up_goes_on_at_its_byte(hub, place):
    hub.cut, hub.patience = 1000, 10**6
    hub.files = {BIG: hub.files[BIG]}
    with serving(hub):  # a second server, that dies
        found = offer(REPOSITORY, place, endpoint=hub.address)
        dying = hub.address
    with pytest.raises(BackendError, match="goes on where it stopped"):
        fetch(found, describe, endpoint=dying)
    part = staging_directory(place) / ".parts" / f"{found.files[0].sha256}.part"
    part.write_bytes(hub.files[BIG][:1234])
    assert not place.exists()
    hub.patience, hub.requests = 0, []
    with serving(hub):
        again = offer(REPOSITORY, place, endpoint=hub.address)
        assert again.missing == len(hub.files[BIG]) - 1234
        fetch(again, lambda _: None, endpoint=hub.address)
    assert hub.requests == [(BIG, 1234)]
    assert (place / BIG).read_bytes() == hub.files[BIG]


def test_files_that_are_there_are_not_fetched_again(hub, place):
    *before, last = (file.name for file in offer(REPOSITORY, place, endpoint=hub.address).files)
    hub.lies = {last}
    with pytest.raises(DamagedFile, match=last):
        run(hub, place)
    assert [name for name, _ in hub.requests] == [*before, last]
    hub.lies, hub.requests = set(), []
    run(hub, place)
    assert hub.requests == [(last, 0)]


def test_a_wrong_hash_leaves_nothing_and_is_fetched_again(hub, place):
    for name in (BIG, "high_noise_model/config.json"):  # one by SHA-256, one by git's hash
        hub.lies = {name}
        with pytest.raises(DamagedFile, match=name):
            run(hub, place)
        assert not place.exists()
        assert partial_bytes(place) == 0
        assert not (staging_directory(place) / name).exists()
    hub.lies = set()
    assert run(hub, place) == place


def test_a_server_without_ranges_begins_again(hub, place):
    found = offer(REPOSITORY, place, endpoint=hub.address)
    [big] = (file for file in found.files if file.name == BIG)
    part = staging_directory(place) / ".parts" / f"{big.sha256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"?" * 500)
    hub.ranges, seen = False, []
    run(hub, place, report=seen.append)
    assert (place / BIG).read_bytes() == hub.files[BIG]
    assert seen[-1].done == seen[-1].total


def test_bytes_of_another_version_are_not_continued(hub, place):
    hub.file_status = 503
    with pytest.raises(BackendError):
        run(hub, place)
    hub.file_status = 200
    staging = staging_directory(place)
    (staging / BIG).write_bytes(b"?" * len(hub.files[BIG]))  # of the right size, and not in the receipt
    run(hub, place)
    assert (place / BIG).read_bytes() == hub.files[BIG]


@pytest.mark.parametrize(("status", "code", "words"), [
    (401, "GatedRepo", "accepted its terms"), (403, "GatedRepo", "accepted its terms"), (403, "", "to you"),
    (401, "RepoNotFound", "has no"), (404, "RepoNotFound", "has no"), (404, "RevisionNotFound", "has no"),
])  # fmt: skip
@pytest.mark.parametrize("where", ["status", "file_status"])
def test_a_repository_that_is_not_open_says_how_to_get_in(hub, place, status, code, words, where):
    hub.error_code = code
    setattr(hub, where, status)
    with pytest.raises(InvalidRequest, match=words):
        run(hub, place)
    assert not place.exists()


def test_a_hub_that_is_broken_or_away_is_a_named_error(hub, place, tmp_path):
    hub.status = 500
    with pytest.raises(BackendError, match="500"):
        run(hub, place)
    with pytest.raises(BackendError, match="HF_ENDPOINT"):
        offer(REPOSITORY, place, endpoint="http://127.0.0.1:9")
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_is_no_json_is_a_named_error(hub, place, monkeypatch):
    monkeypatch.setattr(hub, "listing", lambda: b"<html>welcome to the hotel</html>")
    with pytest.raises(BackendError):
        run(hub, place)


def test_no_file_leaves_its_directory(hub, place, tmp_path):
    hub.extra = [{"rfilename": "../../evil.json", "size": 1, "blobId": "0" * 40}]
    with pytest.raises(BackendError, match="outside of itself"):
        run(hub, place)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_is_refused_before_a_byte(hub, place, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(10, 10, 10))
    with pytest.raises(OutputError, match="10 are free"):
        run(hub, place)
    assert hub.requests == []


def test_a_disk_that_fills_up_is_a_named_error_and_the_rest_is_kept(hub, place, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module._Sink, "write", full)
        with pytest.raises(OutputError, match="No space left"):
            run(hub, place)
    assert not place.exists()
    assert run(hub, place) == place


def test_what_is_no_model_gets_no_name(hub, place):
    del hub.files[BIG]
    with pytest.raises(MissingFile, match="autoencoder"):
        run(hub, place)
    assert not place.exists()


def test_a_model_that_is_there_is_left_alone_and_another_one_is_refused(hub, place):
    run(hub, place)
    hub.requests.clear()
    found = offer(REPOSITORY, place, endpoint=hub.address)
    assert is_here(found)
    assert fetch(found, describe, endpoint=hub.address) == place
    assert hub.requests == []
    hub.files["README.md"] = b"new"
    with pytest.raises(OutputError, match="exists"):
        run(hub, place)


def test_two_processes_do_not_fetch_the_same(hub, place):
    held = claim(staging_directory(place) / ".parts")
    with pytest.raises(OutputError, match="another process"):
        run(hub, place)
    held.release()
    assert run(hub, place) == place


def test_without_huggingface_hub_it_says_how_to_get_it(hub, place, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(BackendError, match=r"filmgate\[fetch\]"):
        run(hub, place)


def test_a_name_that_is_none_is_refused(hub, place):
    with pytest.raises(InvalidRequest, match="owner/name"):
        offer("a b/c d", place, endpoint=hub.address)
