"""References with an environment of their own: a pandas script, LiteLLM, ccusage; and genai-prices, which needs none.

What lives here: making an environment below the scratch folder on demand, running the reference in it, saying why where
it cannot be made. What does not: what the references do (foreign/, programs.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl

from benchmarks.claude_sessions import write_sessions
from benchmarks.figures import Figures, reason_of
from benchmarks.logs import Scratch, program, tokenmart
from benchmarks.measure import Run, run_fresh
from benchmarks.oracle import same_table

FOREIGN = Path(__file__).with_name("foreign")
CCUSAGE = "ccusage@20.0.24"
"""A release whose program for this kind of machine the registry holds as well."""
PER_ROW = 20_000
SESSIONS_NIGHT = {"TOKENMART_NOW": "2026-07-02T02:00:00Z", "TOKENMART_SETTLE_SECONDS": "0"}


def pandas_script(scratch: Scratch, figures: Figures, rows: int, expected: pl.DataFrame) -> None:
    """The daily feature table as a user of pandas would write it."""
    table = scratch.root / "table.parquet"

    def run(python: Path) -> Run:
        words = [str(scratch.log(rows, 30, "parquet")), str(scratch.prices), str(table)]
        found = run_fresh([str(python), str(FOREIGN / "pandas_script.py"), *words])
        same_table(table, expected, "pandas script")
        return found

    _in_environment(scratch, figures, "pandas script, parquet", ("pandas", "pyarrow"), run, rows)


def measure_per_row(scratch: Scratch, rows: int, repeat: int) -> Figures:
    """Libraries that price one request per call, on the first rows of a log."""
    figures = Figures("per-row", f"per-row libraries on {PER_ROW:,} requests")
    log = scratch.log(rows, 30, "parquet")
    for _ in range(repeat):
        figures.add("per row, genai-prices", program("genai_prices", log, PER_ROW), PER_ROW)
        script = [str(FOREIGN / "litellm_rows.py"), str(log), str(PER_ROW)]
        _in_environment(
            scratch,
            figures,
            "per row, litellm",
            ("litellm", "pyarrow"),
            lambda python, script=script: run_fresh([str(python), *script]),  # type: ignore[misc]
            PER_ROW,
        )
    return figures


def measure_sessions(scratch: Scratch, entries: int, repeat: int) -> Figures:
    """ccusage and our whole job on the same Claude Code session files."""
    figures = Figures("claude-code", f"Claude Code session files of about {entries:,} entries")
    sessions = scratch.root / f"claude-{entries}"
    if not sessions.exists():
        print(f"writing {sessions.name}", flush=True)
        aside = sessions.with_name(f"aside-{sessions.name}")
        shutil.rmtree(aside, ignore_errors=True)
        write_sessions(aside / "projects", entries)
        aside.rename(sessions)
    files = sorted((sessions / "projects").rglob("*.jsonl"))
    counts = [(text.count(b"\n"), text.count(b'"usage":')) for text in (path.read_bytes() for path in files)]
    told = sum(usages for _, usages in counts)
    figures.state("files", len(files))
    figures.state("lines", sum(ends for ends, _ in counts))
    figures.state("entries with usage", told)
    figures.state("bytes", sum(path.stat().st_size for path in files))
    for _ in range(repeat):
        _ccusage(scratch, figures, sessions, told)
        figures.add("reading alone, claude_code", program("sessions_read", sessions / "projects"), told)
        landed = [(f"claude_code/{path.relative_to(sessions / 'projects')}", path) for path in files]
        with scratch.home(landed) as home:
            figures.add("whole job, claude_code", tokenmart(home, "run", "--json", environment=SESSIONS_NIGHT), told)
            table = scratch.root / "table.parquet"
            program("mart_table", home, table)
            sums = pl.read_parquet(table).select(pl.col("input_tokens", "output_tokens").sum()).row(0)
            figures.facts["tokens by tokenmart"] = {"input": sums[0], "output": sums[1]}
    return figures


def _ccusage(scratch: Scratch, figures: Figures, sessions: Path, entries: int) -> None:
    """Time ccusage's daily report, offline; its token counts are kept beside ours."""
    label = "ccusage"
    if label in figures.skipped:
        return
    try:
        command = _node_program(scratch, CCUSAGE)
        words = [str(command), "claude", "daily", "--json", "--offline", "--timezone", "UTC"]
        environment = {"CLAUDE_CONFIG_DIR": str(sessions), "NO_COLOR": "1"}
        run = run_fresh(words, environment)
        said = subprocess.run(
            words, env={**os.environ, **environment}, check=True, capture_output=True, text=True
        ).stdout
    except (subprocess.CalledProcessError, OSError) as error:
        figures.skip(label, reason_of(error))
        return
    totals = json.loads(said)["totals"]
    inputs = sum(totals[name] for name in ("inputTokens", "cacheCreationTokens", "cacheReadTokens"))
    figures.facts["tokens by ccusage"] = {"input": inputs, "output": totals["outputTokens"]}
    figures.add(label, run, entries)


def _node_program(scratch: Scratch, package: str) -> Path:
    folder = scratch.root / f"node-{package.replace('@', '-')}"
    command = folder / "node_modules" / ".bin" / package.split("@", maxsplit=1)[0]
    if not command.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        subprocess.run(
            ["npm", "install", "--prefix", str(folder), "--no-fund", "--no-audit", package],
            check=True, capture_output=True,
        )  # fmt: skip
    subprocess.run([str(command), "--version"], check=True, capture_output=True)
    return command


def _in_environment(
    scratch: Scratch, figures: Figures, label: str, packages: tuple[str, ...], run: Callable[[Path], Run], rows: int
) -> None:
    """Add a run in a virtual environment with these packages, or the reason why there is none."""
    if label in figures.skipped:
        return
    folder = scratch.root / f"venv-{packages[0]}"
    python = folder / "bin" / "python"
    try:
        if not (folder / "made").exists():
            print(f"  making an environment with {' and '.join(packages)}", flush=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True, capture_output=True)
            (folder / "made").touch()
        figures.add(label, run(python), rows)
        figures.facts.setdefault("packages", {})[packages[0]] = _version(python, packages[0])
    except (subprocess.CalledProcessError, OSError) as error:
        figures.skip(label, reason_of(error))


def _version(python: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()
