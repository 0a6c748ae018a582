"""A whole cluster over NATS on this machine: servers, replicas, workers, a monitor, each a process that can be killed.

It is checked by what a user would see, and by what the streams hold.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections import Counter
from pathlib import Path

KIT = Path(__file__).resolve().parent.parent.parent / "src" / "cluster"
sys.path.insert(0, str(KIT))

from nats.errors import Error as NatsError  # noqa: E402
from nats.js import api  # noqa: E402

from kit import bus  # noqa: E402
from kit.client import Client  # noqa: E402
from kit.screen import envelope  # noqa: E402

HOST = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind((HOST, 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Cluster:
    """Starts nothing by itself. Everything that was started is ended by `stop`."""

    def __init__(self, folder: Path, master: str, servers: int = 3) -> None:
        self.folder, self.master, self.servers = folder, master, servers
        self.processes: dict[str, subprocess.Popen] = {}
        self.commands: dict[str, list[str]] = {}
        self.hosts = [HOST] * servers
        self.login: dict[str, list[str]] = {}  # Further arguments of each user.
        self.prefix: dict[str, list[str]] = {}  # What a process runs in, such as a network namespace.
        self.addition = ""  # To the module that counts words.
        (folder / "shared").mkdir(parents=True)
        self.ports = free_ports(2 * servers)

    # --- Processes ---

    def start(self, name: str, command: list[str]) -> None:
        self.commands[name] = command
        full = self.prefix.get(name, []) + command
        log = open(self.folder / f"{name}.log", "ab")
        out = open(self.folder / f"{name}.results", "wb") if name.startswith("submitter") else log
        with log, out:
            self.processes[name] = subprocess.Popen(
                full, stdin=subprocess.DEVNULL, stdout=out, stderr=log, start_new_session=True
            )

    def again(self, name: str) -> None:
        self.start(name, self.commands[name])

    def kill(self, name: str) -> None:
        """Kills a process and its children, as the end of its machine would."""
        try:
            self.signal(name, signal.SIGKILL)
        except ProcessLookupError:
            pass  # It has ended by itself.
        self.processes.pop(name).wait()

    def signal(self, name: str, number: int) -> None:
        os.killpg(self.processes[name].pid, number)

    def stop(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    # --- Parts ---

    def server_configuration(self, number: int) -> str:
        routes = ", ".join(f"nats://{host}:{port}" for host, port in zip(self.hosts, self.ports[self.servers :]))
        host, client_port, route_port = self.hosts[number], self.ports[number], self.ports[self.servers + number]
        text = f'server_name: n{number}\nlisten: "{host}:{client_port}"\nmax_payload: 8MB\n'
        text += f'jetstream {{ store_dir: "{self.folder}/n{number}" }}\n'
        if self.servers > 1:
            text += f'cluster {{ name: test, listen: "{host}:{route_port}", routes: [{routes}] }}\n'
        return text

    def start_server(self, number: int) -> None:
        file = self.folder / f"n{number}.conf"
        file.write_text(self.server_configuration(number))
        self.start(f"n{number}", ["nats-server", "-c", str(file)])

    @property
    def nats(self) -> str:
        return ",".join(f"{host}:{port}" for host, port in zip(self.hosts, self.ports))

    def program(self, name: str, user: str, *arguments: str) -> list[str]:
        return [sys.executable, str(KIT / name), "--nats", self.nats, *self.login.get(user, []), *arguments]

    def start_servers(self) -> None:
        for number in range(self.servers):
            self.start_server(number)
        command = self.program("streams.py", "setup", "--replicas", str(self.servers))
        subprocess.run(self.prefix.get("setup", []) + command, check=True, timeout=60, stdout=subprocess.DEVNULL)

    def start_replica(self, number: int, *arguments: str, name: str | None = None) -> None:
        name = name or f"r{number}"
        self.start(f"r{number}", self.program("replica.py", name, "--name", name, "--master", self.master, *arguments))

    def start_worker(self, name: str, data: str | None = None) -> None:
        data = data or str(self.folder / "shared")
        self.start(name, self.program("worker.py", name, name, "--data", data, "--scratch", str(self.folder)))

    def start_monitor(self, *arguments: str) -> None:
        self.start("monitor", self.program("monitor.py", "monitor", *arguments))

    def start_all(self, workers: int = 2, replicas: int = 3, *replica_arguments: str) -> None:
        self.start_servers()
        for number in range(replicas):
            self.start_replica(number, *replica_arguments)
        for number in range(workers):
            self.start_worker(f"w{number}")
        self.start_monitor()

    def submit(self, name: str, *arguments: str, data: str | None = None) -> None:
        """Starts a word count of `text`, by a submitter of that name."""
        options = ["--name", name, "--data", data or str(self.folder / "shared"), "--quiet"]
        module = self.folder / "count.py"
        module.write_text((KIT / "word_count.py").read_text() + self.addition)
        command = self.program("submit.py", name, *options, *arguments, str(module), str(self.folder / "text"))
        self.start(name, command)

    async def result(self, name: str, timeout_s: float) -> None:
        """Waits for a submitted word count, and checks it against a direct count."""
        deadline = time.monotonic() + timeout_s
        while (status := self.processes[name].poll()) is None:
            assert time.monotonic() < deadline, f"{name} takes longer than {timeout_s} s"
            await asyncio.sleep(0.05)
        del self.processes[name]
        assert status == 0, self.log(name)
        words = Counter((self.folder / "text").read_text().split())
        expected = "".join(f"{word}\t{words[word]}\n" for word in sorted(words))
        results = (self.folder / f"{name}.results").read_text()
        assert results == expected, f"{name} counts wrongly: {results[:1000]}"

    # --- Checks ---

    def options(self, name: str) -> Namespace:
        login = self.login.get(name, [])
        values = dict(zip(login[::2], login[1::2]))
        return Namespace(nats=self.nats, name=name, ca=values.get("--ca"), password_file=values.get("--password-file"))

    async def check_streams(self, user: str = "setup", copies_may_differ: bool = False) -> None:
        """All of IN is answered; all servers have the same IN and OUT; a fresh master that is fed IN gives OUT, byte for byte.

        NATS before 2.10 may leave a server that led a stream while it was cut off with another copy of it than the others
        (`copies_may_differ`). Then there is no IN to compare with, and this only says so.
        """
        connection = await bus.connect(self.options(user), user)
        js = connection.jetstream(timeout=5)
        try:
            last_in, last_out, deadline = -1, -2, time.monotonic() + 40
            while last_in != last_out and time.monotonic() < deadline:
                try:
                    last_in = (await js.stream_info(bus.IN)).state.last_seq
                    last_out = (await js.stream_info(bus.OUT)).state.last_seq
                except NatsError:
                    pass  # Servers that were just started have no leader yet.
                await asyncio.sleep(0.1)
            assert last_in == last_out, f"IN has {last_in} messages, and OUT {last_out}"
            copies = {
                stream: await self.read_copies(js, stream, count)
                for stream, count in ((bus.IN, last_in), (bus.OUT, last_out))
            }
        finally:
            await connection.close()
        for stream, by_server in copies.items():
            first, *others = by_server.values()
            for other in others:
                if differing := [k for k, pair in enumerate(zip(first, other), 1) if pair[0] != pair[1]]:
                    text = f"NATS keeps different copies of {stream}, from message {differing[0]} on"
                    assert copies_may_differ, text
                    print(f"NOT COMPARED: {text}", flush=True)
                    return
        self.compare(next(iter(copies[bus.IN].values())), next(iter(copies[bus.OUT].values())))

    async def read_copies(self, js, stream: str, count: int) -> dict[str, list[tuple[str, bytes]]]:
        """Reads a stream until a consumer was on each of its servers, or for some time. Returns what each has."""
        copies: dict[str, list[tuple[str, bytes]]] = {}
        deadline = time.monotonic() + 20
        while len(copies) < self.servers and (time.monotonic() < deadline or not copies):
            messages, server = await self.read(js, stream, count)
            copies.setdefault(server, messages)
        if len(copies) < self.servers:
            print(f"only the copies of {stream} on {sorted(copies)} could be read", flush=True)
        return copies

    def compare(self, requests: list[tuple[str, bytes]], replies: list[tuple[str, bytes]]) -> None:
        """Checks that a fresh master makes these replies to these requests."""
        lines = [envelope(*subject.split(".", 3)[2:], data) for subject, data in requests]
        fresh = subprocess.run(
            [self.master, "--strict", "--quiet"],
            input=b"".join(line for line, _ in lines),
            stdout=subprocess.PIPE,
            check=True,
        )
        made = fresh.stdout.splitlines()
        assert len(made) == len(lines) == len(replies), f"{len(made)} replies to {len(lines)} requests"
        for k, ((_, refusal), own, (subject, stored)) in enumerate(zip(lines, made, replies), 1):
            assert (refusal or own) == stored, f"reply {k}: {refusal or own!r} is not {stored!r}"
            sender = requests[k - 1][0].removeprefix(bus.REQUESTS)
            assert subject == bus.REPLIES + sender, f"reply {k} is for {subject}"

    async def read(self, js, stream: str, count: int) -> tuple[list[tuple[str, bytes]], str]:
        """Reads a stream from its first message on. Returns the messages, and the server whose copy was read last."""
        messages: list[tuple[str, bytes]] = []
        server = ""
        deadline = time.monotonic() + 60
        while len(messages) < count:
            start = api.ConsumerConfig(
                deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=len(messages) + 1
            )
            try:
                subscription = await js.subscribe(
                    "mapreduce.>",
                    stream=stream,
                    ordered_consumer=True,
                    config=start,
                    pending_msgs_limit=0,
                    pending_bytes_limit=0,
                )
            except NatsError:
                # Servers that were just started or cut off have no leader yet.
                assert time.monotonic() < deadline, f"{stream} cannot be read"
                await asyncio.sleep(0.2)
                continue
            while len(messages) < count:
                message = await subscription.next_msg(30)
                k = int(message.reply.split(".")[5])
                if k > len(messages) + 1:
                    break  # A consumer that was made again may start too late,
                if k == len(messages) + 1:  # or too early.
                    messages.append((message.subject, message.data))
            cluster = (await subscription.consumer_info()).cluster
            server = cluster.leader if cluster else ""
            await subscription.unsubscribe()
        return messages, server

    def check_nobody_healthy_failed(self) -> None:
        assert " failed: " not in self.log("monitor"), self.log("monitor")

    def print_logs(self) -> None:
        for file in sorted(self.folder.glob("*.log")):
            text = file.read_text(errors="replace").splitlines()
            print(f"--- {file.name}", *text[-15:], sep="\n", file=sys.stderr)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def write_text(folder: Path, bytes: int) -> None:
    """Writes the text that is counted: the same each time."""
    words = [f"w{number * number % 7919}" for number in range(bytes // 6)]
    lines = [" ".join(words[at : at + 11]) for at in range(0, len(words), 11)]
    (folder / "text").write_text("\n".join(lines))


async def is_up(cluster: Cluster, name: str = "admin") -> None:
    """Waits until the cluster answers."""
    async with bus.client(cluster.options(name), "admin") as (client, _):
        await asyncio.wait_for(client.ask("status"), 30)


__all__ = ["Client", "Cluster", "NatsError", "bus", "is_up", "write_text"]
