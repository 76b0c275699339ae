import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrtune_trainer.data.text import normalise_transcript


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("你好[laughter]世界", "你好 世界"),
        ("[pause] well [breath noise] yes", "well yes"),
        ("【停顿】好的［笑声］", "好的"),
        ("好（笑）的(laughter)", "好 的"),
        ("<|zh|><|NEUTRAL|><|Speech|><|woitn|>你好", "你好"),
        ("a  b\t c\u3000d", "a b c d"),
        ("cafe\u0301", "caf\u00e9"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("[laughter]", ""),
    ],
)
def test_removed_and_made_canonical(before: str, after: str) -> None:
    assert normalise_transcript(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "房间 302，价格 ¥5.50！",
        "50% off & more @ 3:30",
        "press [1] now",
        "the firm (a small one) said",
        "他说（我不知道）",
        "x < y > z",
        "全角１２３ＡＢＣ",
        "[" + "很长的一段话" * 5 + "]",
    ],
)
def test_digits_symbols_and_spoken_brackets_stay(text: str) -> None:
    assert normalise_transcript(text) == text


def test_event_tags_stay_where_they_are_wanted() -> None:
    assert normalise_transcript(" a [laughter] ", remove_event_tags=False) == "a [laughter]"


@given(
    st.text(alphabet=st.one_of(st.characters(), st.sampled_from("[]【】（）<|> 笑\u0301\u200b\n"))),
    st.booleans(),
)
def test_normalising_again_changes_nothing(text: str, remove: bool) -> None:
    once = normalise_transcript(text, remove_event_tags=remove)
    assert normalise_transcript(once, remove_event_tags=remove) == once
    assert once == once.strip()
    assert "\n" not in once
    assert "  " not in once
    assert unicodedata.is_normalized("NFC", once)
