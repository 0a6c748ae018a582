"""A job: the user's module, and the folder that holds what the job needs and makes.

    ROOT/JOB/job.json              the module's text, and how it is to be run
    ROOT/JOB/TASK.ATTEMPT-PROCESS  an output: written aside, then renamed, so that it is whole or not there

Names in a message may come from anybody. None of them leaves its folder.
"""

import json
import re
import sys
import tempfile
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from kit import data

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", re.ASCII)


def check_name(name: str) -> str:
    """Returns a name that is safe as a file's. Raises ValueError for any other."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{name!r:.100} is not a name: use up to 200 letters, digits and ._- (first _, letter or digit)"
        )
    return name


@dataclass
class Job:
    """What a worker has to know of a job beyond its tasks."""

    source: str  # The text of the user's module,
    path: str  # and where it was, for its error messages and for what it imports.
    partitions: int
    memory: int  # Bytes that a map may use to sort.
    fail_once: str | None = None  # A task whose first attempt fails, for a demonstration.

    @staticmethod
    def load(folder: Path) -> "Job":
        return Job(**json.loads((folder / "job.json").read_bytes()))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with written_aside(folder / "job.json") as file:
            file.write(json.dumps(asdict(self)).encode())

    def module(self) -> "Module":
        return Module(self.source, self.path)


class FunctionMissing(Exception):
    """A module lacks a function; the text says which."""


class Module:
    """The user's functions. Raises what the module raises when it is run, and FunctionMissing."""

    def __init__(self, source: str, path: str) -> None:
        module = types.ModuleType(Path(path).stem)
        module.__file__ = path
        folder = str(Path(path).parent)
        if folder not in sys.path:
            sys.path.append(folder)
        sys.modules.setdefault(module.__name__, module)
        exec(compile(source, path, "exec"), module.__dict__)
        for name in "map", "reduce", "combine", "partition":
            function = getattr(module, name, None)
            if not callable(function) and (function is not None or name in ("map", "reduce")):
                raise FunctionMissing(f"{path} has no function {name}")
        self.map, self.reduce = module.map, module.reduce
        self.combine = getattr(module, "combine", None)
        self.partition = getattr(module, "partition", None) or data.partition_of
        self.module = module

    def take_counters(self) -> dict[str, int]:
        """Returns the user's own counters, a dictionary `counters` of the module, and starts them again."""
        counters = getattr(self.module, "counters", None)
        if not isinstance(counters, dict):
            return {}
        taken = {str(name): int(count) for name, count in counters.items()}
        counters.clear()
        return taken


@contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which gets its name when it is complete, and is removed if there is an error."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".aside-")
    aside = Path(name)
    try:
        with open(descriptor, "wb", buffering=1 << 20) as file:
            yield file
        aside.rename(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
