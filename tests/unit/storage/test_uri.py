"""URIs: what is parsed comes back, what is joined lies beneath, what is wrong is told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrtune_api.errors import ExitCode, SpecInvalidError
from asrtune_trainer.storage import S3Location, S3Settings, join_uri, local_path, parse_uri

parts = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
names = parts.filter(lambda part: part not in {".", ".."})
keys = st.lists(names, min_size=1, max_size=5).map("/".join)
buckets = st.from_regex(r"[a-z0-9][a-z0-9.-]{1,30}[a-z0-9]", fullmatch=True)
s3_uris = st.builds(lambda bucket, key: f"s3://{bucket}/{key}", buckets, keys)
paths = st.lists(names, min_size=1, max_size=4).map(lambda found: "/" + "/".join(found))


@given(buckets, keys)
def test_s3_uri_round_trip(bucket: str, key: str) -> None:
    location = parse_uri(f"s3://{bucket}/{key}")
    assert location == S3Location(bucket, key)
    assert parse_uri(str(location)) == location


@given(buckets, keys)
def test_trailing_slashes_do_not_matter(bucket: str, key: str) -> None:
    assert parse_uri(f"s3://{bucket}/{key}//") == S3Location(bucket, key)
    assert parse_uri(f"s3://{bucket}/") == parse_uri(f"s3://{bucket}") == S3Location(bucket, "")


@given(st.one_of(s3_uris, paths), keys, keys)
def test_join_lies_beneath_and_is_associative(uri: str, first: str, second: str) -> None:
    joined = join_uri(uri, first, second)
    assert joined == join_uri(join_uri(uri, first), second) == join_uri(uri, f"{first}/{second}")
    assert joined == f"{uri}/{first}/{second}"


@given(paths)
def test_file_uris_are_percent_decoded(path: str) -> None:
    assert parse_uri(Path(path).as_uri()) == Path(path)
    assert local_path(path) == Path(path)
    assert local_path(f"s3://bucket{path}") is None


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_told(text: str) -> None:
    told: SpecInvalidError | None = None
    try:
        assert isinstance(parse_uri(text), Path | S3Location)
    except SpecInvalidError as error:
        told = error
    assert told is None or (told.exit_code is ExitCode.SPEC_INVALID and told.remedy and told.where)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "empty"),
        ("s3://", "bucket's name is missing"),
        ("s3:///key", "bucket's name is missing"),
        ("s3:/bucket/key", "two slashes"),
        ("s3://b/key", "no bucket name"),
        ("s3://my bucket/key", "no bucket name"),
        ("s3://bucket/a//b", "empty part"),
        ("s3://bucket/a/../b", "'..'"),
        ("s3://bucket/" + "k" * 1025, "longer than 1024 bytes"),
        ("gs://bucket/key", "'gs' is not supported"),
        ("https://host/key", "'https' is not supported"),
        ("file://host/path", "the host 'host'"),
        ("file:/path", "two slashes"),
        ("file://", "path is missing"),
        ("file:///a%00b", "zero byte"),
        ("a\0b", "zero byte"),
    ],
)
def test_wrong_uris(uri: str, said: str) -> None:
    with pytest.raises(SpecInvalidError) as caught:
        parse_uri(uri)
    assert said in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "/etc", "..", "a/../b", "a//b", ".", "a\0b"])
@pytest.mark.parametrize("uri", ["s3://bucket/dir", "/dir"])
def test_join_never_leaves_the_directory(uri: str, name: str) -> None:
    with pytest.raises(SpecInvalidError, match="does not lie under it"):
        join_uri(uri, name)


@pytest.mark.parametrize("path", ["audio/a:b.wav", "c:d", "a b", "ü/語.wav", "~/x", "s3"])
def test_plain_paths_stay_as_they_are(path: str) -> None:
    assert parse_uri(path) == Path(path)


@pytest.mark.parametrize(
    "endpoint", ["minio:9000", "host", "ftp://host", "http://", "http://h:99999", "http://[::1"]
)
def test_wrong_endpoints_are_told(endpoint: str) -> None:
    with pytest.raises(SpecInvalidError, match="is no endpoint") as caught:
        S3Settings(endpoint=endpoint)
    assert "http://HOST:PORT" in caught.value.remedy


def test_settings_out_of_range_are_told() -> None:
    with pytest.raises(SpecInvalidError, match="max_attempts"):
        S3Settings(max_attempts=0)
