"""What differs between two prompts."""

import random
import time

from hypothesis import given
from hypothesis import strategies as st

from prompt_operator.cli.plugin.diffing import FieldChange, TextChange, changes, pieces, shortened

words = st.lists(st.sampled_from(["a", "bc", " ", "\n", ".", "é", "\t"]), max_size=40).map("".join)


@given(words, words)
def test_the_pieces_make_up_both_texts(old: str, new: str):
    found = list(pieces(old, new))
    assert "".join(text for kind, text in found if kind != "new") == old
    assert "".join(text for kind, text in found if kind != "gone") == new


def test_only_the_words_that_differ_are_told():
    found = changes({"text": "Sort each request.\nBe kind."}, {"text": "Sort every request.\nBe kind."})
    assert found == [
        TextChange(
            "text",
            (("same", "Sort "), ("gone", "each"), ("new", "every"), ("same", " request.\n"), ("same", "Be kind.")),
        )
    ]


def test_the_rest_is_compared_by_field_and_lists_of_named_things_by_name():
    old = {"model": {"name": "a"}, "variables": [{"name": "x"}, {"name": "y", "type": "number"}]}
    new = {"model": {"name": "b"}, "variables": [{"name": "y", "type": "string"}, {"name": "x"}], "tools": [{"n": 1}]}
    assert changes(old, new) == [
        FieldChange("model.name", '"a"', '"b"'),
        FieldChange("variables[y].type", '"number"', '"string"'),
        FieldChange("tools[0].n", None, "1"),
    ]


def test_a_message_that_was_edited_is_compared_by_words_and_an_added_one_is_shown():
    old = {"messages": [{"role": "system", "content": "be kind"}]}
    new = {"messages": [{"role": "system", "content": "be brief"}, {"placeholder": "history"}]}
    edited, added = changes(old, new)
    assert edited == TextChange("messages[0] (system)", (("same", "be "), ("gone", "kind"), ("new", "brief")))
    assert added == FieldChange("messages[1]", None, '{"placeholder": "history"}')


def test_equal_contents_do_not_differ():
    assert changes({"text": "a", "model": {"name": "m"}}, {"model": {"name": "m"}, "text": "a"}) == []


def test_what_is_the_same_far_from_a_change_is_left_out():
    old = "".join(f"line {i}\n" for i in range(100))
    shown = "".join(text for _, text in shortened(list(pieces(old, old.replace("line 50", "line L")))))
    assert "line 49" in shown
    assert "line 10\n" not in shown
    assert "...\n" in shown


def test_prompts_of_256_kib_are_compared_in_seconds_even_where_nothing_is_alike():
    rng = random.Random(1)
    one = " ".join(str(rng.randrange(10)) for _ in range(130_000))
    two = " ".join(str(rng.randrange(10)) for _ in range(130_000))
    lines = "\n".join(str(rng.randrange(10)) for _ in range(130_000))
    other = "\n".join(str(rng.randrange(10)) for _ in range(130_000))
    began = time.monotonic()
    assert list(pieces(one, two))
    assert list(pieces(lines, other))
    assert time.monotonic() - began < 60
