"""How many threads compute: what the user asks for, what a busy machine leaves room for, and what is said of it."""

import os
import sys

import pytest
import threadpoolctl

from approval import assert_approved
from training import threads


def test_threads_are_set_in_the_process_that_runs(monkeypatch):
    torch = pytest.importorskip('torch')
    pools = lambda: {pool['num_threads'] for pool in threadpoolctl.threadpool_info()}  # noqa: E731
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, 'processors', lambda: 2)
    with threadpoolctl.threadpool_limits(1):  # what was before comes back at the end
        for asked, given in ((2, 2), (1, 1), (3000, 2)):
            threads.use_threads(asked)
            assert (pools(), threads.numpy_threads(), torch.get_num_threads()) == ({given}, given, given)
    torch.set_num_threads(before)
    monkeypatch.setitem(sys.modules, 'threadpoolctl', None)
    assert threads.numpy_threads() == 2


@pytest.mark.parametrize('files, expected', [
    ({}, 3), ({'cpu.max': 'max 100000\n'}, 3), ({'cpu.max': '150000 100000\n'}, 2), ({'cpu.max': '50000 100000\n'}, 1),
    ({'cpu/cpu.cfs_quota_us': '-1\n', 'cpu/cpu.cfs_period_us': '100000\n'}, 3),
    ({'cpu/cpu.cfs_quota_us': '200000\n', 'cpu/cpu.cfs_period_us': '100000\n'}, 2), ({'cpu.max': 'nonsense'}, 3)])
def test_processors_are_those_of_the_affinity_and_of_the_quota_of_a_container(monkeypatch, tmp_path, files, expected):
    monkeypatch.setattr(threads, 'QUOTAS', tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(os, 'sched_getaffinity', {0: {0, 2, 5}}.get, raising=False)
    assert threads.processors() == expected
    monkeypatch.delattr(os, 'sched_getaffinity')
    monkeypatch.setattr(os, 'cpu_count', lambda: 1)
    assert threads.processors() == 1


# user, nice, system, idle, waiting for a disk, interrupts, …: a tenth of a second has ten ticks.
BEFORE = 'cpu 9 9 9 9 9 0 0\ncpu0 100 0 0 500 10 0 0\ncpu1 200 0 50 300 0 5 0\ncpu7 0 0 0 9 0 0 0\nintr 5\n'
AFTER = 'cpu 9 9 9 9 9 0 0\ncpu0 110 5 5 500 10 0 0\ncpu1 202 0 51 312 4 6 0\ncpu7 9 9 9 9 0 0 0\ncpu3 5 0 0 5 0 0 0\n'


def test_other_work_is_seen_by_the_ticks_of_the_processors_that_this_process_may_use(monkeypatch, tmp_path):
    path = tmp_path / 'stat'
    path.write_text(BEFORE)
    monkeypatch.setattr(threads, 'PROCESSOR_TIMES', path)
    monkeypatch.setattr(os, 'sched_getaffinity', {0: {0, 1, 3}}.get, raising=False)
    monkeypatch.setattr(threads.time, 'sleep', lambda seconds: path.write_text(AFTER))
    assert threads.busy_processors() == pytest.approx(1 + 4 / 20)  # 20 of 20 ticks, 4 of 20, and a new one


@pytest.mark.parametrize('content', [None, '', 'cpu0\n', 'cpu0 a b c d e\n', '\n'])
def test_where_the_ticks_are_not_known_no_other_work_is_seen(monkeypatch, tmp_path, content):
    path = tmp_path / 'stat'
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(threads, 'PROCESSOR_TIMES', path)
    monkeypatch.setattr(os, 'sched_getaffinity', {0: {0, 1}}.get, raising=False)
    assert threads.busy_processors(seconds=0) == 0


def test_what_is_said_of_a_machine_under_load_is_as_approved(monkeypatch, capsys):
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    told = [str(threads.advice(*case)) for case in [
        (1, 1.0, 1.0, 1), (1, 0.99, 0.1, 1), (2, 1.0, 0.6, 1), (2, 1.0, 0.61, 1), (3, 14.5, 9.4, 2), (4, 2.0, 0.0, 3)]]
    monkeypatch.setattr(threads, 'use_threads', lambda count: print(f'uses {count}', file=sys.stderr))
    for available, busy in [(1, 1), (2, 0.4), (2, 0.6), (3, 2.5), (4, 1.49), (4, 1.5), (8, 9)]:
        monkeypatch.setattr(threads, 'processors', lambda count=available: count)
        monkeypatch.setattr(threads, 'busy_processors', lambda count=busy: count)
        threads.use_idle_processors()
        said = capsys.readouterr().err.splitlines()
        told.append(f'{busy} of {available} busy: {"; ".join(said) or "nothing"}')
    assert_approved('threads', '\n'.join(told) + '\n')
    monkeypatch.setenv('OMP_NUM_THREADS', '2')  # the user has chosen a number
    threads.use_idle_processors()
    assert not capsys.readouterr().err
