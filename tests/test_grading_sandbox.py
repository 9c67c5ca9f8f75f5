"""Where solutions run: what bubblewrap shows them, whether it is there, and what is said of it."""

import sys
from pathlib import Path

import pytest

from grading import sandbox


def program(folder, text):
    folder.mkdir(exist_ok=True)
    path = folder / 'bwrap'
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_behind_bubblewrap_python_sees_the_system_the_folder_and_packages_outside_of_the_project(tmp_path, monkeypatch):
    def folder(name):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        return str(tmp_path / name)

    packages = [folder(name) for name in ('a/site-packages', 'b/dist-packages', 'project-venv/site-packages')]
    monkeypatch.setattr(sandbox, '__file__', folder('project/grading') + '/sandbox.py')
    bwrap = program(tmp_path / 'bin', '')
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    monkeypatch.setattr(sandbox, 'SYSTEM', [folder('system'), str(tmp_path / 'not there')])
    monkeypatch.setattr(sys, 'path', [folder('c/packages'), folder('project/venv/site-packages'), *2 * packages,
                                      '/usr/lib/site-packages', str(tmp_path / 'not there/site-packages')])
    monkeypatch.setattr(sys, 'prefix', '/usr/local')
    monkeypatch.setattr(sys, 'base_prefix', '/opt/python')
    assert sandbox.command(Path('/work'), ['-c', 'pass'], True) == [
        bwrap, '--unshare-all', '--die-with-parent', '--new-session', '--proc', '/proc', '--dev', '/dev', '--size',
        '67108864', '--tmpfs', '/tmp', *(word for path in (folder('system'), '/opt/python', *packages)
                                         for word in ('--ro-bind', path, path)),
        '--bind', '/work', '/work', '--chdir', '/work', sys.executable, '-I', '-B', '-X', 'utf8', '-c', 'pass']


@pytest.mark.parametrize('text, there', [
    ('#!/bin/sh\n[ "$*" = "--unshare-all --ro-bind / / --dev /dev --proc /proc true" ]\n', True),
    ('#!/bin/sh\necho no; echo no >&2; exit 1\n', False), ('', False), (None, False)])
def test_bubblewrap_is_tried(tmp_path, monkeypatch, capfd, text, there):
    monkeypatch.setenv('PATH', str(tmp_path))
    if text is not None:
        program(tmp_path, text)
    assert sandbox.has_bubblewrap() is there and capfd.readouterr() == ('', '')


def test_the_report_says_what_a_solution_is_kept_from(monkeypatch):
    monkeypatch.setattr(sandbox, 'can_change_user', lambda: False)
    for system, limits in (('linux', 'time, memory, processes, files'), ('darwin', 'time, files')):
        monkeypatch.setattr(sys, 'platform', system)
        always = f'a process and a copy of the folder for each solution; limits on {limits} and output; '
        assert sandbox.protection(True) == always + 'bubblewrap: no network, no view of other files'
        assert sandbox.protection(False) == always + 'network and files are accessible (no bubblewrap)'
    monkeypatch.setattr(sandbox, 'can_change_user', lambda: True)
    assert 'a user of its own: the network' in sandbox.protection(False)


def test_what_a_folder_takes_is_counted_until_it_is_enough(tmp_path):
    for name in ('one', 'a/two', 'a/b/three'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'a' * 5000)
    (tmp_path / 'a' / 'link').symlink_to(tmp_path / 'one')
    each, link = ((tmp_path / name).lstat().st_blocks * 512 for name in ('one', 'a/link'))
    for enough, total in ((each - 1, each), (each, 2 * each + link), (1 << 40, 3 * each + link)):
        assert sandbox.bytes_in(tmp_path, enough) == total
