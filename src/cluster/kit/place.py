"""Where the data of jobs are: a folder that all machines see, or the object store of the cluster (bus.py)."""

from pathlib import Path
from typing import Any, Protocol


class Place(Protocol):
    """Runs a task in a process that sees only files, with its inputs there, and puts the output where others see it."""

    async def run(self, process: Any, task: dict, scratch: str, suffix: str) -> dict:
        """Returns `{output, counters}` or `{error, lost_inputs?}`."""
        ...


class Folder:
    """A folder on this machine, or one that all machines see under any path."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def run(self, process: Any, task: dict, scratch: str, suffix: str) -> dict:
        return await process.run(task=task, root=str(self.root), scratch=scratch, process=suffix)
