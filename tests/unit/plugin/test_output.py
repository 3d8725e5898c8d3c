"""What reaches a terminal."""

import io
import json

import pytest
import yaml

from prompt_operator.cli.plugin import sanitize
from prompt_operator.cli.plugin.output import Column, Output, width_of

EVIL = "\x1b]0;owned\x07 \x9b31m red \u202e desrever \x7f tail\r"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, columns: int, **environment: str) -> tuple[Output, Terminal]:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    return Output(stream), stream


def test_control_characters_are_spelled_out_and_line_ends_kept_in_text():
    assert sanitize.text("a\x1b[31m\nb\x9b") == "a\\e[31m\nb\\x9b"
    assert sanitize.line("a\nb\tc\u202e") == "a\\nb\\tc\\u202e"
    assert sanitize.text("für 東京 🙂") == "für 東京 🙂"


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_data_means_the_same_and_drives_no_terminal(form: str):
    stream = io.StringIO()
    value = {"text": EVIL, "plain": "für 東京"}
    Output(stream).data(value, form)
    written = stream.getvalue()
    assert written == sanitize.text(written)
    assert (json.loads(written) if form == "json" else yaml.safe_load(written)) == value


COLUMNS = [Column("NAME"), Column("READY"), Column("NOTES", cut=True, leave_out=1), Column("AGE", leave_out=2)]
ROWS = [["support-triage", "True", "a long note that tells a whole story", "5m"], ["x", "False", "", "1d"]]


def test_a_table_that_goes_to_a_pipe_is_whole_and_aligned():
    stream = io.StringIO()
    Output(stream).table(COLUMNS, ROWS, ["red", ""])
    head, first, second = stream.getvalue().splitlines()
    assert head.index("READY") == first.index("True") == second.index("False")
    assert first.endswith("a long note that tells a whole story   5m")
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_a_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int):
    out, stream = on_terminal(monkeypatch, columns, NO_COLOR="1")
    out.table(COLUMNS, ROWS)
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= columns for line in lines)
    assert "support-triage   True" in lines[1]
    assert ("AGE" in lines[0]) == (columns > 40)


def test_a_sentence_is_folded_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch):
    out, stream = on_terminal(monkeypatch, 40)
    out.line("word " * 30)
    assert max(map(len, stream.getvalue().splitlines())) <= 40


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch, environment, coloured: bool):
    out, _ = on_terminal(monkeypatch, 80, **environment)
    assert (out.paint("x", "red") != "x") is coloured
    assert Output(io.StringIO()).paint("x", "red") == "x"


def test_wide_and_combining_characters_are_counted_as_cells():
    assert (width_of("東京"), width_of("e\u0301"), width_of("abc")) == (4, 1, 3)
