"""Counts how often each word occurs. A word is what stands between blanks."""

from collections import Counter
from itertools import islice


def map(lines):
    """Yields each word with the number of times it occurs in some lines."""
    lines = iter(lines)
    while batch := list(islice(lines, 50_000)):
        yield from Counter("\n".join(batch).split()).items()


def reduce(word, counts):
    """Yields the word with the sum of its counts."""
    yield word, sum(counts)


combine = reduce
