"""Runs tasks, one after another, in a process of its own.

    python3 task.py                  a worker's child: a line of JSON in is a task to run, a line out is its result
    python3 task.py --check MODULE   only says whether a module can be used

User code may hang, crash, print, or leave by `exit`. Here it takes nobody else down: the worker that started this
process keeps sending heartbeats, kills it when its task is cancelled, and reports what became of it.
"""

import json
import os
import queue
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from kit import data
from kit.data import Piece, Section, Unreadable
from kit.job import FunctionMissing, Job, Module, check_name, written_aside

ERROR_LINES, ERROR_LENGTH = 12, 4000


class LostInputs(Exception):
    """The outputs of some maps cannot be read."""

    def __init__(self, inputs: list[dict], reason: Exception) -> None:
        super().__init__(f"{len(inputs)} of the inputs cannot be read: {reason}")
        self.inputs = [{"task_id": lost["task_id"], "attempt": lost["attempt"]} for lost in inputs]


class Runner:
    """Runs tasks; keeps the module of the job that it has seen last."""

    def __init__(self) -> None:
        self.loaded: tuple[Job, Module] | None = None

    def run(self, task: dict, root: str, scratch: str, process: str) -> dict:
        """Returns `{output, counters}`, or `{error, lost_inputs?}`.

        Relative file names in the task are relative to `root`. `scratch` is a folder for what does not fit into memory.
        `process` names this process: no two processes write the same file.
        """
        path = ""  # Of the user's module, once it is known.
        try:
            folder = Path(root, check_name(task["job_id"]))
            job = Job.load(folder)
            path = job.path
            return self.attempt(task, folder, job, Path(scratch), process)
        except LostInputs as error:
            return {"error": clean(str(error)), "lost_inputs": error.inputs}
        except BaseException as error:
            return {"error": clean(describe(error, path))}

    def module_of(self, job: Job) -> Module:
        if self.loaded is None or self.loaded[0] != job:
            self.loaded = job, job.module()
        module = self.loaded[1]
        module.take_counters()  # Those of an attempt that failed do not count.
        return module

    def attempt(self, task: dict, folder: Path, job: Job, scratch: Path, process: str) -> dict:
        module = self.module_of(job)
        if task["id"] == job.fail_once and task["attempt"] == 1:
            raise RuntimeError("this attempt fails for a demonstration")
        root, kind, counters = folder.parent, task["kind"], Counter[str]()
        name = f"{check_name(task['id'])}.{task['attempt']}-{process}"
        with written_aside(folder / name) as file:
            if kind == "map":
                pieces = [(str(root / name), start, end) for name, start, end in task["chunk"]]
                sections = run_map(pieces, job, module, file, scratch, counters)
            else:
                sections = [run_reduce(task["inputs"], job, module, file, root, scratch, counters)]
            counters["bytes_written"] = file.tell()
        output = [[f"{folder.name}/{name}", start, end] if start < end else None for _, start, end in sections]
        return {
            "output": output if kind == "map" else output[0],
            "counters": {f"{kind}_{name}": count for name, count in counters.items()} | module.take_counters(),
        }


def run_map(
    pieces: list[Piece], job: Job, module: Module, file: BinaryIO, scratch: Path, counters: Counter[str]
) -> list[Section]:
    """Writes a section of `file` for each partition."""
    sorter = data.Sorter(job.partitions, module.partition, module.combine, scratch, job.memory)
    sorter.add(module.map(data.lines_of(pieces, counters)))
    sections = sorter.finish(file)
    counters["records_written"] = sorter.records_written
    return sections


def run_reduce(
    inputs: list[dict], job: Job, module: Module, file: BinaryIO, root: Path, scratch: Path, counters: Counter[str]
) -> Section:
    """Writes `file`. Raises LostInputs where the outputs of some maps cannot be read."""
    sections = {}  # With the map that each of them is from.
    for map_output in inputs:
        if map_output["output"] is not None:
            name, start, end = map_output["output"]
            sections[Section(str(root / name), start, end)] = map_output
            counters["bytes_read"] += end - start
    check_all_are_there(sections)
    sorter = data.Sorter(1, lambda key, partitions: 0, None, scratch, job.memory)
    try:
        records = counted(data.merge(list(sections), scratch), counters)
        for key, values in data.groups_of(records):
            sorter.add(module.reduce(key, values))
    except Unreadable as error:
        raise LostInputs([sections[error.section]], error) from error
    [section] = sorter.finish(file)
    counters["records_written"] = sorter.records_written
    return section


def check_all_are_there(sections: dict[Section, dict]) -> None:
    """Raises LostInputs with everything that is missing, so that it can all be made again at once."""
    lost, reason = [], None
    for section, map_output in sections.items():
        try:
            size = os.stat(str(section.file)).st_size
            if size < section.end:
                raise EOFError(f"{section.file} has only {size} bytes")
        except (OSError, EOFError) as error:
            lost.append(map_output)
            reason = reason or error
    if reason:
        raise LostInputs(lost, reason)


def counted(records: Iterable[list], counters: Counter[str]) -> Iterator[list]:
    count = 0
    for record in records:
        count += 1
        yield record
    counters["records_read"] = count


def clean(error: str) -> str:
    """Returns the end of an error's text, with nothing in it that a JSON parser might not take."""
    text = error.encode("utf-8", "backslashreplace").decode()
    return "\n".join(text.rstrip().splitlines()[-ERROR_LINES:])[-ERROR_LENGTH:]


def describe(error: BaseException, path: str) -> str:
    """Returns an error as Python shows it, from where the user's module comes in, if it does."""
    frames = traceback.extract_tb(error.__traceback__)
    first = next((at for at, frame in enumerate(frames) if frame.filename == path), 0)
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames[first:])] if frames else []
    return "".join(lines + traceback.format_exception_only(error))


def check(path: str) -> int:
    """Says on stderr what is wrong with a module, if anything is."""
    try:
        Module(Path(path).read_text(encoding="utf-8"), path)
    except FunctionMissing as error:
        print(error, file=sys.stderr)
        return 1
    except BaseException as error:
        sys.stderr.write(describe(error, path))
        return 1
    return 0


def main() -> None:
    tasks, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # User code reads no tasks (`exit` closes stdin),
    os.dup2(2, 1)  # and what it prints is no result.
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in tasks:
            requests.put(line)
        os._exit(0)  # The worker is gone. Nobody waits for what is running now.

    threading.Thread(target=read, daemon=True).start()
    runner = Runner()
    while True:
        result = runner.run(**json.loads(requests.get()))
        sys.stdout.flush()
        results.write(json.dumps(result).encode() + b"\n")
        results.flush()


if __name__ == "__main__":
    sys.path.pop(0)  # A user's module may have a neighbour that is named like one of the files here.
    if sys.argv[1:2] == ["--check"]:
        sys.exit(check(sys.argv[2]))
    main()
