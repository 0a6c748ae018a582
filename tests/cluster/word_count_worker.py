"""A worker that counts words: asks for a task, runs it, reports, and again. A line of JSON is a message.

Each request is a heartbeat too. Tasks that run longer than the failure timeout need more of them.
"""
import collections, json, sys, time, zlib

me = sys.argv[1]

def ask(**body):
    body |= {"worker_id": me, "timestamp": int(time.time() * 1000)}
    print(json.dumps({"src": me, "dest": "master", "body": body}), flush=True)
    return json.loads(sys.stdin.readline() or sys.exit())["body"]

def run_map(chunk, partitions):
    output = [collections.Counter() for _ in range(partitions)]
    for word in chunk.split():
        output[zlib.crc32(word.encode()) % partitions][word] += 1
    return output

def run_reduce(inputs):
    return sum((collections.Counter(map["output"]) for map in inputs), collections.Counter())

while not (reply := ask(type="request_task")).get("done"):
    if reply["type"] == "no_task":
        time.sleep(0.1)
        continue
    task = reply["task"]
    attempt = {"task_id": task["id"], "attempt": task["attempt"]}
    try:
        is_map = task["kind"] == "map"
        output = run_map(task["chunk"], task["partitions"]) if is_map else run_reduce(task["inputs"])
    except Exception as error:
        ask(type="fail_task", error=repr(error), **attempt)
    else:
        ask(type="complete_task", output=output, **attempt)
