"""A word count by a cluster: a master and three workers, one of which is killed with a map on its hands.

    python3 word_count.py [MASTER [TEXT]]

MASTER is the built binary (cargo builds and runs it if none is given). Each line of TEXT is a map task. This
is a Maelstrom-style harness in small: it starts the processes, and carries each message to whom it is for.
"""
import json, pathlib, subprocess, sys, threading, time

HERE = pathlib.Path(__file__).resolve().parent
CARGO_RUN = ["cargo", "run", "--release", "--quiet", "--manifest-path", HERE / "../../Cargo.toml"]
TEXT = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else HERE / "gettysburg_address.txt")

def start(command):
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

master = start(sys.argv[1:2] or CARGO_RUN)
workers = {name: start([sys.executable, HERE / "word_count_worker.py", name]) for name in ["w1", "w2", "w3"]}
one_at_a_time, ended = threading.Lock(), threading.Event()

def send(line):
    with one_at_a_time:
        master.stdin.write(line)
        master.stdin.flush()

def request(**body):
    send(json.dumps({"src": "monitor", "dest": "master", "body": body}) + "\n")

def carry_requests(worker):
    for line in worker.stdout:
        if line.endswith("\n"):  # What a killed worker was about to say is not a message.
            send(line)

def watch():
    while not ended.wait(0.2):
        request(type="check_failures", timeout_ms=1000, now=int(time.time() * 1000))
        request(type="job_status", job_id="words")

def carry_replies():
    """Returns the counts when the job has ended."""
    doomed = "line-3"
    for line in master.stdout:
        message = json.loads(line)
        dest, body = message["dest"], message["body"]
        if body["type"] == "task_assigned" and body["task"]["id"] == doomed:
            print(f"{dest} is killed with {doomed} on its hands", file=sys.stderr)
            workers[dest].kill()
            doomed = None  # Once is enough.
        elif dest in workers:
            try:
                workers[dest].stdin.write(line)
                workers[dest].stdin.flush()
            except BrokenPipeError:
                pass  # Nobody is there any more.
        elif body["type"] == "job_status_ok" and body["state"] != "running":
            return {word: count for output in body["outputs"] for word, count in output.items()}

request(type="init", node_id="master")
lines = enumerate(TEXT.read_text(encoding="utf-8").splitlines(), 1)
tasks = [{"id": f"line-{number}", "chunk": line} for number, line in lines]
request(type="submit_job", job_id="words", reduce_tasks=3, tasks=tasks)
threads = [threading.Thread(target=carry_requests, args=[worker]) for worker in workers.values()]
threads.append(threading.Thread(target=watch))
for thread in threads:
    thread.start()
try:
    counts = carry_replies()
finally:
    ended.set()
    for worker in workers.values():
        worker.kill()
        worker.wait()
    for thread in threads:
        thread.join()
    master.communicate()
for word, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
    print(f"{count:3} {word}")
