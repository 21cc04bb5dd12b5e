"""A newcomer who types what README.md says gets what README.md promises.

What lives here: the section *Your own data in five minutes*, run as written. What does not: any other command.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def commands_of(section: str) -> str:
    """The fenced commands of one section of README.md, in order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    body = re.search(rf"^## {re.escape(section)}\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert body is not None, f"README.md has no section {section!r}"
    return "\n".join(re.findall(r"^ *```\n(.*?)^ *```", body[1], re.MULTILINE | re.DOTALL))


@pytest.mark.slow
def test_own_data_in_five_minutes_gives_the_promised_number(tmp_path: Path) -> None:
    """Worked in README.md: 800 × 0.15 + 200 × 0.075 + 300 × 0.60 = 315 millionths of a dollar, over 1,300 tokens."""
    tokenmart = tmp_path / "tokenmart"
    tokenmart.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from assets.cli import main; main()" "$@"\n')
    tokenmart.chmod(0o755)
    home = tmp_path / "home"
    script = commands_of("Your own data in five minutes")
    assert "data/home" in script
    assert ".venv/bin/tokenmart" in script
    script = script.replace("data/home", str(home)).replace(".venv/bin/tokenmart", str(tokenmart))
    environment = {
        **os.environ,
        "TOKENMART_HOME": str(home),
        "TOKENMART_NOW": "2026-11-03T02:00:00Z",
        "TOKENMART_SETTLE_SECONDS": "0",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }
    ran = subprocess.run(
        ["sh", "-eu", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    answer = ran.stdout
    for promised in ("Support assistant", "1300", "0.000315", "0.2423"):
        assert promised in answer.replace("1,300", "1300"), f"{promised} is not in:\n{answer}"
