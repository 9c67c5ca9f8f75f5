"""Where solutions run: the commands, the environment and the folder that they get, and what is said of it."""

import sys
from pathlib import Path

import pytest

from conftest import LINUX
from grading import sandbox

ENVIRONMENT = {
    'PATH': '/usr/bin:/bin', 'USER': 'student', 'LANG': 'C.UTF-8', 'OMP_NUM_THREADS': '1',
    'OPENBLAS_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1', 'MPLBACKEND': 'Agg', 'CUDA_VISIBLE_DEVICES': '',
    'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONHASHSEED': '0', 'TQDM_DISABLE': '1'}


def test_a_solution_has_these_environment_variables_and_no_others():
    assert sandbox.environment(Path('/work')) == {**ENVIRONMENT, 'HOME': '/work', 'TMPDIR': '/work'}


def test_the_command_without_bubblewrap_is_python_by_itself():
    assert sandbox.command('/work', ['-c', 'pass'], False) == [sys.executable, '-I', '-B', '-X', 'utf8', '-c', 'pass']


def program(folder, text):
    folder.mkdir(exist_ok=True)
    path = folder / 'bwrap'
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_behind_bubblewrap_python_sees_the_system_its_packages_and_the_folder(tmp_path, monkeypatch):
    bwrap = program(tmp_path / 'bin', '#!/bin/sh\n')
    site = tmp_path / 'a' / 'site-packages'
    site.mkdir(parents=True)
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    monkeypatch.setattr(sandbox, 'SYSTEM', [str(tmp_path / 'a'), str(tmp_path / 'not there'), str(tmp_path / 'bin')])
    monkeypatch.setattr(sys, 'path', [str(site), str(site), '/usr/lib/site-packages'])
    monkeypatch.setattr(sys, 'prefix', '/usr/local')
    monkeypatch.setattr(sys, 'base_prefix', '/opt/python')
    assert sandbox.command(Path('/work'), ['-c', 'pass'], True) == [
        bwrap, '--unshare-all', '--die-with-parent', '--new-session', '--proc', '/proc', '--dev', '/dev',
        '--size', '67108864', '--tmpfs', '/tmp',
        *(word for path in (tmp_path / 'a', tmp_path / 'bin', '/opt/python', site)
          for word in ('--ro-bind', str(path), str(path))),
        '--bind', '/work', '/work', '--chdir', '/work', sys.executable, '-I', '-B', '-X', 'utf8', '-c', 'pass']


def test_packages_are_the_folders_for_them_outside_of_the_project(tmp_path, monkeypatch):
    project = tmp_path / 'project'
    monkeypatch.setattr(sandbox, '__file__', str(project / 'grading' / 'sandbox.py'))
    names = ['a/site-packages', 'b/dist-packages', 'c/packages', 'project/venv/site-packages',
             'not there/site-packages', 'project-venv/site-packages']
    for name in names:
        if 'not there' not in name:
            (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(sys, 'path', [str(tmp_path / name) for name in names])
    assert sandbox.packages() == [str(tmp_path / names[number]) for number in (0, 1, 5)]


@pytest.mark.parametrize('text, there', [
    ('#!/bin/sh\nprintf "%s\\n" "$@" > "$(dirname "$0")/asked"; exit 0\n', True),
    ('#!/bin/sh\necho no; echo no >&2; exit 1\n', False), ('', False), (None, False)])
def test_bubblewrap_is_tried(tmp_path, monkeypatch, capfd, text, there):
    monkeypatch.setenv('PATH', f'{tmp_path / "bin"}:/usr/bin:/bin' if text is not None else str(tmp_path))
    if text is not None:
        program(tmp_path / 'bin', text)
    assert sandbox.has_bubblewrap() is there
    assert capfd.readouterr() == ('', '')
    if there:
        assert (tmp_path / 'bin' / 'asked').read_text().split() == [
            '--unshare-all', '--ro-bind', '/', '/', '--dev', '/dev', '--proc', '/proc', 'true']


def test_the_report_says_what_a_solution_is_kept_from(monkeypatch):
    monkeypatch.setattr(sandbox, 'can_change_user', lambda: False)
    for system, limits in (('linux', 'time, memory, processes, files and output'), ('darwin', 'time, files and output')):
        monkeypatch.setattr(sys, 'platform', system)
        always = f'a process and a copy of the folder for each solution; limits on {limits}; '
        assert sandbox.protection(True) == always + 'bubblewrap: no network, no view of other files'
        assert sandbox.protection(False) == always + 'network and files are accessible (no bubblewrap)'
    monkeypatch.setattr(sandbox, 'can_change_user', lambda: True)
    assert 'a user of its own: the network' in sandbox.protection(False)


def test_what_a_folder_takes_is_counted_until_it_is_enough(tmp_path):
    for name in ('one', 'a/two', 'a/three', 'a/b/four'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'a' * 5000)
    (tmp_path / 'a' / 'link').symlink_to(tmp_path / 'one')
    each, link = ((tmp_path / name).lstat().st_blocks * 512 for name in ('one', 'a/link'))
    assert each >= 512
    for enough, total in ((0, each), (each - 1, each), (each, 3 * each + link), (1 << 40, 4 * each + link)):
        assert sandbox.bytes_in(tmp_path, enough) == total
