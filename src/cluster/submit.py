"""Submits a job to the cluster, shows how it goes, and fetches the results.

    python3 submit.py --nats HOST --data PLACE word_count.py texts/*.txt > counts.tsv

PLACE is what the workers were given: a folder that all machines see, where the inputs have to be under the same path on
all of them; or `nats`, for the object store, into which the inputs are copied. Ctrl-C removes the job.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from kit import bus, progress, submission
from kit.data import Piece
from kit.job import Job
from kit.progress import Progress
from kit.submission import Unusable


class FolderFiles:
    """The job's files in a folder that all machines see."""

    def __init__(self, root: Path, job_id: str) -> None:
        self.root, self.job_id = root, job_id

    async def put_job(self, job: Job, tasks: list[list[Piece]]) -> list[list[Piece]]:
        """Puts there what the workers need; returns the tasks with the names that they know."""
        job.save(self.root / self.job_id)
        return tasks

    async def fetch(self, names: list[str], folder: Path) -> list[Path]:
        """Copies results into a folder."""
        return [Path(shutil.copyfile(self.root / name, folder / str(at))) for at, name in enumerate(names)]

    async def remove(self) -> None:
        shutil.rmtree(self.root / self.job_id, ignore_errors=True)


class ObjectFiles:
    """The job's files in the object store."""

    def __init__(self, objects: bus.Objects, job_id: str, show: Progress) -> None:
        self.objects, self.job_id, self.show = objects, job_id, show

    async def put_job(self, job: Job, tasks: list[list[Piece]]) -> list[list[Piece]]:
        with tempfile.TemporaryDirectory(prefix="mapreduce-") as folder:
            job.save(Path(folder))
            file = Path(folder, "job.json")
            await self.objects.put(f"{self.job_id}/job.json", file, 0, file.stat().st_size)
        return [[await self.put_piece(piece, f"{self.job_id}/input-{task}-{at}") for at, piece in enumerate(pieces)]
                for task, pieces in enumerate(tasks)]  # fmt: skip

    async def put_piece(self, piece: Piece, name: str) -> Piece:
        """Copies the lines of a piece into an object of their own."""
        path, start, end = submission.line_range(piece)
        await self.objects.put(name, Path(path), start, end)
        return name, 0, end - start

    async def fetch(self, names: list[str], folder: Path) -> list[Path]:
        (folder / self.job_id).mkdir()
        return [await self.objects.fetch(name, folder) for name in names]

    async def remove(self) -> None:
        await self.objects.remove(self.job_id)


async def run(options: argparse.Namespace, folder: Path) -> list[Path]:
    """Runs the job; returns the files with the results, in that folder. Raises Unusable, also where the job fails."""
    sizes = submission.input_sizes(options.inputs)
    job_id = submission.new_job_id(options.module)
    show = Progress(options.quiet)
    async with bus.client(options, "admin") as (client, connection):
        workers = (await client.ask("status"))["workers"]["healthy"]
        partitions = options.reduces or max(1, workers)
        tasks = submission.chunks(sizes, max(1, workers), options.chunk_mb)
        job = submission.make_job(options, job_id, len(tasks), partitions)
        files: FolderFiles | ObjectFiles
        if options.data == "nats":
            objects = bus.Objects(await connection.jetstream(timeout=10).object_store(bus.DATA))
            files = ObjectFiles(objects, job_id, show)
        else:
            files = FolderFiles(Path(options.data).resolve(), job_id)
        is_submitted = False
        try:
            tasks = await files.put_job(job, tasks)
            is_submitted = True
            await submission.submit(client, options, job_id, tasks, partitions)
            result = await progress.watch(client, job_id, show)
            if result.get("state") != "completed":
                raise Unusable(progress.failure(result))
            names = list(submission.output_names(result["outputs"]))
            results = await files.fetch(names, folder)
            if not options.quiet:
                progress.report(result, {}, show)
            return results
        finally:
            show.end()
            if is_submitted:
                await client.ask("remove_job", job_id=job_id)
            await files.remove()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Submits a job to the cluster (see README.md).")
    bus.add_options(parser)
    submission.add_options(parser)
    parser.add_argument("--data", metavar="PLACE", required=True, help="the folder that all machines see, or `nats`")
    parser.add_argument("--name", default="submitter", help="its user, of its own among those that run at one time")
    options = parser.parse_args()
    sys.exit(asyncio.run(submission.main("submit.py", options, lambda folder: run(options, folder))))
