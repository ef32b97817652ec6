"""How far a comparison is: bars on a terminal, lines elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnla_neuro.cli.compare_progress import Bars, Lines, watch
from rnla_neuro.comparing.runner import Job, Report
from rnla_neuro.experiment import Progress, RunRequest


@pytest.fixture
def jobs() -> list[Job]:
    request = RunRequest("xor", seeds=(1, 2), iterations=1000)
    new = Job("rate_nla, reward delay none", request, Path("a"), new=True)
    return [new, Job("reinforce, reward delay none", request, Path("b"), new=False)]


def test_bars_count_decisions_of_all_seeds_and_go_when_a_run_is_over(jobs, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    bars = Bars()
    bars.begin(jobs, reused=3)
    for job in jobs:
        bars.started(job)
    bars.moved(jobs[0], Progress(250, 1000, "hit rate", 0.5))
    whole, first, second = bars.bars.tasks
    assert (whole.total, whole.completed, whole.fields["measured"]) == (2000, 500, "3 used")
    assert (first.completed, first.fields["count"], first.fields["measured"]) == (250, "250/1,000", "hit rate 0.500")
    assert second.total is None  # it is only looked into
    bars.moved(jobs[0], Progress(1000, 1000, "hit rate", 0.9))
    bars.ended(jobs[0])
    assert (whole.completed, whole.fields["count"]) == (2000, "1/2 runs")
    assert len(bars.bars.tasks) == 2


def test_lines_say_what_begins_ends_and_fails(jobs, capsys):
    lines = Lines()
    lines.begin(jobs, reused=1)
    lines.started(jobs[0])
    lines.moved(jobs[0], Progress(250, 1000, "hit rate", 0.5))  # too soon for a line
    lines.ended(jobs[0])
    lines.failures[jobs[1].words] = "no memory"
    lines.ended(jobs[1])
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == ["2 runs to do, 1 cell used from before", "begun: rate_nla, reward delay none"]
    assert said[2].startswith("done (1/2, 0:00:0")
    assert said[3].startswith("failed (2/2")
    lines._last -= 100
    lines.moved(jobs[0], Progress(250, 1000, "hit rate", 0.5))
    assert capsys.readouterr().err == "rate_nla, reward delay none: 250/1,000 decisions, hit rate 0.500\n"


def test_quiet_shows_nothing(jobs, capsys):
    with watch(quiet=True) as report:
        report.begin(jobs, 0)
        report.ended(jobs[0])
    assert type(report) is Report
    assert capsys.readouterr().err == ""
