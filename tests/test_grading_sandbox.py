"""Where solutions run: the commands, the environment and the folder that they get, and what is said of it."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from grading import remote, sandbox
from grading.remote import NoServer, Server

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')

ENVIRONMENT = {
    'PATH': '/usr/bin:/bin', 'USER': 'student', 'LANG': 'C.UTF-8', 'OMP_NUM_THREADS': '1',
    'OPENBLAS_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1', 'MPLBACKEND': 'Agg', 'CUDA_VISIBLE_DEVICES': '',
    'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONHASHSEED': '0', 'TQDM_DISABLE': '1'}


def test_a_solution_has_these_environment_variables_and_no_others():
    assert sandbox.environment(Path('/work')) == {**ENVIRONMENT, 'HOME': '/work', 'TMPDIR': '/work'}


def test_the_command_without_bubblewrap_is_python_by_itself():
    assert sandbox.command('/work', ['-c', 'pass'], False) == [sys.executable, '-I', '-B', '-c', 'pass']


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
        '--bind', '/work', '/work', '--chdir', '/work', sys.executable, '-I', '-B', '-c', 'pass']


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


def test_the_report_says_what_stands_between_a_solution_and_the_machine():
    always = ('a process of its own on a copy of the folder; no environment variables; limits on memory, processor '
              'time, file size, processes and output; ')
    assert sandbox.protection(True) == always + 'bubblewrap: no network, no view of the home folder'
    assert sandbox.protection(False) == always + ('bubblewrap is not installed or not allowed: network and files are '
                                                  'not closed off')


def test_what_a_folder_takes_is_counted_until_it_is_enough(tmp_path):
    for name in ('one', 'a/two', 'a/three', 'a/b/four'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'a' * 5000)
    (tmp_path / 'a' / 'link').symlink_to(tmp_path / 'one')
    each, link = ((tmp_path / name).lstat().st_blocks * 512 for name in ('one', 'a/link'))
    assert each >= 512
    for enough, total in ((0, each), (each - 1, each), (each, 3 * each + link), (1 << 40, 4 * each + link)):
        assert sandbox.bytes_in(tmp_path, enough) == total


LOOKS = '''
import json, os, sys
names = {int(fd): f'/proc/self/fd/{fd}' for fd in os.listdir('/proc/self/fd')}
links = {fd: os.readlink(name) for fd, name in names.items() if os.path.lexists(name)}
json.dump({'environment': dict(os.environ), 'here': os.getcwd(), 'leads': os.getsid(0) == os.getpid(),
           'null': [links.pop(fd) for fd in (0, 1, 2)], 'sockets': [fd for fd in links if 'socket' in links[fd]]},
          open(sys.argv[1], 'w'))
'''


def test_the_server_is_started_in_an_empty_room_and_once_more_where_it_ends(tmp_path, monkeypatch):
    asked, folder = [], tmp_path / 'student'
    folder.mkdir()

    def command(*arguments):
        asked.append(arguments)
        return [sys.executable, '-I', '-c', LOOKS, str(tmp_path / 'looks.json')]

    monkeypatch.setattr(sandbox, 'command', command)
    with Server(bubblewrap='as it was asked for') as server:
        assert server.timeout == 20 and server.work.name.startswith('grading-') and server.work.is_dir()
        with pytest.raises(NoServer) as failed:
            server.open(folder)
        assert str(failed.value) == ('the process that runs solutions ended at its start: can this Python import NumPy '
                                     f'with {sys.executable} -I?')
        assert len(asked) == 2 and server.process is None
        work, (option, start), bubblewrap = asked[-1]
        assert (work, option, bubblewrap) == (server.work, '-c', 'as it was asked for')
        begun, fd = re.fullmatch(r'(.*)\((\d+)\)', start).groups()
        assert begun == (f"import sys; sys.path = ['{work}', *sys.path, *{sandbox.packages()!r}]; "
                         'from grading_worker import server; server.main')
        assert json.loads((tmp_path / 'looks.json').read_text()) == {
            'environment': sandbox.environment(work), 'here': str(work), 'leads': True, 'null': ['/dev/null'] * 3,
            'sockets': [int(fd)]}
        worker = Path(remote.__file__).parent / 'worker'
        assert sorted(path.name for path in (work / 'grading_worker').iterdir()) == sorted(
            path.name for path in worker.glob('*.py'))
    assert not work.exists()


def test_a_server_that_does_not_answer_is_killed(tmp_path, monkeypatch):
    processes, popen = [], remote.subprocess.Popen
    monkeypatch.setattr(remote.subprocess, 'Popen', lambda *args, **kwargs: processes.append(popen(*args, **kwargs))
                        or processes[-1])
    monkeypatch.setattr(sandbox, 'command', lambda *arguments: ['sleep', '100'])
    monkeypatch.setattr(remote, 'START_UP_SECONDS', 0.01)
    monkeypatch.setattr(remote, 'STOP_SECONDS', 0.01)
    with Server(bubblewrap=False) as server, pytest.raises(NoServer):
        server.open(tmp_path)
    assert [process.poll() for process in processes] == [-9, -9]


@pytest.mark.parametrize('there', [False, True])
def test_whether_there_is_bubblewrap_is_found_out_where_nobody_says(monkeypatch, there):
    monkeypatch.setattr(sandbox, 'has_bubblewrap', lambda: there)
    for given, used in ((None, there), (True, True), (False, False)):
        with Server(given, timeout=3) as server:
            assert (server.bubblewrap, server.timeout) == (used, 3)


def test_a_solution_runs_on_a_copy_without_data_and_large_files(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, 'LARGEST_COPIED', 10)
    folder = tmp_path / 'student'
    for name in ('code.py', 'deep/deeper.py', 'data/batch.py', '.git/config', 'deep/__pycache__/x.pyc',
                 'database/a.py'):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name[:10])
    (folder / 'weights.bin').write_bytes(bytes(11))
    (folder / 'link').symlink_to('code.py')
    (folder / 'nowhere').symlink_to('not there')
    os.mkfifo(folder / 'pipe')
    opened = []
    monkeypatch.setattr(remote, 'Solution', lambda *arguments: opened.append(arguments))
    with Server(bubblewrap=False) as server:
        server.open(folder, ['torch'])
        (of, copy, preload), = opened
        assert (of, copy.parent, copy.name[:9], preload) == (server, server.work, 'solution-', ['torch'])
        server.open(folder)
        assert opened[1][1] != copy and opened[1][2] == ()
        copied = {str(path.relative_to(copy)): path.is_symlink() or path.read_text()
                  for path in copy.rglob('*') if path.is_symlink() or not path.is_dir()}
        assert copied == {'code.py': 'code.py', 'deep/deeper.py': 'deep/deepe', 'database/a.py': 'database/a',
                          'link': True, 'nowhere': True}
