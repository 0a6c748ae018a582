"""A worker: asks the master for tasks, runs them, and reports.

    python3 worker.py NAME --data FOLDER                a line of JSON on stdin and stdout is a message, as in Maelstrom
    python3 worker.py NAME --data PLACE --nats HOST     over NATS (README.md); PLACE is a folder that all see, or `nats`

One task at a time: start as many workers as the machine has cores. What a worker knows of its tasks may be lost at any
time; the master then has others run them again.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from kit.client import Client, now_ms, stop_on_signals
from kit.place import Folder, Place

HEARTBEAT_S = 1.0
POLL_S, POLL_MAX_S = 0.02, 0.5  # How long an idle worker waits until it asks again, at first and at most.
TASK = [sys.executable, str(Path(__file__).with_name("task.py"))]


class Superseded(Exception):
    """A later process works under this worker's name."""


class TaskProcess:
    """The process that runs the tasks of a worker, started when there is one to run."""

    def __init__(self) -> None:
        self.process: asyncio.subprocess.Process | None = None

    async def run(self, **request: Any) -> dict:
        """Returns what task.py says of a task, or an error if its process ends instead."""
        if self.process is None or self.process.returncode is not None:
            pipe = asyncio.subprocess.PIPE
            self.process = await asyncio.create_subprocess_exec(*TASK, stdin=pipe, stdout=pipe, limit=1 << 30)
        process = self.process
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(request).encode() + b"\n")
        result = await process.stdout.readline()
        if result.endswith(b"\n"):
            return json.loads(result)
        status = await process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
        return {"error": f"the process that ran this task {how}"}

    def kill(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.kill()
        self.process = None


class Worker:
    def __init__(self, name: str, client: Client, place: Place, scratch: str) -> None:
        self.name, self.client, self.place, self.scratch = name, client, place, scratch
        self.me = {"worker_id": name, "timestamp": now_ms}
        self.incarnation = now_ms()
        self.tasks = TaskProcess()
        self.running: list[str] = []
        self.is_cancelled = False
        self.refused: dict[tuple[str, int], str] = {}  # Attempts whose result the master refused, and why.

    async def run(self) -> None:
        """Works until cancelled. Raises Superseded."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.beat())
                group.create_task(self.work())
        except* Superseded as errors:
            raise errors.exceptions[0] from None
        finally:
            self.tasks.kill()

    async def beat(self) -> None:
        """Sends heartbeats, whatever the worker does meanwhile."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            reply = await self.client.ask_once("heartbeat", **self.me, **self.presence())
            self.obey(reply or {})

    def presence(self) -> dict:
        return {"incarnation": self.incarnation, "running": self.running}

    def obey(self, reply: dict) -> None:
        if reply.get("type") == "error" and reply.get("code") == 22:
            raise Superseded(reply.get("text"))
        if any(task in self.running for task in reply.get("cancel", [])):
            self.is_cancelled = True
            self.tasks.kill()

    async def work(self) -> None:
        poll = POLL_S
        while True:
            reply = await self.client.ask("request_task", **self.me, **self.presence())
            self.obey(reply)
            if reply["type"] == "task_assigned":
                poll = POLL_S
                await self.attempt(reply["task"])
            else:
                await asyncio.sleep(poll)
                poll = min(1.5 * poll, POLL_MAX_S)

    async def attempt(self, task: dict) -> None:
        attempt = (task["id"], task["attempt"])
        self.running, self.is_cancelled = [task["id"]], False
        try:
            if attempt in self.refused:
                await asyncio.sleep(POLL_MAX_S)  # The master does not take its failure either, and assigns it again.
                result = {"error": self.refused[attempt]}
            else:
                result = await self.place.run(self.tasks, task, self.scratch, str(self.incarnation))
            if not self.is_cancelled:
                await self.report(task, result)
        finally:
            self.running = []

    async def report(self, task: dict, result: dict) -> None:
        """Reports a result. One that the master refuses becomes a failure, and is not tried again."""
        attempt = {"task_id": task["id"], "attempt": task["attempt"]}
        if "error" not in result:
            reply = await self.client.ask("complete_task", **self.me, **attempt, **result)
            if reply["type"] != "error" or reply["code"] == 20:  # 20: the job was removed.
                return
            result = {"error": f"the master refused the result: {reply.get('text')}"}
        print(f"{self.name}: {task['id']}, attempt {task['attempt']}: {result['error']}", file=sys.stderr, flush=True)
        reply = await self.client.ask("fail_task", **self.me, **attempt, **result)
        if reply["type"] == "error" and reply["code"] != 20:
            self.refused[task["id"], task["attempt"]] = result["error"]


async def over_stdio(name: str, work: Callable[[Client], Awaitable[None]]) -> None:
    """Works until stdin ends."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    async def send(body: dict) -> None:
        line = json.dumps({"src": name, "dest": "master", "body": body})
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    client = Client(send)

    def read() -> None:
        for line in sys.stdin.buffer:
            try:
                body = json.loads(line)["body"]
                loop.call_soon_threadsafe(client.hear, body)
            except (ValueError, KeyError, TypeError):
                print(f"{name}: not a message: {line[:100]!r}", file=sys.stderr, flush=True)
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read, daemon=True).start()
    working, ending = asyncio.ensure_future(work(client)), asyncio.ensure_future(ended.wait())
    await asyncio.wait([working, ending], return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if not working.done():
        working.cancel()
    try:
        await working
    except asyncio.CancelledError:
        pass


async def run(options: argparse.Namespace) -> None:
    stop_on_signals()
    if options.nats:
        from kit import bus

        await bus.work(options, Worker)
    else:
        place = Folder(Path(options.data).resolve())
        await over_stdio(options.name, lambda client: Worker(options.name, client, place, options.scratch).run())


def main() -> None:
    parser = argparse.ArgumentParser(description="A worker of the cluster (see README.md).")
    parser.add_argument("name", help="its worker_id; over NATS also its user")
    parser.add_argument("--data", required=True, help="the folder of the jobs, or `nats`")
    parser.add_argument("--scratch", default=tempfile.gettempdir(), help="a folder of this machine, for sorting")
    parser.add_argument("--nats", metavar="HOST", help="servers of the cluster, separated by commas")
    parser.add_argument("--password-file", metavar="FILE", help="this user's password, where the servers ask for one")
    parser.add_argument("--ca", metavar="FILE", help="the certificate that the servers' are signed with, for TLS")
    options = parser.parse_args()
    try:
        asyncio.run(run(options))
    except Superseded as error:
        sys.exit(f"{options.name}: {error}")
    except (asyncio.CancelledError, BrokenPipeError):
        os._exit(0)


if __name__ == "__main__":
    main()
