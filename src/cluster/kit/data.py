"""Input, sorted runs, and merges: everything that reads or writes records.

* A *piece* of input is `[file, start, end]`, a range of bytes of a text file. Its lines are those that start in that
  range, so that pieces may be cut anywhere, and each line still belongs to exactly one of them (as in Hadoop).
* A *record* is a key and a value. In a file it is a line of JSON, `[key, value]`: JSON, because people and other
  programs can read it, and because reading it runs no code, as reading a pickle does. Blocks of records are parsed in
  one call, which is about as fast as pickle.
* A *section* is a range of bytes of a file whose records are sorted by key. A map's output is a file with one section a
  partition. A reduce merges its sections as streams.

Keys are strings, integers, or tuples of these. They are compared as Python compares them, strings by code point, and
give the same partition in each process (`hash` would not).
"""

import json
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from json.encoder import encode_basestring
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple

Key = str | int | tuple
Pair = tuple[Key, Any]
Piece = tuple[str, int, int]

INPUT_BLOCK = 1 << 20  # Bytes of text that are read at a time.
RECORD_BLOCK = 1 << 16  # Bytes of each section that a merge holds at a time.
FAN_IN = 64  # Sections that one merge reads.
KEY_COST, VALUE_COST = 250, 80  # Bytes of memory that a key and a small value take, roughly.

first = itemgetter(0)
second = itemgetter(1)


class Section(NamedTuple):
    """The records of one partition in a file, sorted by key: its bytes from `start` up to `end`."""

    file: str | BinaryIO
    start: int
    end: int


class Unreadable(Exception):
    """A section is not there, or is not what was written."""

    def __init__(self, section: Section, error: Exception) -> None:
        super().__init__(f"{section.file}: {error}")
        self.section = section


# --- Input -----------------------------------------------------------------------------------------------------------


def cut(sizes: dict[str, int], chunk_bytes: int) -> list[list[Piece]]:
    """Returns the chunks of some files: lists of pieces of about `chunk_bytes` in all.

    Large files are cut into several chunks, and small ones share one. Nothing is read: the pieces end anywhere.
    """
    chunks: list[list[Piece]] = []
    room = 0
    for file, size in sizes.items():
        parts = max(1, round(size / chunk_bytes))
        for part in range(parts):
            start, end = size * part // parts, size * (part + 1) // parts
            if start == end:
                continue
            if end - start > room:
                chunks.append([])
                room = chunk_bytes
            chunks[-1].append((file, start, end))
            room -= end - start
    return chunks


def lines_of(pieces: Iterable[Piece], counters: dict[str, int]) -> Iterator[str]:
    """Yields the lines of some pieces, without their ends (`\\n` or `\\r\\n`).

    Bytes that are not UTF-8 become half surrogates, and the same bytes again when they are written.
    """
    for name, start, end in pieces:
        with open(name, "rb", buffering=0) as file:
            start, end = line_range(file, start, end)
            counters["bytes_read"] += end - start
            for block in whole_lines(file, start, end, INPUT_BLOCK):
                text = block.decode("utf-8", "surrogateescape")
                if "\r\n" in text:
                    text = text.replace("\r\n", "\n")
                lines = text.split("\n")
                if not lines[-1]:
                    del lines[-1]
                counters["records_read"] += len(lines)
                yield from lines


def line_range(file: BinaryIO, start: int, end: int) -> tuple[int, int]:
    """Returns the range of the lines that start in a range."""
    start = line_start(file, start, end)
    return start, line_start(file, end, None) if start < end else start


def line_start(file: BinaryIO, at: int, limit: int | None) -> int:
    """Returns where the first line starts that starts at `at` or later, but no more than `limit` or the file's end."""
    if at == 0:
        return 0
    at -= 1  # A line starts at `at` itself if a newline is just before it.
    file.seek(at)
    while limit is None or at < limit:
        block = file.read(1 << 16)
        if not block:
            return at
        newline = block.find(b"\n")
        if newline >= 0:
            return at + newline + 1 if limit is None else min(at + newline + 1, limit)
        at += len(block)
    return limit


def whole_lines(file: BinaryIO, start: int, end: int, block_bytes: int) -> Iterator[bytes]:
    """Yields that range of a file in blocks of whole lines. Raises EOFError if the file ends before it does."""
    unfinished: list[bytes] = []
    while start < end:
        file.seek(start)
        block = file.read(min(block_bytes, end - start))
        if not block:
            raise EOFError(f"{file.name} ends at byte {start}, and byte {end} was expected")
        start += len(block)
        length = len(block) if start == end else block.rfind(b"\n") + 1
        if length:
            yield b"".join([*unfinished, block[:length]])
            unfinished = [block[length:]]
        else:
            unfinished.append(block)


# --- Records ---------------------------------------------------------------------------------------------------------

to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
to_ascii_json = json.JSONEncoder(separators=(",", ":")).encode


def encode(key: Key, value: Any) -> bytes:
    """Returns a record as a line."""
    try:
        if type(value) is int and type(key) is str:  # Four times as fast, and very common.
            return f"[{encode_basestring(key)},{value}]\n".encode()
        return f"{to_json([key, value])}\n".encode()
    except UnicodeEncodeError:  # Half surrogates.
        return f"{to_ascii_json([key, value])}\n".encode()


def decode(block: bytes) -> list[list]:
    """Returns the records of some whole lines."""
    records = json.loads(b"[%s]" % block.rstrip(b"\n").replace(b"\n", b","))
    if records and type(records[0][0]) is list:
        for record in records:
            record[0] = to_tuple(record[0])
    return records


def to_tuple(key: Any) -> Any:
    return tuple(map(to_tuple, key)) if type(key) is list else key


def check_key(key: Any) -> None:
    parts = key if type(key) is tuple else [key]
    for part in parts:
        if type(part) is tuple:
            check_key(part)
        elif type(part) is not str and type(part) is not int:
            raise TypeError(f"a key is a string, an integer, or a tuple of these, and not {key!r:.100}")


def partition_of(key: Key, partitions: int) -> int:
    """The default `partition`: the same in each process and on each machine."""
    text = key if type(key) is str else to_ascii_json(key)
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % partitions


def sort_keys(keys: Iterable[Key]) -> list[Key]:
    try:
        return sorted(keys)
    except TypeError as error:
        raise TypeError(f"the keys of a job are all of one type, so that they can be sorted: {error}") from None


# --- Merging ---------------------------------------------------------------------------------------------------------


def blocks_of(section: Section) -> Iterator[list[list]]:
    """Yields the records of a section, some at a time. Raises Unreadable."""
    try:
        if isinstance(section.file, str):
            with open(section.file, "rb", buffering=0) as file:
                yield from map(decode, whole_lines(file, section.start, section.end, RECORD_BLOCK))
        else:
            yield from map(decode, whole_lines(section.file, section.start, section.end, RECORD_BLOCK))
    except (OSError, EOFError, ValueError, LookupError) as error:
        raise Unreadable(section, error) from error


def merge(sections: list[Section], scratch: Path) -> Iterator[list]:
    """Yields the records of all sections, sorted by key. Memory does not grow with their length or number."""
    if len(sections) <= FAN_IN:
        return merge_blocks([blocks_of(section) for section in sections])
    merged = []
    for at in range(0, len(sections), FAN_IN):
        file = TemporaryFile(dir=scratch)
        file.writelines(encode(*record) for record in merge(sections[at : at + FAN_IN], scratch))
        file.flush()
        merged.append(Section(file, 0, file.tell()))
    return merge(merged, scratch)


def merge_blocks(streams: list[Iterator[list[list]]]) -> Iterator[list]:
    """Merges streams of sorted blocks.

    No record that is still to be read can come before the least of the blocks' last keys: what is up to there is
    sorted at once, and Python's sort is at its best on sorted stretches. A heap would compare record by record.
    """
    heads = [(block, stream) for stream in streams if (block := next(stream, []))]
    while heads:
        bound = min(block[-1][0] for block, _ in heads)
        ready, rest = [], []
        for block, stream in heads:
            at = bisect_right(block, bound, key=first)
            ready += block[:at]
            if left := block[at:] or next(stream, []):
                rest.append((left, stream))
        ready.sort(key=first)
        yield from ready
        heads = rest


def groups_of(records: Iterable[list]) -> Iterator[tuple[Key, Iterator[Any]]]:
    """Yields each key of sorted records with its values, which may be read once, and before the next key."""
    for key, group in groupby(records, key=first):
        yield key, map(second, group)


# --- Sorting ---------------------------------------------------------------------------------------------------------


class Sorter:
    """Sorts the pairs of a task by partition and key, on disk where they are too many for `memory` bytes."""

    def __init__(
        self,
        partitions: int,
        partition: Callable[[Key, int], int],
        combine: Callable[[Key, Iterator[Any]], Iterable[Pair]] | None,
        scratch: Path,
        memory: int,
    ) -> None:
        self.partitions, self.partition, self.combine = partitions, partition, combine
        self.scratch, self.memory = scratch, memory
        self.groups: dict[Key, list] = {}  # The values of each key; without `combine`, as encoded records.
        self.spills: list[list[Section]] = []  # For each spill its sections.
        self.size = 0  # Bytes that `groups` takes, roughly.
        self.records_written = 0

    def add(self, pairs: Iterable[Pair]) -> None:
        """Takes pairs, in any number of calls."""
        groups, is_combined, size = self.groups, self.combine is not None, self.size
        for key, value in pairs:  # The user's functions have to yield (key, value) pairs.
            try:
                values = groups[key]
            except (KeyError, TypeError):
                if type(key) is not str:
                    check_key(key)
                values = groups[key] = []
                size += KEY_COST
            if not is_combined:
                value = encode(key, value)
                size += len(value)
            elif type(value) is not int:
                size += 4 * len(to_ascii_json(value))
            values.append(value)
            size += VALUE_COST
            if size > self.memory:
                size = self.shrink()
        self.size = size

    def shrink(self) -> int:
        """Makes room; returns how much is still used, in bytes. Spills what `combine` does not make much smaller."""
        before = sum(map(len, self.groups.values()))
        self.combine_groups()
        after = sum(map(len, self.groups.values()))
        if self.combine is None or after > before // 4:
            self.spill()
            return 0
        return self.memory * after // before

    def combine_groups(self) -> None:
        if self.combine is None:
            return
        several = [key for key, values in self.groups.items() if len(values) > 1]
        groups = [(key, self.groups.pop(key)) for key in several]
        for key, values in groups:
            for combined_key, value in self.combine(key, iter(values)):
                check_key(combined_key)
                self.groups.setdefault(combined_key, []).append(value)

    def spill(self) -> None:
        file = TemporaryFile(dir=self.scratch)
        self.spills.append(self.write_groups(file))
        file.flush()
        self.groups.clear()

    def write_groups(self, file: BinaryIO) -> list[Section]:
        keys: list[list[Key]] = [[] for _ in range(self.partitions)]
        for key in sort_keys(self.groups):
            number = self.partition(key, self.partitions)
            if type(number) is not int or not 0 <= number < self.partitions:
                raise ValueError(f"partition({key!r:.100}, {self.partitions}) returned {number!r:.100}")
            keys[number].append(key)
        return self.write_sections(file, map(self.records_of, keys))

    def records_of(self, keys: list[Key]) -> Iterator[bytes]:
        if self.combine is None:
            for key in keys:
                yield from self.groups[key]
        else:
            for key in keys:
                for value in self.groups[key]:
                    yield encode(key, value)

    def write_sections(self, file: BinaryIO, partitions: Iterable[Iterable[bytes]]) -> list[Section]:
        sections = []
        for records in partitions:
            start = file.tell()
            self.records_written += write(file, records)
            sections.append(Section(file, start, file.tell()))
        return sections

    def finish(self, file: BinaryIO) -> list[Section]:
        """Writes everything, one section for each partition."""
        self.combine_groups()
        if not self.spills:
            return self.write_groups(file)
        self.spill()
        self.records_written = 0  # Only those in the output count.
        spilled = zip(*self.spills)
        return self.write_sections(file, (self.merge_spills(list(sections)) for sections in spilled))

    def merge_spills(self, sections: list[Section]) -> Iterator[bytes]:
        records = merge(sections, self.scratch)
        if self.combine is None:
            yield from (encode(key, value) for key, value in records)
            return
        for key, values in groups_of(records):
            yield from (encode(*pair) for pair in self.combine(key, values))


def write(file: BinaryIO, records: Iterable[bytes]) -> int:
    """Writes records; returns how many there were."""
    count = 0
    for record in records:
        file.write(record)
        count += 1
    return count
