"""How many threads compute: what the user asks for, what a busy machine leaves room for, and what is said of it."""

import os

import pytest

from training import threads


@pytest.fixture
def environment(monkeypatch):
    """A copy of the environment, in which nobody has asked for a number of threads."""
    copy = {name: value for name, value in os.environ.items() if name not in threads.VARIABLES}
    monkeypatch.setattr(os, 'environ', copy)
    return copy


@pytest.fixture
def restarts(monkeypatch):
    """The commands that this process was to go on as."""
    commands = []
    monkeypatch.setattr(os, 'execv', lambda program, command: commands.append(command))
    monkeypatch.setattr(threads.sys, 'orig_argv', ['python', 'train_mlp_numpy.py', '--epochs', '1'])
    return commands


@pytest.mark.parametrize('environment, processors, expected', [
    ({}, 3, 3), ({'OMP_NUM_THREADS': '2,1'}, 3, 2), ({'OMP_NUM_THREADS': '8'}, 3, 3), ({'OMP_NUM_THREADS': 'x'}, 3, 3),
    ({'OMP_NUM_THREADS': '2', 'OPENBLAS_NUM_THREADS': '1'}, 3, 1), ({'OMP_NUM_THREADS': '0'}, 1, 1)])
def test_threads_are_those_that_the_environment_asks_for_and_the_processors_allow(monkeypatch, environment, processors,
                                                                                 expected):
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(threads, 'processors', lambda: processors)
    assert threads.numpy_threads() == expected


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


def test_who_has_chosen_a_number_of_threads_keeps_it(monkeypatch, environment, restarts):
    environment['OMP_NUM_THREADS'] = '2'
    monkeypatch.setattr(threads, 'processors', lambda: 2)
    monkeypatch.setattr(threads, 'busy_processors', lambda: 2)
    threads.leave_room()
    assert not restarts
