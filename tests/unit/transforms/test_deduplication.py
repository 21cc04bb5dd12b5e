"""One call counts once: which telling carries it, what becomes of the others, and that order changes nothing."""

from __future__ import annotations

import random
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.transforms import deduplication
from pipelines.transforms.deduplication import decide, doubtful_hashes, id_hashes
from tests.unit.transforms.usage_days import MIDNIGHT, PRECEDENCE, RULES, fates_of_day, usage_frame, usage_row


@pytest.fixture(params=[1, 10**6], autouse=True)
def most_candidates(request, monkeypatch):
    """Calls are decided a share at a time, or all at once."""
    monkeypatch.setattr(deduplication, "MOST_CANDIDATES", request.param)


def fates(rows, earlier=None):
    before = None if earlier is None else usage_frame(earlier)
    decided = pl.concat(decide(usage_frame(rows), RULES, PRECEDENCE, before))
    places = decided.select("landed_file", "record_number", "part").rows()
    return dict(zip(places, decided.select("fate", "kept_file", "kept_record_number").rows(), strict=True))


def told(rows, earlier=None):
    """Fates by file digit."""
    return {file[0]: fate for (file, _, _), (fate, _, _) in fates(rows, earlier).items()}


def test_the_same_call_in_two_files_counts_once():
    assert told([usage_row(file=1), usage_row(file=2)]) == {"1": "accepted", "2": "duplicate"}


def test_the_same_call_written_down_a_second_later_is_a_duplicate():
    assert told([usage_row(file=2, seconds=1), usage_row(file=1, seconds=2)]) == {"2": "accepted", "1": "duplicate"}


def test_the_same_id_with_other_tokens_is_a_conflict_and_the_earliest_stays():
    rows = [usage_row(file=1, seconds=5, output_tokens=7), usage_row(file=2, seconds=3, output_tokens=8)]
    assert told(rows) == {"2": "accepted", "1": "conflict"}


def test_the_same_id_of_two_providers_is_two_calls():
    assert told([usage_row(file=1), usage_row(file=2, provider="google")]) == {"1": "accepted", "2": "accepted"}


def test_a_lower_precedence_number_wins_and_other_content_of_another_source_is_no_conflict():
    rows = [usage_row(file=1, source="usage_table"), usage_row(file=2, source="litellm", seconds=9, output_tokens=3)]
    assert told(rows) == {"2": "accepted", "1": "duplicate"}


def test_the_largest_rank_wins_and_smaller_ones_are_superseded():
    rows = [
        usage_row(file=1, source="langfuse", merge_rank=1, output_tokens=1),
        usage_row(file=2, source="langfuse", merge_rank=3, output_tokens=3, seconds=9),
        usage_row(file=3, source="langfuse", merge_rank=2, output_tokens=2),
    ]
    assert told(rows) == {"2": "accepted", "1": "superseded", "3": "superseded"}


def test_a_globally_keyed_call_starts_when_it_was_first_told():
    rows = [
        usage_row(file=1, source="claude_code", merge_rank=1, seconds=10),
        usage_row(file=2, source="claude_code", merge_rank=2, seconds=70, output_tokens=5),
    ]
    decided = pl.concat(decide(usage_frame(rows), RULES, PRECEDENCE))
    kept = decided.filter(pl.col("fate") == "accepted")
    assert kept.select("output_tokens", "started_at").row(0) == (5, MIDNIGHT + timedelta(seconds=10))


def test_all_parts_of_the_winning_record_stay_together():
    winner = [usage_row(file=1, part=part, model=f"m{part}", requests=1 - part) for part in (0, 1)]
    loser = [usage_row(file=2, part=part, model=f"m{part}", requests=1 - part) for part in (0, 1, 2)]
    found = fates([*loser, *winner])
    # Part 2 stands in no kept record: other content.
    assert [found["2" * 16, 1, part][0] for part in (0, 1, 2)] == ["duplicate", "duplicate", "conflict"]
    assert [found["1" * 16, 1, part][0] for part in (0, 1)] == ["accepted", "accepted"]


def test_a_call_seen_on_the_day_before_stays_there():
    before = usage_row(file=9, record_number=4, seconds=-1)
    found = fates([usage_row(file=1, seconds=1), usage_row(file=2, seconds=2, output_tokens=6)], [before])
    assert found["1" * 16, 1, 0] == ("duplicate", "9" * 16, 4)
    assert found["2" * 16, 1, 0] == ("conflict", "9" * 16, 4)


def test_rows_of_the_day_before_with_another_id_change_nothing():
    assert told([usage_row(file=1)], [usage_row("r2", file=9, seconds=-1)]) == {"1": "accepted"}


def test_a_content_id_with_another_reported_cost_is_superseded_not_a_conflict():
    rows = [usage_row("content:a:1", file=1, output_tokens=1), usage_row("content:a:1", file=2, output_tokens=2)]
    assert told(rows) == {"1": "accepted", "2": "superseded"}


def test_doubtful_are_repeated_ids_and_those_of_the_day_before():
    today = usage_frame([usage_row(name, record_number=n) for n, name in enumerate("abcad", 1)])
    before = usage_frame([usage_row("d"), usage_row("x")])
    hashes = id_hashes(today)
    doubtful, shared = doubtful_hashes(hashes.sort(), id_hashes(before))
    assert set(today.filter(hashes.is_in(doubtful.implode()))["request_id"]) == {"a", "d"}
    assert set(shared) == set(hashes) & set(id_hashes(before))
    assert set(doubtful_hashes(hashes.sort())[0]) == {hashes[0]}
    assert not len(doubtful_hashes(hashes.sort())[1])


ROW = st.fixed_dictionaries(
    {
        "request_id": st.sampled_from(["a", "b", "content:c:1"]),
        "provider": st.sampled_from(["openai", "google"]),
        "source": st.sampled_from(sorted(RULES)),
        "file": st.integers(0, 3),
        "part": st.integers(0, 1),
        "seconds": st.integers(0, 2),
        "merge_rank": st.integers(0, 2),
        "output_tokens": st.integers(0, 1),
        "feature_tag": st.sampled_from([None, "chat"]),
    }
)


@st.composite
def some_rows(draw, size=12):
    drawn = draw(st.lists(ROW, max_size=size))
    # A record has one id, one provider and one source; a record number per drawn pair of parts.
    return [usage_row(**row, record_number=number) for number, row in enumerate(drawn, 1)]


@settings(deadline=None, max_examples=60)
@given(rows=some_rows(), before=some_rows(4), seed=st.integers(0, 99))
def test_every_fate_is_what_a_plain_dictionary_says_in_any_order(rows, before, seed):
    then = MIDNIGHT - timedelta(seconds=1)
    earlier = [row | {"started_at": then, "usage_date": then.date(), "landed_file": "e" * 16} for row in before]
    expected = fates_of_day(rows, earlier)
    shuffled = rows.copy()
    random.Random(seed).shuffle(shuffled)
    if rows:
        assert fates(shuffled, earlier) == expected
