"""A monitor: has the master look for failed workers and for stragglers.

    python3 monitor.py --nats HOST      over NATS (README.md); one is enough, and more do no harm

Local runs have one of their own. A monitor knows only what the master answers.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable

from kit.client import Client, now_ms

EVERY_S = 1.0
TIMEOUT_MS = 10_000  # Workers send a heartbeat a second, from a process that does nothing else.
MIN_RUN_MS = 1_000
NEVER_MS = 1 << 62
WINDOW_S = 60.0  # How long a gap between answered checks is remembered.
REFUSALS = 10  # Checks in a row that may be refused because of `max_failed`; then the failures are taken to be real.


def log(text: str) -> None:
    print(f"monitor: {text}", file=sys.stderr, flush=True)


class Monitor:
    def __init__(self, client: Client, timeout_ms: int = TIMEOUT_MS, say: Callable[[str], None] = log) -> None:
        self.client, self.timeout_ms, self.say = client, timeout_ms, say
        self.answered = time.monotonic()
        self.gaps: list[tuple[float, float]] = []  # When a check was answered, and how long after the one before.
        self.refusals = 0
        self.failed: list[str] = []

    async def run(self) -> None:
        while True:
            await self.check_failures()
            await self.client.ask_once("check_stragglers", now=now_ms, min_run_ms=MIN_RUN_MS)
            await asyncio.sleep(EVERY_S)

    async def check_failures(self) -> None:
        """Has workers fail that were silent for too long, but not those whose heartbeats could not arrive.

        When the way to the master was blocked, this check and the heartbeats wait side by side, and the check may come
        first. So a check goes ahead that fails nobody. Its answer shows that the way is free, and when it was free
        before: for that long, the silence was not the workers'.
        """
        await self.client.ask("check_failures", timeout_ms=NEVER_MS, now=now_ms)
        now = time.monotonic()
        self.gaps.append((now, now - self.answered))
        self.gaps = [(at, gap) for at, gap in self.gaps if now - at < max(WINDOW_S, gap)]
        self.answered = now
        longest_ms = int(1000 * max(gap for _, gap in self.gaps))
        timeout_ms = self.timeout_ms + longest_ms
        # Once only, and with this `now`: were it sent again later, it would be the check that came first.
        reply = await self.client.ask_once("check_failures", timeout_ms=timeout_ms, now=now_ms, **await self.limit())
        if reply is None:
            return
        if reply["type"] == "error":
            self.refusals += 1
            self.say(f"a check was refused: {reply['text']}")
            return
        self.refusals = 0
        for worker in set(reply["failed_workers"]) - set(self.failed):
            self.say(f"{worker} failed: it was silent for more than {timeout_ms} ms")
        for worker in set(self.failed) - set(reply["failed_workers"]):
            self.say(f"{worker} is back")
        self.failed = reply["failed_workers"]

    async def limit(self) -> dict:
        """`max_failed`: half of the healthy workers at a time, so that a clock gone wrong does not fail them all."""
        if self.refusals >= REFUSALS:
            self.say("the failures persist, and are taken to be real")
            return {}
        status = await self.client.ask("status")
        return {"max_failed": max(1, status["workers"]["healthy"] // 2)}


async def main(options: argparse.Namespace) -> None:
    async with bus.client(options, "admin") as (client, _):
        await Monitor(client, options.timeout_ms).run()


if __name__ == "__main__":
    from kit import bus  # Local runs do without.

    parser = argparse.ArgumentParser(description="A monitor of the cluster (see README.md).")
    bus.add_options(parser)
    parser.add_argument("--name", default="monitor", help="its user")
    parser.add_argument(
        "--timeout-ms", type=int, default=TIMEOUT_MS, help="the silence after which a worker has failed"
    )
    asyncio.run(main(parser.parse_args()))
