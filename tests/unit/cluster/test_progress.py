"""How a build of minutes is shown."""

import io

from rich.console import Console

from prompt_operator.cluster.progress import ConsoleProgress


def test_without_a_terminal_plain_lines_come_now_and_then():
    output = io.StringIO()
    progress = ConsoleProgress(Console(file=output, force_terminal=False, width=40), interval=0.0)
    with progress.step("Building etcd (1/4)") as step:
        step.update("3 packages compiled")
    lines = output.getvalue().splitlines()
    assert lines[0] == "Building etcd (1/4) …"
    assert lines[1].startswith("Building etcd (1/4)  0:0")
    assert lines[1].endswith("3 packages compiled")
    assert lines[2].endswith("done")


def test_without_a_terminal_a_log_is_not_flooded():
    output = io.StringIO()
    progress = ConsoleProgress(Console(file=output, force_terminal=False), interval=3600.0)
    with progress.step("Building") as step:
        for count in range(1000):
            step.update(f"{count} packages compiled")
    assert len(output.getvalue().splitlines()) == 2


def test_what_tools_say_is_not_taken_for_markup():
    output = io.StringIO()
    ConsoleProgress(Console(file=output, force_terminal=False)).say("error [red]x[/red] in [1]")
    assert output.getvalue() == "error [red]x[/red] in [1]\n"


def test_on_a_terminal_the_line_is_shown_live():
    output = io.StringIO()
    with ConsoleProgress(Console(file=output, force_terminal=True)).step("Building etcd"):
        pass
    assert "Building etcd" in output.getvalue()
