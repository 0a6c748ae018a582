"""Makes what the cluster needs of NATS: two streams and two object stores. Once, when all servers are up.

    python3 streams.py --nats HOST --replicas 3

What exists already is left as it is.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import NotFoundError

from kit import bus

LEAST_VERSION = (2, 10)  # Of the servers.


def configurations(replicas: int) -> list[api.StreamConfig]:
    """IN has no acknowledgements: the reply is the acknowledgement, and the server's own would go wherever a sender
    says, into OUT, too. OUT is republished only once it is committed, so that nobody hears a reply that lost."""
    common: dict[str, Any] = {"num_replicas": replicas, "storage": "file", "allow_direct": True}
    told_on = api.RePublish(src=f"{bus.REPLIES}.*.*", dest=f"{bus.HEARD}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}")
    return [
        api.StreamConfig(name=bus.IN, subjects=[f"{bus.REQUESTS}.*.*"], no_ack=True, **common),
        api.StreamConfig(name=bus.OUT, subjects=[f"{bus.REPLIES}.*.*"], republish=told_on, **common),
    ]


async def until_it_works(connection: bus.Connection, make: Callable[[], Awaitable[None]], what: str) -> None:
    """A cluster that was just started takes a while until it has a leader and knows all of its servers.

    A server may also have lost, while it joined the others, that this connection waits for replies: it reconnects.
    """
    while True:
        try:
            await make()
            print(what, flush=True)
            return
        except (NatsError, OSError, asyncio.TimeoutError) as error:
            print(f"{what}: {error}; trying again", flush=True)
            await asyncio.sleep(1)
            await connection.force_reconnect()


async def main(options: argparse.Namespace) -> None:
    connection = await bus.connect(options, options.name)
    version = connection.connected_server_version
    if (version.major, version.minor) < LEAST_VERSION:
        said = f"NATS {version.major}.{version.minor}"
        print(f"warning: {said} may keep different copies of a stream after a partition (see README.md)", flush=True)
    js = connection.jetstream(timeout=5)

    async def make_stream(config: api.StreamConfig) -> None:
        try:
            await js.stream_info(str(config.name))
        except NotFoundError:
            await js.add_stream(config)

    async def make_store(name: str) -> None:
        try:
            await js.stream_info(f"OBJ_{name}")
        except NotFoundError:
            config = api.ObjectStoreConfig(bucket=name, replicas=options.replicas, storage=api.StorageType.FILE)
            await js.create_object_store(name, config)

    for config in configurations(options.replicas):
        await until_it_works(connection, partial(make_stream, config), str(config.name))
    for store in bus.STATE, bus.DATA:
        await until_it_works(connection, partial(make_store, store), store)
    await connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Makes the streams of the cluster (see README.md).")
    bus.add_options(parser)
    parser.add_argument("--name", default="setup", help="its user")
    parser.add_argument("--replicas", type=int, required=True, help="copies of each message: 3, or 1 with one server")
    asyncio.run(main(parser.parse_args()))
