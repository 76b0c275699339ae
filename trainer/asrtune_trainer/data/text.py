"""Transcript normalisation: canonical Unicode, no event tags, single spaces. Digits and symbols stay."""

from __future__ import annotations

import re
import unicodedata

# Square brackets of both widths and lenticular ones hold annotations by convention: [laughter], ［笑声］, 【停顿】.
# A number in them, or anything longer than a few words, may have been said and stays.
_WORDS = r"\s*[^\W\d_][\w\s.:/'-]{0,19}"
_BRACKETED = re.compile(rf"\[{_WORDS}\]|［{_WORDS}］|【{_WORDS}】|〔{_WORDS}〕")
# Round ones hold real text too: only these words in them are events.
_EVENTS = (
    "laughter|laughs?|laughing|pause|noise|cough|coughs|coughing|breath|breathing|sigh|sighs|applause|music|silence"
    "|笑|笑声|大笑|停顿|噪音|噪声|咳嗽|呼吸|喘气|叹气|掌声|音乐|静音|沉默|拍手|咳|ため息|笑い"
)
_ROUND_EVENT = re.compile(rf"\(\s*(?:{_EVENTS})\s*\)|（\s*(?:{_EVENTS})\s*）", re.IGNORECASE)
# <|zh|>, <|NEUTRAL|>, <|Speech|>: SenseVoice's own tags, not speech.
_RICH_TAG = re.compile(r"<\|[^|<>]{0,30}\|>")
_SPACES = re.compile(r"\s+")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs"})  # control, format, surrogate
_JOINERS = frozenset("\u200c\u200d")  # format characters that change how Persian, Hindi and others are read


def normalise_transcript(text: str, *, remove_event_tags: bool = True) -> str:
    """The transcript as it is trained on.

    Args:
        text: as it stands in the list.
        remove_event_tags: remove [laughter], 【停顿】, （笑）, <|en|> and the like.

    Returns:
        Text in NFC without control characters, runs of white space as one space, none at the ends. Applying it again
        changes nothing.
    """
    while (once := _normalise_once(text, remove_event_tags=remove_event_tags)) != text:
        text = once
    return text


def _normalise_once(text: str, *, remove_event_tags: bool) -> str:
    text = unicodedata.normalize("NFC", text)
    if remove_event_tags:
        text = _RICH_TAG.sub("", text)
        text = _ROUND_EVENT.sub(" ", _BRACKETED.sub(" ", text))
    text = _SPACES.sub(" ", text)
    if not text.isprintable():  # rare, and costly to look at character by character
        text = "".join(c for c in text if c in _JOINERS or unicodedata.category(c) not in _INVISIBLE)
    return _SPACES.sub(" ", text).strip()
