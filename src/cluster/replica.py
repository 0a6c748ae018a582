"""One replica of the master. Any number may run, on any machines; one alive is enough.

    python3 replica.py --nats HOST --master target/release/mapreduce-master

The stream IN holds all requests, and OUT their replies: OUT's message k is the reply to IN's message k. Each replica
feeds all of IN to a master of its own. The master reads no clock and draws no random number, so that all of them make
the same replies. OUT takes only the reply that is next: the first replica to publish one wins, and the others move on.
There is no leader to elect, and nothing to do when one dies.

With each reply goes a checksum of it and of all replies before it. A replica publishes a reply only when the one before
it in OUT is its own or has its own checksum. One that finds another checksum has read another IN: it stops, since its
state is wrong, and starts again from the last snapshot. So OUT is what one master makes of one sequence of requests.

Every 20,000 messages (`--snapshot-every`), a replica that wins puts the state of its master into the object store, and
removes from the streams what came before the state before. A replica starts from the last state, and needs no disk.

What goes wrong ends the process, and a second later another one is in its place, which starts from what NATS has.
"""

import argparse
import asyncio
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import NotFoundError
from nats.js.object_store import ObjectStore

from kit import bus
from kit.screen import envelope

WINDOW = 512  # Replies that a winner publishes before it waits for their acknowledgements.
BACKLOG = 20_000  # Replies that may wait to be published before no more of IN is fed.
HOLD_BACK_S = 0.25  # For so long a replica that was late leaves it to the others.
ACK_S = 3.0
WRONG_LAST_SEQUENCE = 10071
MARGIN = 4096  # Bytes of a message that are not the reply: its headers and subject.
SNAPSHOT_REPLY = b'{"type": "snapshot_ok", "state": '
CHAIN = "Mapreduce-Chain"  # The header with the checksum.


class Ended(Exception):
    """This life of the replica is over; the text says why."""


class Reply(NamedTuple):
    """The master's reply to message k of IN, and the checksums of all replies before it and up to it."""

    k: int
    sender: str
    text: bytes
    before: str
    chain: str


class Replica:
    """One life: from a snapshot, or the streams' beginning, until something goes wrong."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.began = time.monotonic()
        self.fed = 0  # The last message of IN that the master was given.
        self.unanswered: deque[tuple[int, str, bytes | None]] = deque()  # (k, sender, what to answer instead).
        self.replies: deque[Reply] = deque()  # In order, those that OUT may lack.
        self.chain = ""  # The checksum of all replies so far.
        self.verified = 0  # OUT has this replica's replies up to this one.
        self.beaten = 0  # The first reply of the last window that another replica published first, or 0.
        self.stored = 0  # OUT has all replies up to this one.
        self.replayed_to = 0  # The last reply that OUT had when this life began.
        self.is_late = True  # Whether another replica was faster, the last time.
        self.last_snapshot = 0
        self.news, self.room, self.acked = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.room.set()
        self.round = self.unacked = 0
        self.keeping: asyncio.Task | None = None

    async def live(self) -> None:
        """Raises Ended, or what a library raises."""
        self.connection = await bus.connect(self.options, self.options.name)
        self.js = self.connection.jetstream()
        self.acks = self.connection.new_inbox()
        await self.connection.subscribe(f"{self.acks}.*.*", cb=self.hear_ack)
        self.stored = self.replayed_to = (await self.js.stream_info(bus.OUT)).state.last_seq
        if self.stored > (await self.js.stream_info(bus.IN)).state.last_seq:
            raise Ended("OUT has replies to requests that IN has lost: the servers lost what they had acknowledged")
        self.store = await self.js.object_store(bus.STATE)
        await self.start_master()
        works = [asyncio.create_task(work) for work in (self.feed(), self.hear(), self.publish())]
        ended, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        ended.pop().result()

    # --- The master ------------------------------------------------------------------------------------------------

    async def start_master(self) -> None:
        """Starts it from the last snapshot, where there is one."""
        command = [self.options.master, "--quiet", "--strict"]
        with tempfile.TemporaryDirectory(prefix="mapreduce-") as folder:
            if snapshot := await self.load_snapshot():
                state = Path(folder, "state.json")
                state.write_bytes(snapshot.data or b"")
                command += ["--restore", str(state)]
                self.fed = self.last_snapshot = number_of(snapshot.info)
                self.chain = chain_of(snapshot.info)
            pipe = asyncio.subprocess.PIPE
            master = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, limit=1 << 30, start_new_session=True
            )
            assert master.stdin and master.stdout
            self.to_master, self.from_master = master.stdin, master.stdout
            self.to_master.write(b'{"type": "status"}\n')  # It has read the state when it answers.
            if not await self.from_master.readline():
                raise Ended("the master did not start")
        self.say(f"starts after message {self.fed}, with {self.stored} replied to")

    async def load_snapshot(self) -> ObjectStore.ObjectResult | None:
        """Returns the last snapshot. Another replica may remove it meanwhile: then there is a later one."""
        try:
            states = await self.store.list(ignore_deletes=True)
        except NotFoundError:
            return None
        return await bus.patiently(partial(self.store.get, max(states, key=number_of).name))

    async def feed(self) -> None:
        """Gives the master all of IN, in order."""
        start = api.ConsumerConfig(deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=self.fed + 1)
        subscription = await self.js.subscribe(
            f"{bus.REQUESTS}.*.*",
            stream=bus.IN,
            ordered_consumer=True,
            config=start,
            idle_heartbeat=1,
            pending_msgs_limit=0,
            pending_bytes_limit=0,
        )
        async for message in subscription.messages:
            k = int(message.reply.split(".")[5])
            if k <= self.fed:
                continue  # A consumer that was made again may start too early.
            if k != self.fed + 1:
                raise Ended(f"message {k} of IN came where {self.fed + 1} is next")
            self.fed = k
            sender = message.subject.removeprefix(f"{bus.REQUESTS}.")
            role, _, name = sender.partition(".")
            line, refusal = envelope(role, name, message.data)
            self.unanswered.append((k, sender, refusal))
            self.to_master.write(line)
            if k - self.last_snapshot >= self.options.snapshot_every and not self.is_late:
                self.last_snapshot = k
                self.unanswered.append((k, "", None))
                self.to_master.write(b'{"type": "snapshot"}\n')
            if subscription.pending_msgs == 0 or k % 256 == 0:
                await self.to_master.drain()
                await self.room.wait()

    async def hear(self) -> None:
        """Takes the master's replies."""
        async for line in self.from_master:
            k, sender, refusal = self.unanswered.popleft()
            reply = refusal or line.rstrip(b"\n")
            if not sender:
                self.keep(k, reply)
                continue
            if len(reply) > self.connection.max_payload - MARGIN:
                reply = too_large(reply)
            before = self.chain
            self.chain = hashlib.blake2b(before.encode() + reply, digest_size=8).hexdigest()
            if k == self.replayed_to:
                await self.compare(k, self.chain)
                self.verified = k
                self.say(f"caught up with message {k} after {time.monotonic() - self.began:.1f} s")
            if k > self.stored:
                self.replies.append(Reply(k, sender, reply, before, self.chain))
                self.news.set()
                if len(self.replies) > BACKLOG:
                    self.room.clear()
        raise Ended("the master ended")

    async def compare(self, k: int, chain: str) -> None:
        """Checks that OUT has this master's replies up to the one to message k. Raises Ended."""
        while True:
            try:
                stored = await self.js.get_msg(bus.OUT, k)
                break
            except NotFoundError:
                raise Ended(f"OUT has no reply to message {k} any more") from None
            except (NatsError, OSError, TimeoutError):  # OUT has no leader now. Nothing can be published either.
                await asyncio.sleep(0.5)
        if (stored.headers or {}).get(CHAIN) != chain:
            raise Ended(
                f"OUT has other replies than this master's, up to message {k}: is it of another version, or does the "
                "server that it reads from have another IN?"
            )

    # --- OUT -------------------------------------------------------------------------------------------------------

    async def publish(self) -> None:
        """Publishes replies, as many as there are at once. A replica that was late holds back, and tries one only."""
        while True:
            while self.replies and self.replies[0].k <= self.stored:
                self.replies.popleft()
            if len(self.replies) <= BACKLOG:
                self.room.set()
            if not self.replies:
                self.news.clear()
                await self.news.wait()
            if self.is_late:
                await asyncio.sleep(HOLD_BACK_S)
            length = 1 if self.is_late else WINDOW
            window = [self.replies[at] for at in range(min(length, len(self.replies)))]
            first = window[0]
            if first.k > self.stored:
                if first.k - 1 > self.verified:
                    await self.compare(first.k - 1, first.before)
                    self.verified = first.k - 1
                await self.publish_window(window)

    async def publish_window(self, window: list[Reply]) -> None:
        """Sets `stored` to what is known to be in OUT, and `is_late`. Raises Ended where OUT has another reply."""
        self.round, self.unacked, self.is_late, self.beaten = self.round + 1, len(window), False, 0
        self.acked.clear()
        for reply in window:
            # With a reply subject of its own: the library's own way loses the error that says who was faster.
            await self.connection.publish(
                f"{bus.REPLIES}.{reply.sender}",
                reply.text,
                reply=f"{self.acks}.{self.round}.{reply.k}",
                headers={"Nats-Expected-Last-Sequence": str(reply.k - 1), CHAIN: reply.chain},
            )
        try:
            async with asyncio.timeout(ACK_S):
                await self.acked.wait()
        except TimeoutError:
            pass  # They are sent again, and may turn out to be there.
        if self.beaten:
            await self.compare(self.beaten, window[self.beaten - window[0].k].chain)
        if self.stored < window[0].k:
            await asyncio.sleep(0.1)

    async def hear_ack(self, message: Any) -> None:
        round, k = map(int, message.subject.split(".")[-2:])
        ack = json.loads(message.data or b"{}")
        error = ack.get("error", {})
        if error.get("err_code") == WRONG_LAST_SEQUENCE:
            last = int(error["description"].rsplit(" ", 1)[1])
            if last >= k:
                self.is_late = True
                if round == self.round:
                    self.beaten = min(self.beaten or k, k)
        else:
            last = 0 if error else ack.get("seq", 0)
            if last == self.verified + 1:
                self.verified = last
        self.stored = max(self.stored, last)
        if round == self.round:
            self.unacked -= 1
            if self.unacked <= 0:
                self.acked.set()

    # --- Snapshots -------------------------------------------------------------------------------------------------

    def keep(self, k: int, reply: bytes) -> None:
        """Keeps the state after message k, beside all else."""
        if not reply.startswith(SNAPSHOT_REPLY):
            raise Ended(f"the master gives no snapshot: {reply[:200]!r}")
        if self.keeping is None or self.keeping.done():
            state = reply[len(SNAPSHOT_REPLY) : -1]
            self.keeping = asyncio.create_task(self.store_snapshot(k, self.chain, state))

    async def store_snapshot(self, k: int, chain: str, state: bytes) -> None:
        """Stores it, and removes what only an older one than the one before it needs. It may fail without harm."""
        try:
            while self.stored < k:  # What no reply is known of might be lost with this replica's luck.
                await asyncio.sleep(0.1)
            await self.compare(k, chain)
            await self.store.put(f"after-{k}-{chain}", state)
            states = sorted(await self.store.list(ignore_deletes=True), key=number_of)
            for old in states[:-2]:
                await self.store.delete(old.name)
            if len(states) > 1:
                for stream in bus.IN, bus.OUT:
                    await self.js.purge_stream(stream, seq=number_of(states[-2]) + 1)
            self.say(f"stored the state after message {k}")
        except (Ended, NatsError, OSError, TimeoutError) as error:
            self.say(f"the state after message {k} was not stored: {error!r}")

    def say(self, text: str) -> None:
        print(f"{self.options.name}: {text}", flush=True)


def number_of(info: api.ObjectInfo) -> int:
    """The message after which a snapshot was taken."""
    return int(info.name.split("-")[1])


def chain_of(info: api.ObjectInfo) -> str:
    """The checksum of all replies before a snapshot."""
    return info.name.split("-")[2]


def too_large(reply: bytes) -> bytes:
    """Returns the reply that takes the place of one that the servers would not take."""
    match = re.match(rb'\{"type": "[a-z_]*"(, "in_reply_to": -?\d+)?', reply)
    id = match and match[1] or b""
    return b'{"type": "error"%s, "code": 13, "text": "the reply is larger than the servers\' max_payload"}' % id


async def main(options: argparse.Namespace) -> None:
    """Lives until something goes wrong. The master ends with this process: at the end of its input."""
    replica = Replica(options)
    try:
        await replica.live()
    except Exception as error:
        replica.say(f"starts again: {error if isinstance(error, Ended) else repr(error)}")
    await asyncio.sleep(1)
    # Not by ending all tasks, some of which may be deep in a library, and waiting for it.
    os.execv(sys.executable, [sys.executable, *sys.argv])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A replica of the master (see README.md).")
    bus.add_options(parser)
    parser.add_argument("--name", default="replica", help="its user")
    parser.add_argument("--master", metavar="FILE", required=True, help="the built master, the same for all replicas")
    parser.add_argument("--snapshot-every", type=int, default=20_000, metavar="N", help="messages between snapshots")
    asyncio.run(main(parser.parse_args()))
