"""Files that are written whole or not at all, their JSON and PNG, and the lock that one process at a time holds."""

import errno
import io
import itertools
import os
import signal
import sys
import threading
from unittest import mock

import pytest
from matplotlib import rc_context, rcParams
from matplotlib.figure import Figure
from PIL import Image

from storage import files

FULL = OSError(errno.ENOSPC, 'No space left on device')


def contents_of(folder):
    """{path in the folder: bytes} of every file, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_what_cannot_be_rescued_either_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, 'tempdir', str(tmp_path))
    monkeypatch.setattr(files, 'write_together', mock.Mock(side_effect=FULL))
    before = os.umask(0o027)
    with pytest.raises(OSError, match='No space left on device$'):
        files.write_or_rescue({tmp_path / 'run.json': b'1'})
    assert not list(tmp_path.iterdir()) and os.umask(before) == 0o027


def test_files_are_written_together_into_folders_that_are_made(tmp_path, monkeypatch):
    flushed, replaced = [], []

    def fsync(number, real=os.fsync):
        flushed.append(os.fstat(number).st_size)
        real(number)

    def replace(temporary, path, real=os.replace):
        replaced.append((len(flushed), temporary.name, path.name))
        real(temporary, path)

    monkeypatch.setattr(os, 'fsync', fsync)
    monkeypatch.setattr(os, 'replace', replace)
    (tmp_path / 'old').write_bytes(b'from before')
    files.write_together({tmp_path / 'a' / 'b' / 'new': b'1234', str(tmp_path / 'old'): b'22'})
    assert contents_of(tmp_path) == {'a/b/new': b'1234', 'old': b'22'}
    assert flushed == [4, 2]  # what they hold is on the disk before the first one takes its place
    assert replaced == [(2, f'.new.{os.getpid()}.tmp', 'new'), (2, f'.old.{os.getpid()}.tmp', 'old')]
    with files.atomic_write(str(tmp_path / 'old')) as file:
        file.write(b'333')
        assert (tmp_path / 'old').read_bytes() == b'22'
    assert contents_of(tmp_path) == {'a/b/new': b'1234', 'old': b'333'} and flushed[2:] == [3]


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs a fork')
def test_a_process_that_is_killed_at_any_moment_leaves_whole_files_and_the_next_one_completes(tmp_path):
    old, new = ({tmp_path / name: name.encode() * size for name in ('a', 'b')} for size in (10, 10_000))
    steps = {'open', 'write', 'flush', 'fsync', 'link', 'replace', 'unlink'}
    for moment in itertools.count(1):
        for path, content in old.items():
            path.write_bytes(content)
        if not (child := os.fork()):
            calls = itertools.count(1)
            sys.setprofile(lambda frame, event, function: event == 'c_call' and function.__name__ in steps
                           and next(calls) == moment and os.kill(os.getpid(), signal.SIGKILL))
            try:
                files.write_together(new)
            finally:
                os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert all(path.read_bytes() in (content, new[path]) for path, content in old.items()), moment
        files.write_together(new)
        assert all(path.read_bytes() == content for path, content in new.items())
        if not status:  # it was not killed any more
            break
    assert moment > 12


@pytest.mark.parametrize('error, number, words', [
    (FULL, errno.ENOSPC, 'No space left on device'), (OSError('odd'), None, 'odd'),
    (OSError(7, None), 7, '[Errno 7] None'), (OSError(5, 'Input/output error', 'disk'), 5, 'Input/output error')])
def test_an_error_names_a_file_and_leaves_what_was_there(tmp_path, monkeypatch, error, number, words):
    def fsync(_):
        if len(list(tmp_path.iterdir())) == 3:  # both temporary files are there
            raise error

    monkeypatch.setattr(os, 'fsync', fsync)
    (tmp_path / 'first').write_bytes(b'from before')
    with pytest.raises(OSError) as caught:
        files.write_together({tmp_path / 'first': b'1', tmp_path / 'second': b'2'})
    told = caught.value
    assert (told.errno, told.strerror, told.filename) == (number, words, error.filename or str(tmp_path / 'second'))
    assert contents_of(tmp_path) == {'first': b'from before'}


def test_a_record_is_readable_json_a_key_and_of_a_list_of_objects_each_a_line():
    record = {'config': {'lr': 0.1, 'dims': [1, 2]}, 'ä "quoted"': None, 'empty': [], 'numbers': [1, 2.5], 'text': 'é',
              'runs': [{'seed': 1, 'of': [1]}, {}], 'mixed': [{}, 1], 'one': [{'a': True}]}
    assert files.json_bytes(record) == rb'''{
  "config": {"lr": 0.1, "dims": [1, 2]},
  "\u00e4 \"quoted\"": null,
  "empty": [],
  "numbers": [1, 2.5],
  "text": "\u00e9",
  "runs": [
    {"seed": 1, "of": [1]},
    {}
  ],
  "mixed": [{}, 1],
  "one": [
    {"a": true}
  ]
}
'''


@pytest.mark.parametrize('value', [float('nan'), [float('inf')], {'a': float('nan')}, [{'a': 1}, {'a': -float('inf')}]])
def test_what_json_does_not_have_is_refused(value):
    with pytest.raises(ValueError, match='JSON compliant'):
        files.json_bytes({'a': 1, 'b': value})


def test_a_figure_is_the_same_png_whatever_the_users_settings_say():
    def drawn():
        figure = Figure(figsize=(2, 1))
        figure.subplots().set(title='$x$ in words')
        return files.png_bytes(figure)

    with rc_context({'savefig.format': 'pdf', 'savefig.dpi': 50, 'text.usetex': True, 'axes.facecolor': 'red'}):
        with files.plain_figures():
            content = drawn()
        assert rcParams['text.usetex']  # the user's settings are as before
    with files.plain_figures():
        assert content == drawn()
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ('PNG', (220, 110))


@pytest.mark.skipif(not files.fcntl, reason='Windows has another lock')
def test_a_second_one_waits_for_the_lock_and_says_so(tmp_path, monkeypatch):
    asked, ended, said, flock = threading.Event(), threading.Event(), [], mock.Mock(wraps=files.fcntl.flock)
    monkeypatch.setattr(files.fcntl, 'flock', flock)
    monkeypatch.setattr('sys.stderr', mock.Mock(write=lambda text: said.append(text) or asked.set()))

    def second():
        with files.exclusive_lock(tmp_path / 'lock', 'it waits'):
            ended.set()

    thread = threading.Thread(target=second, daemon=True)
    with files.exclusive_lock(tmp_path / 'lock', 'nobody is before it'):
        thread.start()
        assert asked.wait(60) and not ended.is_set()
    thread.join(60)
    assert ended.is_set() and ''.join(said) == 'it waits\n'
    without_waiting = files.fcntl.LOCK_EX | files.fcntl.LOCK_NB
    assert [call.args[1] for call in flock.call_args_list] == [without_waiting, without_waiting, files.fcntl.LOCK_EX]


def test_on_windows_the_lock_is_asked_for_until_it_is_free(tmp_path, monkeypatch, capsys):
    windows = mock.Mock(LK_LOCK='wait', LK_NBLCK='try')
    windows.locking.side_effect = [OSError(errno.EACCES, 'locked')] * 3 + [None]
    monkeypatch.setattr(files, 'fcntl', None)
    monkeypatch.setattr(files, 'msvcrt', windows, raising=False)
    with files.exclusive_lock(tmp_path / 'lock', 'it waits'):
        asked = [call.args for call in windows.locking.call_args_list]
        assert [args[1:] for args in asked] == [('try', 1), ('wait', 1), ('wait', 1), ('wait', 1)]
        assert all(os.path.sameopenfile(file, asked[0][0]) for file, *_ in asked)
    assert capsys.readouterr().err == 'it waits\n'


@pytest.mark.skipif(not files.fcntl, reason='Windows has another lock')
def test_a_file_system_without_locks_or_fsync_is_used_with_a_note(tmp_path, monkeypatch, capsys):
    unsupported = mock.Mock(side_effect=OSError(errno.EINVAL, 'Invalid argument'))
    monkeypatch.setattr(files.fcntl, 'flock', unsupported)
    monkeypatch.setattr(os, 'fsync', unsupported)
    for _ in range(2):  # the note is printed once
        with files.exclusive_lock(tmp_path / 'lock', 'it waits'):
            files.write_together({tmp_path / 'a': b'1', tmp_path / 'b': b'2'})
    assert (tmp_path / 'b').read_bytes() == b'2'
    assert [line.partition(f'note: {tmp_path} is on a file system without ')[2] for line in capsys.readouterr().err.splitlines()
            ] == ['locks: do not start a second process that writes there', 'fsync: after a power failure, new files may be incomplete']


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='Windows has no pipes with names')
def test_what_has_the_name_of_a_lock_is_neither_emptied_nor_waited_for(tmp_path):
    (tmp_path / 'mine').write_bytes(b'a text')
    (tmp_path / 'link').symlink_to('mine')
    os.mkfifo(tmp_path / 'pipe')
    for name in ('link', 'pipe'):
        with pytest.raises(OSError, match=name), files.exclusive_lock(tmp_path / name, 'it waits'):
            pass
    with files.exclusive_lock(tmp_path / 'mine', 'it waits'):
        assert (tmp_path / 'mine').read_bytes() == b'a text'


def test_files_that_can_not_all_be_replaced_are_all_as_before(tmp_path, monkeypatch):
    before = {'a.json': b'{"config": 1}', 'b.png': b'old'}
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)

    def replace(source, path, real=os.replace):
        if path.name == 'c.npz':
            raise OSError(errno.EIO, 'Input/output error', str(path))
        real(source, path)

    monkeypatch.setattr(os, 'replace', replace)
    new = {tmp_path / name: content for name, content in [('a.json', b'{"config": 2}'), ('b.png', b'n'), ('new', b'n'),
                                                          ('c.npz', b'n')]}
    with pytest.raises(OSError, match='c.npz'):
        files.write_together(new)
    assert contents_of(tmp_path) == before


def test_ctrl_c_between_two_renames_waits_for_the_last_one(tmp_path, monkeypatch):
    def replace(source, path, real=os.replace):
        signal.raise_signal(signal.SIGINT)
        real(source, path)

    monkeypatch.setattr(os, 'replace', replace)
    with pytest.raises(KeyboardInterrupt):
        files.write_together({tmp_path / 'a': b'1', tmp_path / 'b': b'2'})
    assert contents_of(tmp_path) == {'a': b'1', 'b': b'2'}


@pytest.mark.parametrize('record', [None, b'[1]', b'{"somebody": 1}', b'not JSON'])
def test_files_of_another_program_are_moved_aside(tmp_path, capsys, record):
    before = {'a.png': b'a photo', **({'a.json': record} if record else {})}
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    new = {tmp_path / 'a.json': b'{"config": 1}', tmp_path / 'a.png': b'a figure'}
    files.write_together(new)
    ours = {path.name: content for path, content in new.items()}
    assert contents_of(tmp_path) == {**ours, **{f'{name}.aside': content for name, content in before.items()}}
    assert capsys.readouterr().err.count('was not written by this project: moved to') == len(before)
    files.write_together(new)  # the second time they are ours
    assert len(contents_of(tmp_path)) == len(before) + 2
