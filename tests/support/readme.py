"""What the README promises, as tests hold it."""

import re
from pathlib import Path

README = Path(__file__).parent.parent.parent / "README.md"

#: Rows of the table of writes that need gates or monitoring.
APPROVAL, AB_TEST = "approval that ships a candidate", "edit that passes an A/B test at its first look"
LOOK = "each other look of an A/B test or of monitoring"
REGRESSION = "regression, with its automatic rollback"


def promised_writes() -> dict[str, int]:
    """Return the table of writes: what happens → how many writes it costs."""
    table = README.read_text(encoding="utf-8").partition("<!-- writes:")[2].partition("<!-- end -->")[0]
    return {what: int(count) for what, count in re.findall(r"^\| ([^|]+) \| (\d+) \|$", table, re.MULTILINE)}
