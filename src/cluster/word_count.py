"""Counts how often each word occurs. Words are separated by blanks."""

from collections import Counter
from itertools import islice

MANY = 500_000  # The most different words that are counted in memory.


def map(lines):
    """Yields words with how often they occur in some lines. A word may come more than once."""
    counts = Counter()
    lines = iter(lines)
    while batch := list(islice(lines, 2_000)):  # Much faster than line by line.
        counts.update("\n".join(batch).split())
        if len(counts) > MANY:
            yield from counts.items()
            counts.clear()
    yield from counts.items()


def reduce(word, counts):
    """Yields the word with the sum of its counts."""
    yield word, sum(counts)


combine = reduce
