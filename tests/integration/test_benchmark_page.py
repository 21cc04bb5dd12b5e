"""The benchmarks' page and plots are written from whatever was measured; the figures here are made up."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from benchmarks import figures, report, targets
from benchmarks.measure import Run


def suite(name: str, programs: dict[str, tuple[float, float]], rows: int, **facts: object) -> figures.Figures:
    """A suite in which every program takes (seconds of clock, seconds of processor)."""
    made = figures.Figures(name, f"{rows:,} requests")
    for program, (wall, cpu) in programs.items():
        made.add(program, Run(wall, cpu, 10**9, told={"wall": wall / 10, "cpu": cpu / 10, "rows": rows}), rows)
    made.facts.update(facts)
    return made


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    small = {"scan": (0.1, 0.2), targets.PLAIN: (1, 2), targets.JOB: (2, 3), targets.CORE: (0.3, 0.4)}
    large = {
        "scan": (1, 2),
        targets.PLAIN: (10, 20),
        targets.JOB: (9, 21),
        targets.CORE: (2, 4),
        "stage ingest": (1, 1),
    }
    query = {"p50_ms": 3.0, "p95_ms": 7.5, "rows": 20}
    profile = {"seconds": 9.0, "samples": 900, "stages": [["ingest", 1.0]], "functions": [["ingest", "a: b", 1.0]]}
    for made in (
        suite("job-1m", small, 1_000_000),
        suite("job-10m", large, 10_000_000),
        suite("bi", {}, 1, queries={"02_top_features": query}, **{"worst p95, ms": 7.5}),
        suite("profile", {}, 1, profile=profile),
        suite("determinism", {}, 1, **{"marts that differ": []}),
    ):
        figures.keep(made.record(), folder)
    return folder


def test_a_promise_is_kept_when_clock_and_processor_keep_it(results):
    verdicts = {line.what: line.verdict for line in targets.lines(figures.kept([results]))}
    assert verdicts["whole job from Parquet ÷ plain SQL, 10 M"] == "met by the clock only"  # 9 ÷ 10 and 21 ÷ 20
    assert verdicts["mart core alone ÷ plain SQL, 10 M"] == "proud"  # 2 ÷ 10 and 4 ÷ 20
    assert verdicts["mart core alone ÷ scan, 10 M"] == "proud"  # 2 ÷ 1 and 4 ÷ 2, at most 3
    assert verdicts["worst p95 of ten dashboard queries"] == "met"
    assert verdicts["marts that differ with one thread and small chunks"] == "met"
    assert verdicts["peak memory, 100 M over 30 days"] == "not measured"


def test_the_page_holds_the_figures_and_no_mark_is_left(results, tmp_path):
    page = tmp_path / "README.md"
    report.write_page(results, page)
    text = page.read_text(encoding="utf-8")
    assert "{{" not in text
    assert "| whole job, parquet | 9.00 | 21.00 | 1,111,111 | 1.00 | 1 |" in text  # 10 million in 9 seconds
    assert "100.0 %      a: b" in text
    assert "[02_top_features](bi/02_top_features.sql)" in text
    # 3 s for one million, 21 s for ten: 2 s for each further million and 1 s that is always there
    assert "| whole job, parquet | 3.00 | 2.10 | 1.0 | 2.00 |" in text
    for plot in ("promises.svg", "scaling.svg"):
        ET.fromstring((tmp_path / plot).read_text(encoding="utf-8"))


def test_the_page_can_be_written_before_anything_was_measured(tmp_path):
    report.write_page(tmp_path / "nothing", tmp_path / "README.md")
    assert "Not measured yet." in (tmp_path / "README.md").read_text(encoding="utf-8")
