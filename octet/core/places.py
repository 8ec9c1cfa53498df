"""Where files may lie that an entry of params.yaml names and that are code, so that DVC sees them change; how paths are told."""

from __future__ import annotations

from pathlib import Path

CONFIGS = Path("configs/models")


def is_file(path: Path) -> bool:
    """Is there such a file? There is none, either, whose name the operating system does not take."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_outside(config: str | Path, root: Path = Path()) -> bool:
    """Is it a file, and not in configs/models?

    Args:
        config: A file, from the project's folder.
        root: That folder.
    """
    path = root / config
    return is_file(path) and not path.resolve().is_relative_to((root / CONFIGS).resolve())


def config_problem(config: str, root: Path = Path()) -> str | None:
    """What is wrong with the place of a config, which is code: « lies outside configs/models, … »; None: nothing.

    >>> config_problem("../../net.py").partition(",")[0]
    '../../net.py: leads out of configs/models'
    >>> config_problem("resnet/resnet18_8xb16_cifar10.py")

    Args:
        config: What an entry has: a file, or a name in mmcls's zoo.
        root: The project's folder.
    """
    if is_outside(config, root):
        return f"{config}: lies outside {CONFIGS}, where DVC sees that a config changes; move it there, with what it inherits"
    if ".." in Path(config).parts and not is_file(root / config):  # nor does a name lead out of mmcls's zoo
        return f"{config}: leads out of {CONFIGS}, and is no name in mmcls's zoo; move it there, with what it inherits"
    return None


def config_files(config: str | Path, root: Path = Path()) -> list[Path]:
    """The files in configs/models that a config can be made of: all that begin as it does, and as one of them names, and so on.

    So what belongs to other models alone is left out. A file begins as its name up to the first dot; what is in a folder, as
    the folder. A short name is found in much text, which is no harm.

    Args:
        config: A file, or a name in mmcls's zoo, which is made of none.
        root: The project's folder.
    """
    path, configs = root / config, root / CONFIGS
    if not path.is_file() or is_outside(config, root):
        return []
    groups: dict[str, list[Path]] = {}
    for file in configs.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            groups.setdefault(_beginning(file, configs), []).append(file)
    belonging, todo = set[str](), {_beginning(path.resolve(), configs.resolve())}
    while todo:
        belonging |= todo
        text = b"\n".join(file.read_bytes() for name in todo for file in groups.get(name, []))
        todo = {name for name in groups if name.encode() in text} - belonging
    return sorted(file for name in belonging for file in groups.get(name, []))


def _beginning(file: Path, folder: Path) -> str:
    return file.relative_to(folder).parts[0].partition(".")[0]


def from_here(path: Path) -> Path:
    """The path from the current folder, where it lies in there; else as it is.

    >>> from_here(Path.cwd() / "configs").as_posix(), from_here(Path("/elsewhere/net.py")).as_posix()
    ('configs', '/elsewhere/net.py')
    """
    here = Path.cwd()
    return path.absolute().relative_to(here) if path.absolute().is_relative_to(here) else path
