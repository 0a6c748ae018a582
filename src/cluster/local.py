"""Runs a job on this machine: a master, as many workers as there are cores, and a monitor.

    python3 local.py word_count.py big.txt > counts.tsv

Needs Rust and Python 3.11 or later, and nothing to install: the master is built where that was not done yet.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

from kit import progress, submission
from kit.client import Client
from kit.progress import Progress
from kit.submission import Unusable
from monitor import Monitor

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
ME = "local"
MASTER = "master"
RESTARTS = 10  # Of workers, in a run; after that something is wrong with them, and not with a task.
PIPE = asyncio.subprocess.PIPE
LINE_LIMIT = 1 << 30
T = TypeVar("T")


def build_master() -> Path:
    """Returns the built binary; builds it where it is missing or older than its source."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target"))
    binary = target / "release" / "mapreduce-master"
    sources = [PROJECT / "Cargo.toml", PROJECT / "Cargo.lock", *(PROJECT / "src").rglob("*.rs")]
    if not binary.exists() or binary.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        print("building the master: cargo build --release", file=sys.stderr, flush=True)
        try:
            subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=PROJECT, check=True, stdout=sys.stderr)
        except FileNotFoundError:
            raise Unusable("cargo was not found: install Rust (https://rustup.rs), or give --master") from None
        except subprocess.CalledProcessError:
            raise Unusable("the master could not be built") from None
        os.utime(binary)  # Cargo leaves a binary alone whose sources were only touched.
    return binary


class LocalCluster:
    """The processes, and the messages between them."""

    def __init__(self, master: Path, workers: int, folder: Path, show: Progress, kill_worker: bool) -> None:
        self.master_path, self.folder, self.show = master, folder, show
        self.names = [f"w{number + 1}" for number in range(workers)]
        self.client = Client(self.send)
        self.workers: dict[str, asyncio.subprocess.Process] = {}
        self.is_one_to_be_killed = kill_worker
        self.restarts = 0
        self.processes: list[asyncio.subprocess.Process] = []
        self.background: list[asyncio.Task] = []

    async def start(self) -> None:
        self.master = await self.start_process([str(self.master_path), "--quiet"])
        self.run_beside(self.carry_replies())
        self.run_beside(self.pass_on_log(MASTER, self.master))
        for name in self.names:
            self.run_beside(self.keep_worker(name))
        self.run_beside(Monitor(self.client, say=self.show.say).run())

    def run_beside(self, work: Coroutine) -> None:
        self.background.append(asyncio.create_task(work))

    async def until_done(self, work: Coroutine[None, None, T]) -> T:
        """Returns what `work` returns. Raises what goes wrong with the cluster meanwhile."""
        working = asyncio.create_task(work)
        self.background.append(working)
        while not working.done():
            ended, _ = await asyncio.wait(self.background, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
            self.background = [task for task in self.background if not task.done()]
        return working.result()

    async def start_process(self, command: list[str]) -> asyncio.subprocess.Process:
        """Starts a process in a group of its own, so that it and its children can be ended, and not by Ctrl-C."""
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=LINE_LIMIT, start_new_session=True
        )
        self.processes.append(process)
        return process

    async def keep_worker(self, name: str) -> None:
        """Starts a worker, carries its requests, and starts it again if it ends."""
        command = [sys.executable, str(HERE / "worker.py"), name, "--data", str(self.folder)]
        while True:
            worker = self.workers[name] = await self.start_process([*command, "--scratch", str(self.folder)])
            await asyncio.gather(self.carry_requests(worker), self.pass_on_log(name, worker))
            status = await worker.wait()
            kill_group(worker)  # The process that ran its task.
            self.processes.remove(worker)
            self.show.say(f"{name} ended, {status_text(status)}; it is started again")
            self.restarts += 1
            if self.restarts > RESTARTS:
                raise Unusable("the workers end again and again")

    async def carry_requests(self, worker: asyncio.subprocess.Process) -> None:
        assert worker.stdout
        async for line in worker.stdout:
            if line.endswith(b"\n"):  # What a killed worker was about to say is not a message.
                self.write(self.master, line)

    async def carry_replies(self) -> None:
        assert self.master.stdout
        async for line in self.master.stdout:
            message = json.loads(line)
            body, dest = message.get("body", message), message.get("dest", ME)
            if dest in self.workers:
                self.write(self.workers[dest], line)
                if self.is_one_to_be_killed and body["type"] == "task_assigned":
                    self.is_one_to_be_killed = False
                    self.show.say(f"{dest} is killed with {body['task']['id']} in its hands")
                    kill_group(self.workers[dest])
            else:
                self.client.hear(body)
        raise Unusable(f"the master ended, {status_text(await self.master.wait())}")

    async def pass_on_log(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stderr
        async for line in process.stderr:
            text = line.decode("utf-8", "backslashreplace").rstrip()
            self.show.say(text if text.startswith(f"{name}:") else f"{name}: {text}")

    async def send(self, body: dict) -> None:
        self.write(self.master, json.dumps({"src": ME, "dest": MASTER, "body": body}).encode() + b"\n")

    def write(self, process: asyncio.subprocess.Process, line: bytes) -> None:
        if process.returncode is None and process.stdin:
            process.stdin.write(line)

    async def stop(self) -> None:
        """Ends all processes."""
        for task in self.background:
            task.cancel()
        for process in self.processes:
            kill_group(process)
        if self.background:
            await asyncio.wait(self.background, timeout=5)
        for process in self.processes:
            try:
                async with asyncio.timeout(5):  # What a user's code started on its own may hold its pipes open.
                    await process.communicate()
            except (TimeoutError, OSError, RuntimeError):
                pass


def kill_group(process: asyncio.subprocess.Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def status_text(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"


async def run(options: argparse.Namespace, folder: Path) -> list[Path]:
    """Runs the job in that folder; returns the files with the results. Raises Unusable, also where the job fails."""
    sizes = submission.input_sizes(options.inputs)
    partitions = options.reduces or options.workers
    job_id = submission.new_job_id(options.module)
    tasks = submission.chunks(sizes, options.workers, options.chunk_mb)
    submission.make_job(options, job_id, len(tasks), partitions).save(folder / job_id)
    master = Path(options.master).resolve() if options.master else build_master()

    show = Progress(options.quiet)
    cluster = LocalCluster(master, options.workers, folder, show, options.kill_worker)

    async def work() -> tuple[dict, dict]:
        await cluster.client.ask("init", node_id=MASTER, node_ids=[MASTER])
        await submission.submit(cluster.client, options, job_id, tasks, partitions)
        job = await progress.watch(cluster.client, job_id, show)
        return job, await cluster.client.ask("status")

    try:
        await cluster.start()
        job, status = await cluster.until_done(work())
    finally:
        await cluster.stop()
        show.end()
    if job.get("state") != "completed":
        raise Unusable(progress.failure(job))
    if not options.quiet:
        progress.report(job, status["attempts"], show)
    return [folder / name for name in submission.output_names(job["outputs"])]


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        sys.exit("local.py: needs Python 3.11 or later")
    parser = argparse.ArgumentParser(description="Runs a job on this machine (see README.md).")
    submission.add_options(parser)
    parser.add_argument("--workers", type=submission.at_least(1), default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--master", metavar="FILE", help="the built master (default: cargo builds it)")
    parser.add_argument("--kill-worker", action="store_true", help="kill a worker once, to see what happens")
    options = parser.parse_args()
    sys.exit(asyncio.run(submission.main("local.py", options, lambda folder: run(options, folder))))
