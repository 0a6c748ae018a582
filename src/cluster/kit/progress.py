"""What people see of a job while it runs."""

import asyncio
import os
import sys
import time

from kit.client import Client

LOOK_S = 0.25  # How often the master is asked,
LINE_S = 10.0  # and how often a line is written where it cannot be redrawn.


class Progress:
    """A line on stderr, redrawn on a terminal, and a line every so often elsewhere."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.is_terminal = sys.stderr.isatty()
        self.started = time.monotonic()
        self.written = self.started
        self.line = ""

    def say(self, text: str) -> None:
        """Writes a line that stays."""
        self.erase()
        print(text, file=sys.stderr, flush=True)
        self.draw()

    def show(self, job: dict, status: dict) -> None:
        """Shows the job, by the replies to `job_status` and `status`."""
        if self.quiet:
            return
        workers, counters = status["workers"], job.get("counters", {})
        parts = [f"{self.seconds():6.1f} s", *(f"{kind}s {done(job[kind])}" for kind in ("map", "reduce"))]
        parts.append(f"running {job['map']['running'] + job['reduce']['running']}")
        parts.append(f"workers {workers['healthy']}" + (f", {workers['failed']} failed" if workers["failed"] else ""))
        parts += [f"{count:,} {name.replace('_', ' ')}" for name, count in counters.items() if "records_read" in name]
        self.line = "  ".join(parts)
        if self.is_terminal:
            self.erase()
            self.draw()
        elif time.monotonic() - self.written >= LINE_S:
            self.written = time.monotonic()
            print(self.line, file=sys.stderr, flush=True)

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def draw(self) -> None:
        if self.is_terminal and self.line:
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            sys.stderr.write(self.line[: width - 1])
            sys.stderr.flush()

    def erase(self) -> None:
        if self.is_terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def end(self) -> None:
        self.erase()
        self.line = ""


def done(tasks: dict) -> str:
    finished = tasks["completed"] + tasks["skipped"]
    return f"{finished}/{sum(tasks.values())}"


async def watch(client: Client, job_id: str, progress: Progress) -> dict:
    """Shows a job until it has ended; returns the last `job_status_ok`, or the error that the master answers."""
    while True:
        job = await client.ask("job_status", job_id=job_id)
        if job["type"] != "job_status_ok" or job["state"] != "running":
            return job
        progress.show(job, await client.ask("status"))
        await asyncio.sleep(LOOK_S)


def report(job: dict, attempts: dict, progress: Progress) -> None:
    """Says how a completed job went. `attempts` are those of `status`, where they were all this job's."""
    parts = [plural(sum(job[kind].values()), kind) for kind in ("map", "reduce")]
    parts += [f"{plural(attempts[name], 'attempt')} {name}" for name in ("failed", "lost") if attempts.get(name)]
    parts += [plural(attempts["speculative"], "backup task")] if attempts.get("speculative") else []
    parts += [f"{plural(len(job['skipped']), 'task')} skipped"] if job.get("skipped") else []
    progress.say(f"completed in {progress.seconds():.1f} s: {', '.join(parts)}")
    if job.get("counters"):
        progress.say("".join(f"\n  {name} {count:,}" for name, count in job["counters"].items())[1:])


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def failure(job: dict) -> str:
    """Says why a job did not complete."""
    if job["type"] == "error":
        return f"the job is gone: {job.get('text')}"
    task = f" with task {job['failed_task']}" if "failed_task" in job else ""
    return f"the job failed{task}: {job.get('error')}"
