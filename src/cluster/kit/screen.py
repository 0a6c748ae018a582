"""What a replica lets through to its master.

The master checks who sends a worker's messages (`--strict`), but not who checks failures or submits jobs. That is done
here, by the role in the subject. All replicas must decide alike, on whichever version of Python, so nothing is parsed
but for what JSON's grammar makes certain: strings, and the braces outside them. Where a message is no JSON, the master
says so.
"""

import json
import re

WORKER_TYPES = {b"heartbeat", b"request_task", b"complete_task", b"fail_task"}
REFUSED_TYPES = {b"init", b"snapshot"}  # `init` would change how replies look; `snapshot` is a replica's own.
TOKEN = re.compile(rb'("(?:[^"\\]|\\.)*")([ \t]*:[ \t]*)?|[{}]', re.DOTALL)
TYPE = re.compile(rb'"([a-z_]*)"')
MSG_ID = re.compile(rb"(-?(?:0|[1-9][0-9]{0,18}))[ \t]*[,}]")


def envelope(role: str, name: str, payload: bytes) -> tuple[bytes, bytes | None]:
    """Returns a message as a line for the master, and the reply to be given instead of the master's, if it is refused.

    The line then is `null`, which changes nothing: each message is one line, and each line has one reply.
    """
    body = payload.translate(None, b"\r\n")
    refusal = check(role, body)
    if refusal is not None:
        return b"null\n", refusal
    sender = name if role == "worker" else f"{role}.{name}"
    return b'{"src": %s, "dest": "master", "body": %s}\n' % (json.dumps(sender).encode(), body), None


def check(role: str, body: bytes) -> bytes | None:
    """Returns the error to answer, or None where the role may send this."""
    body = body.strip(b" \t")
    if not body.startswith(b"{"):
        return error(b"a message is a JSON object", None)
    depth, types, msg_id, is_clear = 0, [], None, True
    for token in TOKEN.finditer(body):
        string, colon = token[1], token[2]
        if string is None:
            depth += 1 if token[0] == b"{" else -1
            if depth == 0 and token.end() != len(body):
                return error(b"a message is one JSON object", msg_id)
        elif depth == 1 and colon is not None:
            if b"\\" in string:
                is_clear = False  # It might be "type" in disguise.
            elif string == b'"type"':
                value = TYPE.match(body, token.end())
                types.append(value[1] if value else b"")  # No text, or one with an escape.
            elif string == b'"msg_id"' and (value := MSG_ID.match(body, token.end())):
                msg_id = value[1]
    if depth != 0:
        return error(b"a message is a JSON object", msg_id)
    if not is_clear:
        return error(b"no field has a name with an escape", msg_id)
    for kind in types:
        if not kind or kind in REFUSED_TYPES or (role != "admin" and kind not in WORKER_TYPES):
            return error(b"not a message that this sender may send", msg_id, 22)
    return None


def error(text: bytes, msg_id: bytes | None, code: int = 12) -> bytes:
    in_reply_to = b"" if msg_id is None else b', "in_reply_to": %s' % msg_id
    return b'{"type": "error"%s, "code": %d, "text": "%s"}' % (in_reply_to, code, text)
