"""What every storage does alike."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import TYPE_CHECKING

import pytest

from asrtune_api.errors import AsrtuneError, ExitCode
from asrtune_trainer.storage import ObjectMissingError, join_uri

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Place

pytestmark = pytest.mark.s3


def content(directory: Path) -> dict[str, bytes]:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def names(place: Place) -> list[str]:
    return [entry.name for entry in place.storage.entries(place.uri)]


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 5000])
def test_bytes_round_trip(place: Place, data: bytes) -> None:
    uri = join_uri(place.uri, "deep/er/file.bin")
    place.storage.write_bytes(uri, data)
    assert place.storage.read_bytes(uri) == data
    place.storage.write_bytes(uri, b"again")
    assert place.storage.read_bytes(uri) == b"again"


@pytest.mark.parametrize("name", ["a b", "100%", "q?x#y&z=1+2", "语音/ü", "a:b", "'\"", "back\\slash"])
def test_odd_names(place: Place, tmp_path: Path, name: str) -> None:
    uri = join_uri(place.uri, name)
    place.storage.write_bytes(uri, b"odd")
    assert names(place) == [name]
    place.storage.download(uri, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"odd"
    place.storage.delete(uri)
    assert names(place) == []


def test_files_round_trip(place: Place, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"content")
    uri = join_uri(place.uri, "file")
    place.storage.upload(tmp_path / "source", uri)
    place.storage.download(uri, tmp_path / "new" / "directory" / "copy")
    assert (tmp_path / "new" / "directory" / "copy").read_bytes() == b"content"
    assert [path.name for path in (tmp_path / "new" / "directory").iterdir()] == ["copy"]


def test_stat_tells_size_and_version(place: Place) -> None:
    uri = join_uri(place.uri, "file")
    assert place.storage.stat(uri) is None
    place.storage.write_bytes(uri, b"one")
    before = place.storage.stat(uri)
    assert before is not None
    assert (before.uri, before.name, before.size) == (uri, "file", 3)
    assert place.storage.stat(uri) == before
    place.storage.write_bytes(uri, b"two")
    after = place.storage.stat(uri)
    assert after is not None
    assert after.version != before.version
    assert place.storage.stat(place.uri) is None  # a directory is no file


def test_entries_are_sorted_and_do_not_leave_the_directory(place: Place) -> None:
    for name in ("b", "a/c", "a.d", "a/b/c"):
        place.storage.write_bytes(join_uri(place.uri, name), name.encode())
    place.storage.write_bytes(f"{place.uri}-beside", b"")
    found = list(place.storage.entries(place.uri))
    assert [entry.name for entry in found] == ["a.d", "a/b/c", "a/c", "b"]
    assert [entry.uri for entry in found] == [join_uri(place.uri, entry.name) for entry in found]
    assert [entry.size for entry in found] == [3, 5, 3, 1]
    assert found[0] == place.storage.stat(found[0].uri)
    assert list(place.storage.entries(join_uri(place.uri, "none"))) == []


def test_missing_files_are_told(place: Place, tmp_path: Path) -> None:
    uri = join_uri(place.uri, "none")
    for read in (
        lambda: place.storage.read_bytes(uri),
        lambda: place.storage.download(uri, tmp_path / "copy"),
    ):
        with pytest.raises(ObjectMissingError) as caught:
            read()
        assert caught.value.exit_code is ExitCode.DATA_INVALID
        assert caught.value.where == uri
        assert caught.value.remedy
    assert not (tmp_path / "copy").exists()
    with pytest.raises(ObjectMissingError, match="nothing here"):
        place.storage.fetch(uri, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    with pytest.raises(ObjectMissingError, match="source"):
        place.storage.upload(tmp_path / "source", uri)


def test_delete(place: Place) -> None:
    for name in ("keep", "dir/manifest.json", "dir/a", "dir/deep/b", "dir-beside"):
        place.storage.write_bytes(join_uri(place.uri, name), b"x")
    place.storage.delete(join_uri(place.uri, "dir"))
    place.storage.delete(join_uri(place.uri, "none"))
    assert names(place) == ["dir-beside", "keep"]
    place.storage.delete(join_uri(place.uri, "keep"))
    assert names(place) == ["dir-beside"]


def test_publish_and_fetch_round_trip(place: Place, model: Path, tmp_path: Path) -> None:
    place.storage.publish(model, place.uri)
    place.storage.fetch(place.uri, tmp_path / "fetched")
    assert content(tmp_path / "fetched") == content(model)
    assert sorted(content(model)) == names(place)


def test_publish_replaces_what_was_there(place: Place, model: Path, tmp_path: Path) -> None:
    place.storage.publish(model, place.uri)
    (model / "a.txt").unlink()
    (model / "b.txt").write_text("new")
    (model / "manifest.json").write_text("{2}")
    place.storage.publish(model, place.uri)
    (tmp_path / "fetched").mkdir()
    (tmp_path / "fetched" / "stale").touch()
    place.storage.fetch(place.uri, tmp_path / "fetched")
    assert content(tmp_path / "fetched") == content(model)


def test_publish_needs_its_marker(place: Place, model: Path) -> None:
    (model / "manifest.json").unlink()
    with pytest.raises(AsrtuneError, match=r"lacks manifest\.json"):
        place.storage.publish(model, place.uri)
    with pytest.raises(ObjectMissingError):
        place.storage.publish(model / "none", place.uri)
    assert names(place) == []
    place.storage.publish(model, place.uri, last=("weights/model.pt", "a.txt"))
    assert names(place) == ["a.txt", "empty", "weights/model.pt"]


def test_reader_that_finds_the_marker_finds_everything(place: Place, tmp_path: Path) -> None:
    directory = tmp_path / "many"
    directory.mkdir()
    for index in range(100):
        (directory / f"{index:03}").write_bytes(bytes(1000))
    (directory / "manifest.json").touch()
    marker = join_uri(place.uri, "manifest.json")
    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(place.storage.publish, directory, place.uri)
        while place.storage.stat(marker) is None:
            assert not publishing.done() or publishing.exception() is None
        assert len(names(place)) == 101
        publishing.result()


def test_one_missing_among_many_is_reported(place: Place, tmp_path: Path) -> None:
    uris = [join_uri(place.uri, f"{index}") for index in range(40)]
    for uri in uris[:20] + uris[21:]:
        place.storage.write_bytes(uri, uri.encode())
    done = list(
        place.storage.download_many(((u, tmp_path / "out" / u[-2:].strip("/")) for u in uris), workers=4)
    )
    assert [download.uri for download in done] == uris
    assert [download.uri for download in done if download.error] == [uris[20]]
    assert all(d.path.read_bytes() == d.uri.encode() for d in done if d.error is None)


def test_download_many_takes_an_endless_list(place: Place, tmp_path: Path) -> None:
    place.storage.write_bytes(join_uri(place.uri, "file"), b"x")
    asked = count()
    pairs = ((join_uri(place.uri, "file"), tmp_path / f"{next(asked)}") for _ in count())
    downloads = place.storage.download_many(pairs, workers=2)
    assert all(download.error is None for download in islice(downloads, 20))
    downloads.close()  # type: ignore[attr-defined]
    assert next(asked) <= 20 + 2 * 4 + 1  # never more than 4 per worker ahead
