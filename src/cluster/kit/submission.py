"""From a command line to a job: the user's options, the chunks of the input, and the results."""

import argparse
import asyncio
import math
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from kit import data
from kit.client import Client, stop_on_signals
from kit.data import Piece, Section
from kit.job import Job, check_name

CHUNK_BYTES = 128 << 20  # At most; less where there would be too few chunks for the workers.
LEAST_BYTES = 8 << 20  # At least, where there is so much: each map sorts and writes all of its different keys.
CHUNKS_PER_WORKER = 4
MEMORY_MB = 256
TASK = Path(__file__).parent.parent / "task.py"
ESCAPED = re.compile(r"[\t\n\r]")
ESCAPES = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Unusable(Exception):
    """What the user asks for cannot be done; the text says why."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("module", help="a Python file with map(lines) and reduce(key, values)")
    parser.add_argument("inputs", nargs="+", metavar="input", help="text files; folders stand for the files in them")
    parser.add_argument("--output", metavar="FOLDER", help="where to put the results, as JSON lines (default: stdout)")
    parser.add_argument("--reduces", type=at_least(1), metavar="N", help="number of reduce tasks (default: of workers)")
    parser.add_argument("--chunk-mb", type=positive, metavar="N", help="megabytes of input for a map task, at most")
    parser.add_argument(
        "--memory-mb", type=at_least(1), default=MEMORY_MB, metavar="N", help="for sorting, of each worker"
    )
    parser.add_argument("--skip", type=at_least(0), default=0, metavar="N", help="tasks that may fail before the job does")
    parser.add_argument("--task-timeout", type=positive, metavar="S", help="seconds after which an attempt has failed")
    parser.add_argument("--fail-map", action="store_true", help="let a map fail once, to see what happens")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def at_least(least: int) -> Callable[[str], int]:
    """Returns what argparse reads such an integer with."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be an integer from {least} on, not {text!r}")
        return int(text)

    return read


def positive(text: str) -> float:
    """Reads a positive number for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < 1e12:
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return number


def input_sizes(names: list[str]) -> dict[str, int]:
    """Returns the absolute names of all input files, with their sizes. Raises Unusable."""
    sizes = {}
    for name in names:
        path = Path(name)
        try:
            mode = path.stat().st_mode
            files = sorted(path.iterdir()) if stat.S_ISDIR(mode) else [path]
            for file in files:
                status = file.stat()
                if stat.S_ISREG(status.st_mode) and (file == path or not file.name.startswith((".", "_"))):
                    open(file, "rb").close()
                    sizes[str(file.resolve())] = status.st_size
                elif file == path:
                    raise Unusable(f"{name} is not a regular file")
        except OSError as error:
            raise Unusable(f"{error.filename}: {error.strerror}") from None
    return sizes


def chunks(sizes: dict[str, int], workers: int, chunk_mb: float | None) -> list[list[Piece]]:
    """Returns the input of each map task."""
    at_most = int(chunk_mb * (1 << 20)) if chunk_mb else CHUNK_BYTES
    fair = sum(sizes.values()) // (workers * CHUNKS_PER_WORKER) + 1
    return data.cut(sizes, max(1, min(at_most, max(fair, LEAST_BYTES))))


def line_range(piece: Piece) -> Piece:
    """Returns the range of the lines that belong to a piece."""
    name, start, end = piece
    with open(name, "rb", buffering=0) as file:
        return name, *data.line_range(file, start, end)


def make_job(options: argparse.Namespace, job_id: str, maps: int, partitions: int) -> Job:
    """Returns the job with the user's module. Raises Unusable where Python refuses it."""
    path = str(Path(options.module).resolve())
    try:
        source = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Unusable(f"{options.module}: {getattr(error, 'strerror', error)}") from None
    check = subprocess.run([sys.executable, str(TASK), "--check", path], stdin=subprocess.DEVNULL, stdout=2)
    if check.returncode:
        raise Unusable(f"{options.module} cannot be used")
    fail_once = map_id(job_id, maps - 1) if options.fail_map else None
    return Job(source, path, partitions, options.memory_mb << 20, fail_once)


def new_job_id(module: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9_]", "_", Path(module).stem)[:40] or "job"
    return check_name(f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}")


def map_id(job_id: str, number: int) -> str:
    return f"{job_id}-map-{number}"


async def submit(
    client: Client, options: argparse.Namespace, job_id: str, tasks: list[list[Piece]], partitions: int
) -> None:
    """Submits the job. Raises Unusable where the master refuses it."""
    reply = await client.ask("submit_job", **request(options, job_id, tasks, partitions))
    if reply["type"] == "error":
        raise Unusable(f"the job was refused: {reply['text']}")


def request(options: argparse.Namespace, job_id: str, tasks: list[list[Piece]], partitions: int) -> dict[str, Any]:
    """Returns the fields of `submit_job`. Outputs are where all see them, and so survive their worker."""
    fields: dict[str, Any] = {
        "job_id": job_id,
        "tasks": [{"id": map_id(job_id, number), "chunk": chunk} for number, chunk in enumerate(tasks)],
        "reduce_tasks": partitions,
        "map_output": "shared",
        "max_skipped": options.skip,
    }
    if options.task_timeout:
        fields["task_timeout_ms"] = int(1000 * options.task_timeout)
    return fields


def output_names(outputs: list) -> Iterator[str]:
    """Yields the names of the files with the results, relative to the root. A skipped or empty part has none."""
    return (output[0] for output in outputs if output is not None)


def print_results(files: list[Path], to: BinaryIO) -> None:
    """Writes all results, sorted by key: a line `key<TAB>value` each.

    A string is written as it is, with tabs and line ends escaped (`\\t`, `\\n`, `\\r`); anything else as JSON. Raises
    Unusable.
    """
    sections = [Section(str(file), 0, file.stat().st_size) for file in files]
    records = data.merge(sections, files[0].parent if files else Path())
    lines = (f"{plain(key)}\t{plain(value)}\n".encode("utf-8", "surrogateescape") for key, value in records)
    try:
        while block := b"".join(islice(lines, 10_000)):
            to.write(block)
    except TypeError as error:
        raise Unusable(f"keys of several types cannot be sorted, use --output: {error}") from None
    to.flush()


def plain(value: Any) -> str:
    if type(value) is str:
        return value.translate(ESCAPES) if ESCAPED.search(value) else value
    return str(value) if type(value) is int else data.to_json(value)


class OutputFolder:
    """The folder for the results, made aside, which gets its name when it is complete. Raises Unusable."""

    def __init__(self, name: str) -> None:
        self.path = Path(name).absolute()
        self.aside = self.path.with_name(f".{self.path.name}.{os.urandom(4).hex()}")
        self.work = self.aside / "work"
        if os.path.lexists(self.path):
            raise Unusable(f"{name} already exists")
        try:
            self.aside.mkdir()
            self.work.mkdir()
        except OSError as error:
            raise Unusable(f"{name} cannot be made: {error.strerror}") from None

    def keep(self, files: list[Path]) -> None:
        """Moves the results there, a file for each reduce that has any."""
        for number, file in enumerate(files):
            shutil.move(file, self.aside / f"part-{number:05}.jsonl")
        shutil.rmtree(self.work)
        self.aside.rename(self.path)

    def remove(self) -> None:
        """Removes what is not complete."""
        shutil.rmtree(self.aside, ignore_errors=True)


async def main(program: str, options: argparse.Namespace, run: Callable[[Path], Awaitable[list[Path]]]) -> int:
    """Runs a job, and puts its results where the user wants them.

    `run` is given a folder, and returns the files with the results. Returns the exit status: 1 where the job cannot be
    done, 130 where it was interrupted.
    """
    stop_on_signals()
    output, folder = None, None
    try:
        if options.output:
            output = OutputFolder(options.output)
            folder = output.work
        else:
            folder = Path(tempfile.mkdtemp(prefix="mapreduce-"))
        files = await run(folder)
        if output:
            output.keep(files)
        else:
            print_results(files, sys.stdout.buffer)
    except BrokenPipeError:  # Such as `| head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Unusable, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        print(f"{program}: interrupted; nothing was kept", file=sys.stderr)
        return 130
    finally:
        if output:
            output.remove()
        elif folder:
            shutil.rmtree(folder, ignore_errors=True)
    return 0
