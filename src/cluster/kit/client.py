"""Whoever talks to the master: asks, and asks again until answered."""

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

PATIENCE = 2.0  # Seconds until a request is sent again.


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def stop_on_signals() -> None:
    """Has Ctrl-C and its like cancel the task that calls this, which cleans up."""
    me = asyncio.current_task()
    assert me
    for stop in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        asyncio.get_running_loop().add_signal_handler(stop, me.cancel)


class Client:
    """One sender of requests. `send` carries them, and the master's messages are handed to `hear`."""

    def __init__(self, send: Callable[[dict], Awaitable[None]]) -> None:
        self.send = send
        self.waiting: dict[int, asyncio.Future[dict]] = {}
        self.last_id = time.time_ns()  # Two lives of one sender never use the same id.

    def hear(self, body: dict) -> None:
        """Takes a message from the master. A reply that nobody waits for is a repeated one."""
        reply = self.waiting.get(body.get("in_reply_to", -1))
        if reply and not reply.done():
            reply.set_result(body)
        elif body.get("type") == "error" and "in_reply_to" not in body:
            print(f"the master refused a message: {body.get('text')}", file=sys.stderr, flush=True)

    async def ask(self, type: str, **fields: Any) -> dict:
        """Sends a request until it is answered; returns the reply. A field that is a function, such as `now_ms`, is
        called each time that the request is sent."""
        self.last_id += 1
        id = self.last_id
        reply = self.waiting[id] = asyncio.get_running_loop().create_future()
        try:
            while not reply.done():
                values = {name: value() if callable(value) else value for name, value in fields.items()}
                await self.send({"type": type, "msg_id": id, **values})
                await asyncio.wait([reply], timeout=PATIENCE)
            return reply.result()
        finally:
            del self.waiting[id]

    async def ask_once(self, type: str, **fields: Any) -> dict | None:
        """Sends a request once; returns the reply, or None if there is none in time."""
        try:
            async with asyncio.timeout(PATIENCE * 0.95):  # `wait_for` may swallow a cancellation.
                return await self.ask(type, **fields)
        except TimeoutError:
            return None
