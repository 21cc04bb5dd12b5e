"""Fixtures of the demo's tests: a small demo, landed once. What lives here: homes, plain readers. What does not:
expected values.

The readers here use the standard library only, so that they share nothing with the writers or the product.
"""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.demo.generator import write_demo

SCALE = 0.05
SEED = 7


def plain_text(path: Path) -> str:
    """The text of a landed file, decompressed by its suffix."""
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes()).decode()
    if path.suffix == ".zst":
        with pa.input_stream(str(path), compression="zstd") as stream:
            return bytes(stream.read()).decode()
    return path.read_text()


@dataclass(frozen=True)
class DemoHome:
    """A landed demo and plain readers of its files."""

    path: Path

    def files(self, source: str) -> list[Path]:
        return sorted(path for path in (self.path / "landing" / source).rglob("*") if path.is_file())

    def text(self, path: Path) -> str:
        return plain_text(path)

    def lines(self, source: str) -> list[str]:
        return [line for path in self.files(source) for line in plain_text(path).splitlines()]

    def records(self, source: str) -> Iterator[dict[str, Any]]:
        """JSON records of a JSON-lines source; lines that are no JSON are left out."""
        for line in self.lines(source):
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def results(self, source: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """File name, bucket and result of every result in a source's pages; money and counts exact."""
        for path in self.files(source):
            page = json.loads(path.read_text(), parse_float=Decimal)
            for bucket in page["data"]:
                for result in bucket["results"]:
                    yield path.name, bucket, result

    def csv_rows(self, relative_path: str) -> list[dict[str, str]]:
        with (self.path / relative_path).open(newline="") as stream:
            return list(csv.DictReader(stream))

    def all_bytes(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.path)): path.read_bytes() for path in self.path.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> DemoHome:
    """The demo after night 1."""
    home = tmp_path_factory.mktemp("first_night")
    write_demo(home, night=1, seed=SEED, scale=SCALE)
    return DemoHome(home)


@pytest.fixture(scope="session")
def both_nights(first_night: DemoHome, tmp_path_factory: pytest.TempPathFactory) -> DemoHome:
    """The demo after night 2, landed over night 1."""
    home = tmp_path_factory.mktemp("both") / "home"
    shutil.copytree(first_night.path, home)
    write_demo(home, night=2, seed=SEED, scale=SCALE)
    return DemoHome(home)
