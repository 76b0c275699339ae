"""Why a line is not used: the closed list of reasons, each with its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a line of a data list is rejected."""

    LINE_TOO_LONG = "LineTooLong"
    NOT_UTF8 = "NotUtf8"
    NOT_JSON = "NotJson"
    NOT_AN_OBJECT = "NotAnObject"
    INVALID_FIELD = "InvalidField"
    NO_SOURCE = "NoSource"
    NO_TARGET = "NoTarget"
    EMPTY_TEXT = "EmptyText"
    DUPLICATE_KEY = "DuplicateKey"
    UNSUPPORTED_SOURCE = "UnsupportedSource"
    FILE_MISSING = "FileMissing"
    UNREADABLE = "Unreadable"
    NOT_AUDIO = "NotAudio"
    NO_SAMPLES = "NoSamples"
    TRUNCATED = "Truncated"
    TOO_MANY_CHANNELS = "TooManyChannels"
    TOO_SHORT = "TooShort"
    TOO_LONG = "TooLong"
    NOT_FINITE = "NotFinite"
    SILENT = "Silent"
    TEXT_TOO_LONG = "TextTooLong"
    LARGER_THAN_BATCH = "LargerThanBatch"


REMEDIES: dict[Reason, str] = {
    Reason.LINE_TOO_LONG: "Write one utterance a line; a line may have 1 MiB.",
    Reason.NOT_UTF8: "Save the list as UTF-8 (iconv -f GB18030 -t UTF-8 converts a Chinese one).",
    Reason.NOT_JSON: "Write one whole JSON object a line, in double quotes, without a comma behind it.",
    Reason.NOT_AN_OBJECT: 'Write {"source": AUDIO, "target": TEXT} on the line.',
    Reason.INVALID_FIELD: "Correct the field named in the detail.",
    Reason.NO_SOURCE: 'Give the audio as "source" (or as messages with <|startofspeech|>!PATH<|endofspeech|>).',
    Reason.NO_TARGET: 'Give the transcript as "target" (or as the assistant\'s message).',
    Reason.EMPTY_TEXT: "Transcribe what is said, or leave the line out: event tags alone are no transcript.",
    Reason.DUPLICATE_KEY: "Give each line its own key, or none: it then gets one.",
    Reason.UNSUPPORTED_SOURCE: "Give a path or an s3:// URI; download audio from http(s) first.",
    Reason.FILE_MISSING: "Check the path; relative ones start at the list's own directory.",
    Reason.UNREADABLE: "Give this user the right to read the file.",
    Reason.NOT_AUDIO: "Convert it to WAV, FLAC, Ogg, Opus or MP3 (ffmpeg -i IN OUT.wav).",
    Reason.NO_SAMPLES: "The recording is empty: record again, or leave the line out.",
    Reason.TRUNCATED: "Copy the file again: it ends before its own header says.",
    Reason.TOO_MANY_CHANNELS: "Extract the speaker's channel (ffmpeg -i IN -af pan=mono|c0=c0 OUT.wav).",
    Reason.TOO_SHORT: "Leave the line out, or lower minMilliseconds.",
    Reason.TOO_LONG: "Split the recording into utterances, or raise maxMilliseconds.",
    Reason.NOT_FINITE: "Write the file again: it holds NaN or infinite samples.",
    Reason.SILENT: "Leave the line out: text on digital silence teaches the model to invent text.",
    Reason.TEXT_TOO_LONG: "Check that audio and text belong together: nobody speaks so fast.",
    Reason.LARGER_THAN_BATCH: "Raise train.batch.size, or lower prepare.maxMilliseconds.",
}
"""What to do about each, one sentence."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one line."""

    reason: Reason
    detail: str

    @property
    def remedy(self) -> str:
        return REMEDIES[self.reason]
