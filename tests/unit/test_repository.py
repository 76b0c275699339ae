"""The repository's own rules: what a reviewer would otherwise have to look for in every change."""

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FILE = 400  # lines; a longer file holds more than one idea

# Directories of somebody's own machine, and the hosts of package registries: both differ from place to place.
MACHINE_PATH = re.compile(r"(?<![\w.-])/(?:work|farm|root)(?![\w.-])|(?<![\w.-])/tmp/(?:lab|helper|bash)")
REGISTRY_HOST = re.compile(
    r"\b(?:pypi\.org|files\.pythonhosted\.org|proxy\.golang\.org|registry\.npmjs\.org|registry\.yarnpkg\.com"
    r"|(?:deb|security)\.debian\.org|archive\.ubuntu\.com)"
)
LOCKS = {"dev": ("dev", "operator", "trainer"), "operator": ("operator",), "trainer": ("trainer",)}
# name==version, perhaps with a marker: no option, no URL, no path
PIN = re.compile(r"[a-z0-9][a-z0-9-]*==[A-Za-z0-9.!+]+(?: ; [A-Za-z0-9_.'<>=!() ]+)?")
EXACT = re.compile(r"([a-z0-9-]+)==(\S+)")


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that git tracks and that is there; `safe.directory`, because CI may run as another user."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    files = tuple(path for name in listing.split("\0") if name and (path := ROOT / name).is_file())
    assert files, "git lists no file"
    return files


def text_of(path: Path) -> str | None:
    """The file's text, None where it is not text."""
    data = path.read_bytes()
    return None if b"\0" in data else data.decode(errors="replace")


def offences(pattern: re.Pattern[str]) -> list[str]:
    """Each match in a tracked text file as path:line: match."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {match.group()}"
        for path in tracked()
        for number, line in enumerate((text_of(path) or "").splitlines(), start=1)
        for match in pattern.finditer(line)
    ]


def project() -> dict[str, list[str]]:
    """pyproject.toml's requirements by extra; the package's own under the empty name."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


def lock(name: str) -> list[str]:
    return (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()


def phony_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text()
    return {name for names in re.findall(r"^\.PHONY:(.*)$", makefile, re.MULTILINE) for name in names.split()}


def test_no_source_file_is_too_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in tracked()
        if path.suffix in {".py", ".sh"}
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_tracked_file_names_a_machine_path() -> None:
    assert offences(MACHINE_PATH) == []


def test_no_tracked_file_names_a_registry_host() -> None:
    assert offences(REGISTRY_HOST) == []


@pytest.mark.parametrize("line", ["open('/" + "work/x')", "cd /" + "root", "(/" + "farm/)"])
def test_machine_path_is_caught(line: str) -> None:
    assert MACHINE_PATH.search(line)


@pytest.mark.parametrize(
    "line", ["the artifact/" + "work of art", "s3://bucket/" + "root/x", "/" + "workspace"]
)
def test_other_path_is_not_taken_for_a_machine_path(line: str) -> None:
    assert not MACHINE_PATH.search(line)


def test_registry_host_is_caught() -> None:
    assert REGISTRY_HOST.search("https://" + "pypi" + ".org/simple")


def test_operator_directory_does_not_hide_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_every_dependency_has_a_lower_bound_and_a_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    for requirement in {text for group in project().values() for text in group}:
        beside = [line for line in lines if line.strip().startswith(f'"{requirement}"')]
        assert beside, f"{requirement}: not on a line of its own"
        assert ">=" in requirement, f"{requirement}: no lower bound"
        for line in beside:
            assert re.search(r",\s+# \S.{2,}", line), f"{requirement}: no reason in a comment beside it"


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_pins_alone(name: str) -> None:
    assert lock(name), "an empty lock"
    assert [line for line in lock(name) if not PIN.fullmatch(line)] == []


@pytest.mark.parametrize(("name", "extras"), LOCKS.items())
def test_lock_satisfies_pyproject(name: str, extras: tuple[str, ...]) -> None:
    pins: dict[str, list[str]] = {}
    for line in lock(name):
        if match := EXACT.match(line):
            pins.setdefault(match[1], []).append(match[2])
    for extra in ("", *extras):
        for requirement in map(Requirement, project()[extra]):
            versions = pins.get(canonicalize_name(requirement.name), [])
            assert versions, f"{requirement} is not in {name}.txt: run `make lock`"
            for version in versions:
                assert requirement.specifier.contains(version), f"{requirement}: {name}.txt pins {version}"


@pytest.mark.parametrize("part", ["operator", "trainer"])
def test_partial_lock_has_the_pins_of_the_whole(part: str) -> None:
    assert set(lock(part)) - set(lock("dev")) == set()


def test_operator_lock_is_free_of_torch() -> None:
    assert [line for line in lock("operator") if re.match(r"(torch|funasr|nvidia-\w+|boto3)\b", line)] == []


def test_every_phony_target_is_in_the_help() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    helped = set(re.findall(r"^  ([a-z0-9-]+) +\S", shown, re.MULTILINE))
    assert helped == phony_targets()


def test_every_make_command_in_the_documents_is_a_target() -> None:
    named = {
        (str(path.relative_to(ROOT)), target)
        for path in tracked()
        if path.suffix == ".md"
        for target in re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", path.read_text(), re.MULTILINE)
    }
    assert {("README.md", "demo"), ("README.md", "test")} <= named
    assert {(file, target) for file, target in named if target not in phony_targets()} == set()


def test_every_link_between_documents_leads_somewhere() -> None:
    links = [
        (path, link)
        for path in tracked()
        if path.suffix == ".md"
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
        if not re.match(r"[a-z]+:", link)
    ]
    dead = [f"{path.relative_to(ROOT)}: {link}" for path, link in links if not (path.parent / link).exists()]
    assert dead == []


def test_every_decision_is_in_the_index() -> None:
    directory = ROOT / "docs" / "decisions"
    index = (directory / "README.md").read_text()
    pages = sorted(path.name for path in directory.glob("[0-9]*.md"))
    assert pages
    assert [page for page in pages if f"({page})" not in index] == []
    assert [page[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
