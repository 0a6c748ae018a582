"""What must hold over NATS, a scenario each.

python3 scenarios.py SCENARIO MASTER FOLDER
"""

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import namespaces
from cluster import HOST, KIT, Cluster, bus, is_up, write_text

CHAOS_S = 30
FLOOD = 20_000


async def kills(cluster: Cluster) -> None:
    """Replicas, workers, one server, two servers, and all servers are killed at random, while jobs run."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    write_text(cluster.folder, 400_000)
    cluster.start_all(3)
    await is_up(cluster)
    ended = False

    async def kill() -> None:
        count = 0
        while not ended:
            await asyncio.sleep(chance.uniform(0.1, 1.0))
            kind = chance.choices("rwn", [6, 4, 1])[0]
            alive = [name for name in cluster.processes if re.fullmatch(rf"{kind}\d", name)]
            lost = chance.sample(alive, chance.randint(1, 3) if kind == "n" else 1)
            for name in lost:
                cluster.kill(name)
            await asyncio.sleep(chance.uniform(0.1, 0.6 if kind != "n" else 2.0))
            for name in lost:
                cluster.again(name)
            count += len(lost)
        print(f"{count} kills")

    killing = asyncio.create_task(kill())
    deadline, jobs = time.monotonic() + CHAOS_S, 0
    while time.monotonic() < deadline:
        cluster.submit("submitter", "--chunk-mb", "0.05", "--reduces", "3")
        await cluster.result("submitter", 120)
        jobs += 1
    ended = True
    await killing
    print(f"{jobs} jobs")
    cluster.check_nobody_healthy_failed()
    await finish(cluster)


async def silence(cluster: Cluster) -> None:
    """The log, the masters and the monitor each fall silent for longer than the timeout: nobody healthy fails."""
    write_text(cluster.folder, 200_000)
    cluster.start_servers()
    for number in range(2):
        cluster.start_replica(number)
        cluster.start_worker(f"w{number}")
    cluster.start_monitor("--timeout-ms", "3000")
    await is_up(cluster)
    await asyncio.sleep(3)
    for names in ["n0", "n1", "n2"], ["r0", "r1"], ["monitor"]:
        for name in names:
            cluster.signal(name, signal.SIGSTOP)
        await asyncio.sleep(5)
        for name in names:
            cluster.signal(name, signal.SIGCONT)
        await asyncio.sleep(3)
        cluster.check_nobody_healthy_failed()
    cluster.submit("submitter")
    await cluster.result("submitter", 60)
    # And one that is dead does fail.
    cluster.kill("w0")
    for _ in range(300):
        if "w0 failed" in cluster.log("monitor"):
            break
        await asyncio.sleep(0.1)
    assert "w0 failed" in cluster.log("monitor") and "w1 failed" not in cluster.log("monitor"), cluster.log("monitor")
    await finish(cluster)


async def deafness(cluster: Cluster) -> None:
    """A connection whose server has forgotten that it listens is made again, and hears the reply."""
    cluster.start_servers()
    cluster.start_replica(0)
    await is_up(cluster)
    bus.DEAF_S = 3.0
    async with bus.client(cluster.options("admin"), "admin") as (client, connection):
        [reply_subscription] = [one for one in connection._subs.values() if one.subject.startswith(bus.HEARD)]
        await connection._send_unsubscribe(reply_subscription._id)
        await connection.flush()
        assert await client.ask_once("status") is None, "the server still knows that it listens"
        await asyncio.wait_for(client.ask("status"), 30)


async def snapshots(cluster: Cluster) -> None:
    """A replica that starts from a snapshot goes on where the others were, and the streams do not grow for ever."""
    write_text(cluster.folder, 200_000)
    cluster.start_all(2, 2, "--snapshot-every", "20")
    cluster.submit("submitter-first", "--chunk-mb", "0.01")
    await cluster.result("submitter-first", 60)
    async with bus.client(cluster.options("admin"), "admin") as (client, connection):
        js = connection.jetstream()
        status = await client.ask("status")
        for name in "r0", "r1":
            cluster.kill(name)
        cluster.start_replica(2, "--snapshot-every", "20")
        again = await asyncio.wait_for(client.ask("status"), 30)
        totals = [reply["attempts"] | reply["jobs"] for reply in (status, again)]
        assert totals[0] == totals[1], totals
        assert re.search(r"starts after message [1-9]", cluster.log("r2")), cluster.log("r2")
        cluster.submit("submitter-second", "--chunk-mb", "0.01")
        await cluster.result("submitter-second", 60)
        # One that stood still while the streams were trimmed beyond its place starts again from a snapshot.
        cluster.again("r0")
        await asyncio.sleep(2)
        cluster.signal("r0", signal.SIGSTOP)
        cluster.submit("submitter-third", "--chunk-mb", "0.01")
        await cluster.result("submitter-third", 60)
        cluster.signal("r0", signal.SIGCONT)
        cluster.kill("r2")
        await asyncio.wait_for(client.ask("status"), 30)
        for stream in bus.IN, bus.OUT:
            state = (await js.stream_info(stream)).state
            assert 1 < state.first_seq, f"{stream} was not trimmed"
        last = [(await js.stream_info(stream)).state.last_seq for stream in (bus.IN, bus.OUT)]
        assert last[0] - last[1] < 20, last
    cluster.check_nobody_healthy_failed()


async def interruption(cluster: Cluster) -> None:
    """Ctrl-C of a submitter removes its job and all that belongs to it, also from the hands of the workers."""
    write_text(cluster.folder, 100_000)
    cluster.start_all(2, 1)
    await is_up(cluster)
    count = cluster.addition
    cluster.addition = "\n\n\ndef map(lines):\n    import time\n\n    time.sleep(1000)\n"
    cluster.submit("submitter")
    async with bus.client(cluster.options("admin"), "admin") as (client, _):

        async def running() -> list:
            workers = (await client.ask("list_workers"))["workers"]
            return [task for worker in workers for task in worker["running"]]

        while not await running():
            await asyncio.sleep(0.1)
        cluster.signal("submitter", signal.SIGINT)
        assert cluster.processes.pop("submitter").wait(30) == 130
        assert (await client.ask("list_jobs"))["jobs"] == []
        assert await running() == []
    assert list((cluster.folder / "shared").iterdir()) == []
    # The workers are free for another one.
    cluster.addition = count
    cluster.submit("submitter")
    await cluster.result("submitter", 60)
    cluster.check_nobody_healthy_failed()
    await finish(cluster)


async def hostile(cluster: Cluster) -> None:
    """Messages of every kind but the right one: each has one reply, and nobody else notices."""
    write_text(cluster.folder, 100_000)
    cluster.start_all(1, 2)
    await is_up(cluster)
    connection = await bus.connect(cluster.options("evil"), "evil")
    heard: list[dict] = []

    async def hear(message) -> None:
        heard.append(json.loads(message.data))

    await connection.subscribe(f"{bus.HEARD}.worker.evil", cb=hear)
    await connection.flush()
    good = b'"worker_id": "evil", "timestamp": 1'
    payloads = [
        b"", b" ", b"null", b"[]", b"7", b"{", b"}", b"{}", b'"', b"\x00", b"\xff\xfe{}", b"{}{}", b"\n{}\n",
        b'{"type": "heartbeat", %s}, "src": "w0", "body": {"type": "check_failures", "timeout_ms": 0, "now": 99999999999999}' % good,
        b'{"type": "heartbeat", %s}}\n{"body": {"type": "check_failures", "timeout_ms": 0, "now": 99999999999999}' % good,
        b'{"type": "heartbeat", "type": "check_failures", "timeout_ms": 0, "now": 99999999999999, %s}' % good,
        b'{"t\\u0079pe": "check_failures", "timeout_ms": 0, "now": 99999999999999, %s}' % good,
        b'{"type": "check\\u005ffailures", "timeout_ms": 0, "now": 99999999999999}',
        b'{"type": "check_failures", "msg_id": 7, "timeout_ms": 0, "now": 99999999999999}',
        b'{"type":"init","node_id":"n1"}', b'{"type":"snapshot"}', b'{"type":"remove_worker","worker_id":"w0"}',
        b'{"type": "heartbeat", "msg_id": 8, "worker_id": "w0", "timestamp": 99999999999999}',
        b'{"type": "fail_task", "worker_id": "w0", "task_id": "x", "attempt": 1, "timestamp": 1, "error": ""}',
        b'{"in_reply_to": 1, "type": "heartbeat", %s}' % good, b'{"type": "error", %s}' % good,
        b'{"type": "heartbeat", "msg_id": 1.5, %s}' % good, b'{"type": "heartbeat", "msg_id": 9, %s, "x": NaN}' % good,
        b'{"a":' * 500 + b"1" + b"}" * 500, b"{" + b'"a":1,' * 100_000 + b'"type":"heartbeat",%s}' % good,
        b"[" * 1_000_000, b'{"type": "heartbeat", "x": "' + b"a" * 5_000_000 + b'", %s}' % good,
        b'{"type": "heartbeat", "msg_id": 10, %s}' % good,
    ]  # fmt: skip
    for payload in payloads:
        await connection.publish(f"{bus.REQUESTS}.worker.evil", payload)
    for _ in range(300):
        if len(heard) == len(payloads):
            break
        await asyncio.sleep(0.1)
    assert len(heard) == len(payloads), f"{len(payloads)} messages, {len(heard)} replies"
    by_id = {reply.get("in_reply_to"): reply for reply in heard if reply.get("in_reply_to")}
    assert by_id[7]["code"] == 22 and by_id[8]["code"] == 22, by_id
    assert by_id[10] == {"type": "heartbeat_ok", "in_reply_to": 10}, by_id

    # The server's own acknowledgement of a publish must not take a place among the replies.
    js = connection.jetstream()
    await connection.publish(f"{bus.REQUESTS}.worker.evil", b"{}", reply=f"{bus.REPLIES}.worker.w0")
    # A role that does not exist, and names that JSON has to escape.
    for subject in ("fly.evil", 'worker.a"b', "worker.é", "worker.\x01"):
        await connection.publish(f"{bus.REQUESTS}.{subject}", b'{"type": "heartbeat", "msg_id": 1, %s}' % good)
    await connection.flush()
    await connection.close()
    publish_raw(cluster, b"PUB mapreduce.in.worker.\xff\xfe 2\r\n{}\r\n")
    publish_raw(cluster, b"PUB mapreduce.in.worker.evil mapreduce.\xff 2\r\n{}\r\n")
    for headers in (
        b"NATS/1.0\r\n\xff\r\n\r\n",
        b"NATS/1.0 999999999999\r\n\r\n",
        b"NATS/1.0\r\n: \x00\r\n\r\n",
        b"NATS/1.0\r\n\r\n",
    ):
        publish_raw(
            cluster, b"HPUB mapreduce.in.worker.evil %d %d\r\n%s{}\r\n" % (len(headers), len(headers) + 2, headers)
        )
    cluster.submit("submitter")
    await cluster.result("submitter", 60)
    del js
    await finish(cluster)


def publish_raw(cluster: Cluster, line: bytes) -> None:
    with socket.create_connection((HOST, cluster.ports[0]), 5) as to_server:
        to_server.sendall(b'CONNECT {"verbose":false,"headers":true}\r\n' + line + b"PING\r\n")
        while b"PONG" not in to_server.recv(4096):
            pass


class SecureCluster(Cluster):
    """One server with the configuration that users copy."""

    def __init__(self, folder: Path, master: str) -> None:
        super().__init__(folder, master, servers=1)
        subprocess.run(
            ["sh", str(KIT / "secure" / "certificates.sh"), HOST], cwd=folder, check=True, capture_output=True
        )
        for end in "pem", "key":
            (folder / f"{HOST}.{end}").rename(folder / f"server.{end}")
        for user in "setup", "replica", "monitor", "submitter", "w1", "w2":
            (folder / f"{user}.password").write_text(f"{user.upper()}_PASSWORD\n")
            self.login[user] = ["--ca", str(folder / "ca.pem"), "--password-file", str(folder / f"{user}.password")]

    def server_configuration(self, number: int) -> str:
        text = (KIT / "secure" / "server.conf").read_text()
        text = re.sub(r"\ncluster \{.*?\n\}\n", "\n", text, flags=re.DOTALL)
        for name, value in ("SERVER_NAME", "n0"), ("STORE", f"{self.folder}/n0"), ("FOLDER/", f"{self.folder}/"):
            text = text.replace(name, value)
        return text.replace("0.0.0.0:4222", f"{HOST}:{self.ports[0]}")


async def security(cluster: Cluster) -> None:
    """With the configuration that users copy: everybody can do his work, and nobody can be somebody else."""
    write_text(cluster.folder, 100_000)
    cluster.start_servers()
    cluster.start_replica(0, "--snapshot-every", "20", name="replica")
    cluster.start_monitor()
    cluster.start_worker("w2")
    cluster.submit("submitter", "--chunk-mb", "0.02")
    await cluster.result("submitter", 60)
    cluster.kill("w2")
    cluster.start_worker("w1", data="nats")
    cluster.submit("submitter", "--chunk-mb", "0.02", data="nats")
    await cluster.result("submitter", 60)
    assert "stored the state" in cluster.log("r0"), cluster.log("r0")
    cluster.kill("r0")
    cluster.again("r0")
    cluster.submit("submitter", data="nats")
    await cluster.result("submitter", 60)
    assert re.search(r"starts after message [1-9]", cluster.log("r0")), cluster.log("r0")

    for stranger in "w2", "nobody":
        options = cluster.options("w1")
        options.nats = f"tls://{stranger}:wrong@{HOST}:{cluster.ports[0]}"
        options.password_file = None
        try:
            await bus.connect(options, stranger)
        except SystemExit as error:
            assert "do not take this user" in str(error), error
        else:
            raise AssertionError(f"{stranger} came in without a password")

    for user in "w1", "w2", "monitor", "submitter", "replica":
        connection = await bus.connect(cluster.options(user), user)
        js_of_others = [bus.IN, bus.OUT, f"OBJ_{bus.STATE}"]
        forbidden = [f"{bus.REQUESTS}.worker.{other}" for other in ("w1", "w2", "new") if other != user]
        forbidden += [f"{bus.REQUESTS}.admin.{other}" for other in ("monitor", "submitter", "w1") if other != user]
        forbidden += [f"$JS.API.STREAM.DELETE.{stream}" for stream in js_of_others] + [
            "$JS.API.STREAM.UPDATE.MAPREDUCE_IN"
        ]
        if user != "replica":
            forbidden += [f"{bus.REPLIES}.worker.w1", f"$O.{bus.STATE}.M.x"]
            forbidden += [f"$JS.API.STREAM.PURGE.{stream}" for stream in js_of_others]
        refused = []
        connection._error_cb = remember(refused)
        for subject in forbidden:
            await connection.publish(subject, b"{}")
        for subject in f"{bus.HEARD}.worker.>", f"{bus.REQUESTS}.>", "_INBOX_setup.>", ">":
            await connection.subscribe(subject)
            forbidden.append(subject)
        await connection.flush()
        await asyncio.sleep(0.2)
        await connection.close()
        assert len(refused) == len(forbidden), f"{user}: {refused} of {forbidden}"


def remember(refused: list[str]):
    async def hear(error: Exception) -> None:
        refused.append(str(error))

    return hear


HOSTS = ["control", "h0", "h1", "h2", "lone-worker", "lone-replica"]


class PartitionedCluster(Cluster):
    """Three hosts with a server, a replica and a worker each; one with only a worker, and one with only a replica."""

    def __init__(self, folder: Path, master: str) -> None:
        super().__init__(folder, master)
        self.network = namespaces.Network(sys.argv[4], HOSTS)
        self.hosts = [self.network.address(f"h{number}") for number in range(3)]
        self.ports = [4222] * 3 + [6222] * 3
        homes = {f"{kind}{number}": f"h{number}" for kind in "nrw" for number in range(3)}
        homes |= {"w3": "lone-worker", "r3": "lone-replica"}
        self.prefix = {name: self.network.inside(host) for name, host in homes.items()}


async def partitions(cluster: PartitionedCluster) -> None:
    """A server, a replica and a worker are cut off, each alone and all together, and come back."""
    write_text(cluster.folder, 300_000)
    cluster.addition = (
        "\n\nimport time\n\nquick = map\n\n\ndef map(lines):\n    time.sleep(1)\n    return quick(lines)\n"
    )
    cluster.start_servers()
    for number in range(4):
        cluster.start_replica(number)
        cluster.start_worker(f"w{number}")
    cluster.start_monitor("--timeout-ms", "8000")
    await is_up(cluster)
    for seconds, hosts in (
        (13, ["lone-worker"]),
        (6, ["h0"]),
        (4, ["lone-replica"]),
        (13, ["lone-worker", "h1", "lone-replica"]),
    ):
        cluster.submit("submitter", "--chunk-mb", "0.015", "--reduces", "2")
        await asyncio.sleep(2)
        for host in hosts:
            cluster.network.cut_off(host)
        await asyncio.sleep(seconds)
        for host in hosts:
            cluster.network.join(host)
        await cluster.result("submitter", 60)
    # The worker on h2 was never cut off, but may well have been connected to a server that was.
    failed = set(re.findall(r"(w\d) failed", cluster.log("monitor")))
    assert "w3" in failed and "w2" not in failed, cluster.log("monitor")
    for _ in range(150):
        if "w3 is back" in cluster.log("monitor"):
            break
        await asyncio.sleep(0.1)
    assert "w3 is back" in cluster.log("monitor"), cluster.log("monitor")
    await finish(cluster, copies_may_differ=is_old_server() and "CI" not in os.environ)


def is_old_server() -> bool:
    """Whether it is older than NATS 2.10, which keeps the copies of its streams the same through partitions."""
    said = subprocess.run(["nats-server", "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"(\d+)\.(\d+)", said)
    assert match, said
    return tuple(map(int, match.groups())) < (2, 10)


async def finish(cluster: Cluster, **options: bool) -> None:
    """Ends whoever may still send, and checks the streams."""
    for name in [name for name in cluster.processes if re.fullmatch(r"w\d|monitor", name)]:
        cluster.kill(name)
    await cluster.check_streams(**options)


async def measure(cluster: Cluster) -> None:
    """Not a test: prints how fast requests are answered, by the number of replicas, and while replicas are killed."""
    cluster.start_servers()
    for replicas in 1, 3:
        for number in range(replicas):
            if f"r{number}" not in cluster.processes:
                cluster.start_replica(number)
        await is_up(cluster)
        await asyncio.sleep(2)
        async with bus.client(cluster.options("w0"), "worker") as (client, _):

            async def ask(client=client) -> float:
                start = time.perf_counter()
                await client.ask("heartbeat", worker_id="w0", timestamp=1)
                return 1000 * (time.perf_counter() - start)

            times = sorted([await ask() for _ in range(500)])
            print(f"{replicas} replicas, one request at a time: p50 {times[250]:.1f} ms, p99 {times[495]:.1f} ms")
            start = time.perf_counter()
            for _ in range(5):
                await asyncio.gather(*(ask() for _ in range(1000)))
            print(f"{replicas} replicas, a thousand at a time: {5000 / (time.perf_counter() - start):.0f} requests/s")
        async with bus.client(cluster.options("w0"), "worker") as (_, connection):
            js = connection.jetstream()
            before = (await js.stream_info(bus.OUT)).state.last_seq
            start = time.perf_counter()
            for number in range(FLOOD):
                line = f'{{"type": "heartbeat", "msg_id": {number}, "worker_id": "w0", "timestamp": 1}}'
                await connection.publish(f"{bus.REQUESTS}.worker.w0", line.encode())
            while (await js.stream_info(bus.OUT)).state.last_seq < before + FLOOD:
                await asyncio.sleep(0.05)
            print(f"{replicas} replicas, all at once: {FLOOD / (time.perf_counter() - start):.0f} requests/s")
    async with bus.client(cluster.options("w0"), "worker") as (client, _):
        times = []
        for round in range(6):
            name = f"r{round % 3}"
            asyncio.get_running_loop().call_later(0.2, cluster.kill, name)
            end = time.monotonic() + 2
            while time.monotonic() < end:
                start = time.perf_counter()
                await client.ask("heartbeat", worker_id="w0", timestamp=1)
                times.append(1000 * (time.perf_counter() - start))
            cluster.again(name)
            await asyncio.sleep(2)
        times.sort()
        print(
            f"6 kills of a replica in {len(times)} requests: p50 {times[len(times) // 2]:.1f} ms, slowest {times[-1]:.0f} ms"
        )


SCENARIOS = {
    work.__name__: work
    for work in (kills, silence, deafness, snapshots, interruption, hostile, security, partitions, measure)
}


def main() -> None:
    name, master, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if name == "partitions" and len(sys.argv) == 4:
        with namespaces.Network(f"mr{os.getpid()}", HOSTS) as network:
            inside = [*network.inside("control"), sys.executable, *sys.argv, network.prefix]
            sys.exit(subprocess.run(inside).returncode)
    make = {"security": SecureCluster, "partitions": PartitionedCluster}.get(name, Cluster)
    cluster, work = make(folder, master), SCENARIOS[name]
    try:
        asyncio.run(work(cluster))
    except BaseException:
        cluster.stop()
        cluster.print_logs()
        raise
    finally:
        cluster.stop()
        cluster.remove()


if __name__ == "__main__":
    main()
