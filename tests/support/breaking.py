"""Ways to break things on purpose: processes killed at their n-th file operation, files damaged by a seeded hand."""

import json
import os
import random
import signal
import sys
from pathlib import Path

from phonofilm.errors import UserError

OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.rmtree", "os.truncate"}
TIMES = ("seconds", "samples_per_s")
"""Figures that differ between any two runs."""


def in_child(function, folder, kill_at=None):
    """Run a function in a forked process that is killed before its n-th file operation in a folder.

    Returns the signal that ended the process (0 for none), its exit code and how many operations there were.
    """
    folder = str(folder)
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        with os.fdopen(reader) as said:
            counted = said.read()
        _, status = os.waitpid(child, 0)
        killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        return killed, 0 if killed else os.WEXITSTATUS(status), int(counted or 0)
    code = 1
    try:
        os.close(reader)
        count = watch(folder, kill_at)
        function()
        os.write(writer, str(count[0]).encode())
        code = 0
    except BaseException as error:  # noqa: BLE001  the parent looks at the code
        print(f"{type(error).__name__}: {error}", file=sys.__stderr__, flush=True)
    finally:
        os._exit(code)


def watch(folder, kill_at):
    """Count the file operations in a folder from now on; ends the process before the ``kill_at``-th."""
    count = [0]

    def hook(event, arguments):
        if event in OPERATIONS and any(folder in str(part) for part in arguments[:2]):
            count[0] += 1
            if count[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return count


def content(folder):
    """What a folder holds, by path, without what differs between any two runs: times, and torch's identifiers."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and "tensorboard" not in name and path.name != ".metadata":
            found[name] = _timeless(path)
    return found


def _timeless(path):
    text = path.read_bytes()
    if path.name in ("position.json", "cost.json"):
        text = json.dumps(_without_times(json.loads(text))).encode()
    elif path.name == "log.jsonl":
        text = "\n".join(json.dumps(_without_times(json.loads(line))) for line in text.decode().splitlines()).encode()
    elif path.name == "SHA256SUMS" and (path.parent / "position.json").exists():
        lines = text.decode().splitlines()
        text = "\n".join(line for line in lines if not line.endswith(("position.json", ".metadata"))).encode()
    return text


def _without_times(row):
    return {name: value for name, value in row.items() if name not in TIMES}


def tried(function, *arguments):
    """What a function returns and "", or None and what it says where it refuses."""
    try:
        return function(*arguments), ""
    except UserError as error:
        return None, str(error)


def damage(path, seed):
    """Damage a file in one of the ways that disks, transfers and hands do; returns which."""
    rng, data = random.Random(seed), bytearray(path.read_bytes())
    ways = ["cut", "flip", "zeros", "empty", "lost", "tail", "hand"]
    way = rng.choice(ways[: 6 if path.suffix not in (".json", ".jsonl") else 7])
    place = rng.randrange(len(data))
    if way == "cut":
        data = data[:place]
    elif way == "flip":
        data[place] ^= 1 << rng.randrange(8)
    elif way == "zeros":
        length = max(1, len(data) // 10)
        old = bytes(data)
        data[place : place + length] = bytes(len(data[place : place + length]))
        if bytes(data) == old:  # zeros already
            data[place] ^= 1
    elif way == "empty":
        data = bytearray()
    elif way == "lost":
        length = rng.randrange(1, 1 + max(1, len(data) // 10))
        del data[place : place + length]
    elif way == "tail":
        data += rng.randbytes(rng.randrange(1, 100))
    else:
        data = bytearray(_by_hand(bytes(data), rng))
    path.write_bytes(data)
    return way


def _by_hand(text, rng):
    """JSON with one value replaced by one of another kind."""
    lines = text.decode().splitlines()
    chosen = (
        rng.randrange(len(lines)) if len(lines) > 1 and lines[0].startswith("{") and lines[0].endswith("}") else None
    )
    content = json.loads(lines[chosen] if chosen is not None else text)
    _replace(content, rng)
    if chosen is None:
        return json.dumps(content).encode()
    lines[chosen] = json.dumps(content)
    return ("\n".join(lines) + "\n").encode()


def _replace(content, rng):
    while True:
        key = rng.choice(list(content) if isinstance(content, dict) else range(len(content)))
        if isinstance(content[key], dict | list) and content[key] and rng.random() < 0.7:
            content = content[key]
            continue
        old = content[key]
        content[key] = rng.choice([x for x in (None, -1, 1e300, "x", [], {}, True, [[[]]], 10**9) if x != old])
        return
