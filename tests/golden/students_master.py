"""A master as a student hands it in: it answers the course's three messages, bare or in an envelope, and no others.

With BUG set in the environment it has that bug, for the tests of the runner.
"""

import json
import os
import sys
import time

BUG = os.environ.get("BUG")

heartbeats = {}


def answer(body):
    if body["type"] == "heartbeat":
        worker = body["worker_id"]
        heartbeats[worker] = max(body["timestamp"], heartbeats.get(worker, body["timestamp"]))
        return {"type": "heartbeat_ok", "in_reply_to": body["msg_id"]}
    if body["type"] == "check_failures":
        def failed(silent_ms):
            return silent_ms >= body["timeout_ms"] if BUG == "equal" else silent_ms > body["timeout_ms"]
        return {
            "type": "failures_detected",
            "in_reply_to": body["msg_id"],
            "failed_workers": [w for w, last in heartbeats.items() if failed(body["now"] - last)],
        }
    if body["type"] == "reassign":
        return {
            "type": "reassigned",
            "in_reply_to": body["msg_id"],
            "reassigned_tasks": [task["id"] for task in body["tasks"]],
        }
    raise ValueError(body["type"])


def main():
    text = sys.stdin.read()
    decoder = json.JSONDecoder()
    count = 0
    while text := text.lstrip():
        message, end = decoder.raw_decode(text)
        text = text[end:]
        count += 1
        if BUG == "dies" and count == 2:
            raise RuntimeError("the second message is too much")
        if BUG == "hangs" and count == 2:
            time.sleep(60)
        if BUG == "silent" and count == 2:
            continue
        reply = answer(message.get("body", message))
        if BUG == "compact":
            reply = dict(reversed(reply.items()))
            print(json.dumps(reply, separators=(",", ":")))
        else:
            print(json.dumps(reply))
        if BUG == "chatty":
            print("done")


main()
