"""The way to the master over NATS: subjects, connections, and the object store as a place for data.

A request goes to `mapreduce.in.ROLE.NAME`, which the stream IN keeps. Its reply is kept by the stream OUT as
`mapreduce.out.ROLE.NAME`, and comes to its sender as `mapreduce.reply.ROLE.NAME`. ROLE is `worker` or `admin`. What a
sender may say follows from its subject, and the server lets nobody use a subject that is not his (secure/server.conf).
"""

import argparse
import asyncio
import io
import json
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import nats.aio.client
from nats.errors import Error as NatsError
from nats.js.errors import ObjectNotFoundError
from nats.js.object_store import ObjectStore

from kit.client import Client
from kit.job import check_name
from kit.place import Folder, Place

IN, OUT, STATE, DATA = "MAPREDUCE_IN", "MAPREDUCE_OUT", "mapreduce_state", "mapreduce_data"
REQUESTS, REPLIES, HEARD = "mapreduce.in", "mapreduce.out", "mapreduce.reply"
DEAF_S = 15.0  # After so long without a reply, a connection is made again: its server may not know that it listens.
TRIES, TRY_S = 5, 60.0  # For an object: it is tried again after an error, or when nothing has come of it for so long.
T = TypeVar("T")


class Connection(nats.aio.client.Client):
    """NATS takes any bytes as a subject, and its library fails for ever on one that is not UTF-8."""

    def _build_message(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> Any:
        subject, reply = (text.decode("utf-8", "backslashreplace").encode() for text in (subject, reply))
        return super()._build_message(sid, subject, reply, data, headers)


# worker.py has these options, too, but must do without this module.
def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nats", metavar="HOST", required=True, help="servers of the cluster, separated by commas")
    parser.add_argument("--password-file", metavar="FILE", help="this user's password, where the servers ask for one")
    parser.add_argument("--ca", metavar="FILE", help="the certificate that the servers' are signed with, for TLS")


async def connect(options: argparse.Namespace, user: str) -> Connection:
    """Connects, and reconnects forever when a server is gone. Raises SystemExit if the servers refuse the user."""
    login: dict[str, Any] = {}
    if options.password_file:
        login = {"user": user, "password": Path(options.password_file).read_text().strip()}
    if options.ca:
        login["tls"] = ssl.create_default_context(cafile=options.ca)
    scheme = "tls" if options.ca else "nats"
    servers = [host if "://" in host else f"{scheme}://{host}" for host in options.nats.split(",")]
    last, was_connected = "", False

    async def complain(error: Exception) -> None:
        nonlocal last
        if not was_connected and "authorization violation" in str(error).lower():
            raise SystemExit(f"{user}: the servers do not take this user and password")
        if str(error) and str(error) != last:  # Each kind once, and not at every try to connect.
            last = str(error)
            print(f"{user}: NATS: {error}", file=sys.stderr, flush=True)

    connection = Connection()
    await connection.connect(
        servers,
        name=user,
        inbox_prefix=f"_INBOX_{user}".encode(),
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.25,  # type: ignore[arg-type]
        connect_timeout=2,
        ping_interval=1,  # A server that was cut off is noticed after three.
        max_outstanding_pings=2,
        error_cb=complain,
        **login,
    )
    was_connected = True
    return connection


@asynccontextmanager
async def client(options: argparse.Namespace, role: str) -> AsyncIterator[tuple[Client, Connection]]:
    """A sender of requests by the name `options.name`, and its connection."""
    name = options.name
    connection = await connect(options, name)
    deaf_since: float | None = None  # When the first message was sent since one was heard.

    async def send(body: dict) -> None:
        """Sends a message; or does not, where it would only wait: it is sent again, with a later time."""
        nonlocal deaf_since
        now = time.monotonic()
        deaf_since = deaf_since or now
        if now - deaf_since > DEAF_S and connection.is_connected:
            deaf_since = now
            await connection.force_reconnect()
        payload = json.dumps(body).encode()
        if len(payload) > connection.max_payload:
            text = f"the message has {len(payload)} bytes, and the servers take {connection.max_payload}"
            sender.hear({"type": "error", "in_reply_to": body["msg_id"], "code": 12, "text": text})
        elif connection.is_connected:
            try:
                await connection.publish(f"{REQUESTS}.{role}.{name}", payload)
            except (NatsError, OSError):
                pass

    async def hear(message: Any) -> None:
        nonlocal deaf_since
        deaf_since = None
        sender.hear(json.loads(message.data))

    sender = Client(send)
    await connection.subscribe(f"{HEARD}.{role}.{name}", cb=hear)
    try:
        yield sender, connection
    finally:
        await connection.close()


async def work(options: argparse.Namespace, make: Callable[[str, Client, Place, str], Any]) -> None:
    """Runs a worker over NATS."""
    async with client(options, "worker") as (sender, connection):
        if options.data == "nats":
            place: Place = Objects(await connection.jetstream(timeout=10).object_store(DATA))
        else:
            place = Folder(Path(options.data).resolve())
        await make(options.name, sender, place, options.scratch).run()


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Does something with the object store; again where a server is lost meanwhile."""
    for left in reversed(range(TRIES)):
        try:
            async with asyncio.timeout(TRY_S):
                return await work()
        except ObjectNotFoundError:
            raise
        except (NatsError, OSError, TimeoutError):
            if not left:
                raise
            await asyncio.sleep(1)
    raise AssertionError("the last try returns or raises")


class Objects:
    """JetStream's object store as the place of data, where machines share no folder (see place.py).

    A task's inputs are fetched into a folder for it alone. Of its output, each partition is an object.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    async def run(self, process: Any, task: dict, scratch: str, suffix: str) -> dict:
        try:
            job = check_name(task["job_id"])
            with tempfile.TemporaryDirectory(prefix="mapreduce-", dir=scratch) as folder:
                root = Path(folder)
                (root / job).mkdir()
                await self.fetch(f"{job}/job.json", root)
                if lost := await self.fetch_inputs(task, root):
                    return {"error": f"{len(lost)} of the inputs are not in the object store", "lost_inputs": lost}
                result = await process.run(task=task, root=folder, scratch=folder, process=suffix)
                if "error" in result:
                    return result
                output, is_map = result["output"], task["kind"] == "map"
                parts = [
                    await self.put_part(part, number, root)
                    for number, part in enumerate(output if is_map else [output])
                ]
                return result | {"output": parts if is_map else parts[0]}
        except (NatsError, OSError, ValueError, TimeoutError) as error:
            return {"error": f"the object store: {error!r}"}

    async def fetch_inputs(self, task: dict, root: Path) -> list[dict]:
        """Fetches a task's inputs; returns those of a reduce that are not there."""
        if task["kind"] == "map":
            for name, _, _ in task["chunk"]:
                await self.fetch(name, root)
            return []
        lost = []
        for one in task["inputs"]:
            if one["output"] is not None:
                try:
                    await self.fetch(one["output"][0], root)
                except ObjectNotFoundError:
                    lost.append({"task_id": one["task_id"], "attempt": one["attempt"]})
        return lost

    async def fetch(self, name: str, root: Path) -> Path:
        """Fetches an object into the file of that name in a folder. Raises ObjectNotFoundError."""
        folder, base = map(check_name, name.split("/"))
        path = root / folder / base

        async def get() -> None:
            with open(path, "wb") as file:
                await self.store.get(name, writeinto=file)

        await patiently(get)
        return path

    async def put_part(self, part: list | None, number: int, root: Path) -> list | None:
        if part is None:
            return None
        name, start, end = part
        await self.put(f"{name}.{number}", root / name, start, end)
        return [f"{name}.{number}", 0, end - start]

    async def put(self, name: str, path: Path, start: int, end: int) -> None:
        async def put() -> None:
            with Range(path, start, end) as file:
                await self.store.put(name, file)

        await patiently(put)

    async def remove(self, job: str) -> None:
        """Removes all of a job."""
        for info in await patiently(lambda: self.store.list(ignore_deletes=True)):
            if info.name.startswith(f"{job}/"):
                await patiently(partial(self.store.delete, info.name))


class Range(io.BufferedIOBase):
    """A range of a file, to be read by `ObjectStore.put`."""

    def __init__(self, path: Path, start: int, end: int) -> None:
        self.file = open(path, "rb", buffering=0)
        self.file.seek(start)
        self.left = end - start

    def readinto(self, buffer: Any) -> int:
        count = self.file.readinto(memoryview(buffer)[: self.left])
        self.left -= count
        return count

    def close(self) -> None:
        self.file.close()
        super().close()
