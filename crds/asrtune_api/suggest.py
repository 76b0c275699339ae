"""Did you mean...?"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str], *, what: str = "") -> str:
    """A sentence that names the closest known word, if one is close, and all known words.

    Args:
        word: what was written.
        known: what could have been written.
        what: what the known words are ("presets", "fields"); empty: the list of them is left out.

    Returns:
        Such as `Did you mean "train"? The stages are prepare, train, average.`; may be empty.
    """
    words = list(known)
    lowered = {candidate.lower(): candidate for candidate in words}
    close = get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    sentences = [f'Did you mean "{lowered[close[0]]}"?'] if close else []
    if what:
        sentences.append(f"The {what} are {', '.join(words)}." if words else f"There are no {what}.")
    return " ".join(sentences)
