"""The lock holds, for each Python and kind of machine, one version of all that is needed, and they fit each other."""

import re
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.documents import ROOT, tomllib

pytestmark = pytest.mark.unit

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
MACHINES = {
    "Linux x86-64": {"platform_system": "Linux", "sys_platform": "linux", "platform_machine": "x86_64"},
    "Linux aarch64": {"platform_system": "Linux", "sys_platform": "linux", "platform_machine": "aarch64"},
    "macOS arm64": {"platform_system": "Darwin", "sys_platform": "darwin", "platform_machine": "arm64"},
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def environment(python, machine="Linux x86-64"):
    """What markers see there."""
    return default_environment() | MACHINES[machine] | {"python_version": python, "python_full_version": f"{python}.9"}


def requirements(name):
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def fits(requirement, where):
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""} | where)


def locked(where, name="requirements.lock"):
    """The version of each package, there; no package may have two."""
    versions = {}
    for requirement in (each for each in requirements(name) if fits(each, where)):
        exact = re.fullmatch(r"==([\w.]+)", str(requirement.specifier))
        package = canonicalize_name(requirement.name)
        assert exact, f"{requirement}: not one version"
        assert package not in versions, f"{package}: two versions"
        versions[package] = exact[1]
    return versions


def unmet(needed, versions, where):
    """Of requirements, with all that their extras ask for where those are installed here: what the lock does not meet."""
    for requirement in (each for each in needed if fits(each, where)):
        version = versions.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement}: {version or 'none'} in the lock"


def test_these_are_all_pythons_that_the_project_names():
    wanted = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}" in wanted] == PYTHONS
    said = [words.rpartition(" ")[2] for words in PROJECT["classifiers"] if ":: Python :: 3." in words]
    assert said == PYTHONS


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_what_the_project_asks_for(python, machine):
    where = environment(python, machine)
    versions = locked(where)
    locked(where, "requirements.cuda.lock")
    assert not list(unmet(requirements("requirements.in"), versions, where))
    asked = [Requirement(line) for line in PROJECT["dependencies"]]
    assert not list(unmet(asked, versions, where))
    assert ("ppq" in versions) == (python != "3.13")


@pytest.mark.parametrize("python", PYTHONS)
def test_what_is_locked_fits_together(python):
    """Of each package that is here in the version that is locked there, all that it asks for is locked, and it runs there."""
    where = environment(python)
    versions = locked(where)
    with_torch_s = versions | locked(where, "requirements.cuda.lock")
    tried = 0
    for name, version in versions.items():
        try:
            here = distribution(name)
        except PackageNotFoundError:
            continue
        if here.version.partition("+")[0] != version:
            continue
        tried += 1
        assert f"{python}.9" in SpecifierSet(here.metadata.get("Requires-Python") or ""), name
        needed = [Requirement(line) for line in here.requires or ()]
        # torch's CUDA build asks for its toolkit by extras, and says so in full below those.
        assert not list(unmet(needed, with_torch_s, where)), name
    assert tried > 0.8 * len(versions), "this environment is not that of the lock"


def test_the_lock_has_no_package_that_nothing_asks_for():
    names = {canonicalize_name(requirement.name) for requirement in requirements("requirements.lock")}
    asked = {canonicalize_name(requirement.name) for requirement in requirements("requirements.in")}
    for name in names:
        try:
            needed = [Requirement(line) for line in distribution(name).requires or ()]
        except PackageNotFoundError:
            continue
        asked |= {canonicalize_name(requirement.name) for requirement in needed}
    elsewhere = {  # of what is not here: which package, on which Python, asks for it
        "async-timeout": "aiohttp",
        "exceptiongroup": "pytest",
        "tomli": "pytest",
        "ml-dtypes": "onnx",
        "importlib-metadata": "dask",
        "lazy-importer": "importlib_metadata",
        "zipp": "importlib_metadata",
        "coloredlogs": "onnxruntime",
        "humanfriendly": "coloredlogs",
    }
    assert names - asked <= set(elsewhere)
