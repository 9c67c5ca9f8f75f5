"""Files that are damaged, hostile or in the way are refused by name, and nothing in them is executed or unpacked."""

import gzip
import io
import json
import os
import pickle
import re
import shutil
import stat
import struct
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest

from cifar10_utils import DataUnavailable
from conftest import LINUX
from generated_data import json_of
from little_memory import little_memory
from test_data_routes import assert_is, load

ARCHIVE, FOLDER = 'cifar-10-python.tar.gz', 'cifar-10-batches-py'


def batch(images, labels):
    return pickle.dumps({b'data': np.asarray(images), b'labels': labels}, protocol=2)


IMAGES, LABELS = np.zeros((12, 3072), np.uint8), [0] * 12
@pytest.mark.parametrize('damage', [lambda data: b'', lambda data: data[:len(data) // 2],
                                    lambda data: data[:5000] + bytes([data[5000] ^ 8]) + data[5001:],
                                    lambda data: b'\0' * len(data)],
                         ids=['empty', 'half', 'a flipped bit', 'zeros'])
def test_a_damaged_archive_is_refused(expect_tiny, tmp_path, damage):
    (tmp_path / ARCHIVE).write_bytes(damage(expect_tiny.archive()))
    with pytest.raises(DataUnavailable, match=f'{ARCHIVE}: .*(damaged|missing|not CIFAR-10)'):
        load(tmp_path)
    assert not (tmp_path / 'cifar10.bin').exists()


@pytest.mark.parametrize('name', [ARCHIVE, f'{FOLDER}/data_batch_1', 'cifar10.bin'])
def test_a_directory_in_place_of_a_file_is_refused(expect_tiny, tmp_path, name, capsys):
    expect_tiny.write_folder(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    if name == 'cifar10.bin':  # the data is there all the same
        assert_is(load(tmp_path), expect_tiny)
        cache = tmp_path / name
        assert capsys.readouterr().err == (
            f'{cache} could not be written (a folder of that name is in the way); the next start has to get the data '
            'again\n')
        return
    if name == ARCHIVE:
        shutil.rmtree(tmp_path / FOLDER)
    with pytest.raises(DataUnavailable, match='Is a directory'):
        load(tmp_path)


@pytest.mark.parametrize('name', [ARCHIVE, f'{FOLDER}/data_batch_1', 'cifar10.bin'])
def test_a_file_that_may_not_be_read_is_named(tiny, run_script, name):
    with tempfile.TemporaryDirectory(dir='/tmp') as folder:  # pytest's own folders are closed to nobody
        folder = Path(folder)
        tiny.write_folder(folder)
        (folder / ARCHIVE).write_bytes(tiny.archive())
        (folder / 'cifar10.bin').write_bytes(tiny.content_bytes)
        if name != 'cifar10.bin':
            (folder / 'cifar10.bin').unlink()
        if name == ARCHIVE:
            shutil.rmtree(folder / FOLDER)
        else:
            (folder / ARCHIVE).unlink()
        (folder / name).chmod(0)
        if os.geteuid() == 0:  # who may read everything
            for path in [folder, *folder.rglob('*')]:
                os.chown(path, 65534, 65534)
        run = run_script('load_data.py', folder, AS_NOBODY='1', PATH='',
                         GENERATED_CONTENT=json_of(tiny.content(archive_bytes=len(tiny.archive()))))
    if name == 'cifar10.bin':  # the data is there all the same
        assert (run.returncode, run.stdout) == (0, tiny.sha256 + '\n')
        assert re.search(f'{name}.*Permission denied', run.stderr)
    else:
        assert run.returncode != 0 and 'DataUnavailable' in run.stderr
        assert re.search(f'{name}.*Permission denied|Permission denied.*{name}', run.stderr)


ATTACKS = 7  # how many there are below


class Calls:
    """Its pickle calls `function` when it is read by a trusting unpickler."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(target):
    yield 'os.system', pickle.dumps(Calls(os.system, f'touch {target}'), protocol=2)
    yield 'builtins.eval', pickle.dumps(Calls(eval, f'open({str(target)!r}, "w")'), protocol=2)
    yield 'builtins.exec', pickle.dumps(Calls(exec, f'open({str(target)!r}, "w")'), protocol=4)
    yield 'Path.touch', pickle.dumps(Calls(Path.touch, target), protocol=4)
    yield 'numpy.save', pickle.dumps(Calls(np.save, str(target), IMAGES), protocol=2)
    yield 'getattr', b'cbuiltins\ngetattr\n(cos\npath\nS"exists"\ntR.'
    yield 'a known name as a path', b'\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.'


@pytest.mark.parametrize('attack', range(ATTACKS))
@pytest.mark.parametrize('packed', [False, True], ids=['in the folder', 'in the archive'])
def test_a_pickle_that_tries_to_run_code_is_refused_and_nothing_runs(expect_tiny, tmp_path, attack, packed):
    target = tmp_path / 'executed'
    everything = list(attacks(target))
    assert len(everything) == ATTACKS
    name, hostile = everything[attack]
    folder = expect_tiny.write_folder(tmp_path / 'data')
    (folder / 'data_batch_1').write_bytes(hostile)
    if packed:
        with tarfile.open(tmp_path / 'data' / ARCHIVE, 'w:gz') as archive:
            archive.add(folder, FOLDER)
        shutil.rmtree(folder)
    with pytest.raises(DataUnavailable, match='UnpicklingError: refused to load '):
        load(tmp_path / 'data')
    assert not list(tmp_path.glob('executed*')), name


def hostile_members(outside):
    """Archive members that would write outside the folder if they were unpacked."""
    for name in ['../evil', '../../evil', f'{outside}/evil', f'{FOLDER}/../../evil']:
        yield tarfile.TarInfo(name)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        member = tarfile.TarInfo(f'{FOLDER}/link')
        member.type, member.linkname = kind, str(outside / 'evil')
        yield member


def test_an_archive_with_names_that_lead_outside_writes_nothing_there(expect_tiny, tmp_path):
    outside = tmp_path / 'outside'
    outside.mkdir()
    data_dir = tmp_path / 'data' / 'inner'
    data_dir.mkdir(parents=True)
    with tarfile.open(data_dir / ARCHIVE, 'w:gz') as archive:
        for member in hostile_members(outside):
            member.size = 4 if member.isreg() else 0
            archive.addfile(member, io.BytesIO(b'evil'))
        for name, content in expect_tiny.pickled_batches().items():
            member = tarfile.TarInfo(f'{FOLDER}/{name}')
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert_is(load(data_dir), expect_tiny)
    assert sorted(path.name for path in tmp_path.rglob('*')) == sorted(
        ['outside', 'data', 'inner', ARCHIVE, 'cifar10.bin', 'cifar10.lock'])


@pytest.mark.parametrize('kind', [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_batch_that_is_a_link_or_a_device_is_not_followed(expect_tiny, tmp_path, kind):
    secret = tmp_path / 'secret'
    secret.write_bytes(expect_tiny.pickled_batches()['data_batch_1'])
    with tarfile.open(tmp_path / ARCHIVE, 'w:gz') as archive:
        for name, content in expect_tiny.pickled_batches().items():
            member = tarfile.TarInfo(f'{FOLDER}/{name}')
            if name == 'data_batch_1':
                member.type, member.linkname = kind, str(secret)
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(DataUnavailable, match='data_batch_1 is missing in the archive'):
        load(tmp_path)


def test_an_archive_member_that_announces_ten_gigabytes_is_refused_by_its_size(expect_tiny, tmp_path):
    # Ahead of the batches, where it only had to be skipped, and in place of one.
    for name in (f'{FOLDER}/readme.html', f'{FOLDER}/data_batch_1'):
        huge = tarfile.TarInfo(name)
        huge.size = 10**10
        (tmp_path / ARCHIVE).write_bytes(gzip.compress(huge.tobuf() + bytes(10**6)))
        with pytest.raises(DataUnavailable, match=f'{name} announces 10,000,000,000 bytes'):
            load(tmp_path)


def test_a_batch_of_ten_gigabytes_is_refused_by_its_size(expect_tiny, tmp_path):
    os.truncate(expect_tiny.write_folder(tmp_path) / 'data_batch_2', 10**10)  # takes no room on the disk
    with (little_memory(10**9),
          pytest.raises(DataUnavailable, match='data_batch_2 has 10,000,000,000 bytes, more than a batch can have')):
        load(tmp_path)


def nested_list(depth):
    """A pickle of a list in a list in a list …"""
    return b'\x80\x02' + b']' * depth + b'a' * (depth - 1)


HOSTILE_PICKLES = {
    'an array of 10 GB': b'\x80\x04\x8e' + struct.pack('<Q', 10**10) + b'data.',
    'a shape of 10 GB': batch(IMAGES, LABELS).replace(b'M\x00\x0c', b'J\xff\xff\xff\x7f'),
    'lists nested a million deep': nested_list(10**6) + b'.',
    'labels nested a hundred thousand deep': b'\x80\x02}(X\x04\0\0\0data' + pickle.dumps(IMAGES, 2)[2:-1]
                                    + b'X\x06\0\0\0labels' + nested_list(10**5)[2:] + b'u.',
}


def test_a_pickle_that_announces_too_much_is_refused_within_a_little_memory(expect_tiny, tmp_path):
    folder = expect_tiny.write_folder(tmp_path)
    for name, hostile in HOSTILE_PICKLES.items():
        (folder / 'data_batch_1').write_bytes(hostile)
        with little_memory(10**9), pytest.raises(DataUnavailable, match='data_batch_1 is damaged'):
            load(tmp_path)


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='needs pipes that have a name')
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(expect_tiny, tmp_path):
    (expect_tiny.write_folder(tmp_path) / 'data_batch_1').unlink()
    for path in (tmp_path / ARCHIVE, tmp_path / FOLDER / 'data_batch_1'):
        os.mkfifo(path)
    batch, more = tmp_path / FOLDER / 'data_batch_1', [lambda: batch.symlink_to('/dev/null')]
    if LINUX:  # who is not root may make a socket so there alone
        more.append(lambda: os.mknod(batch, stat.S_IFSOCK | 0o600))
    for make in (None, *more):
        if make:
            batch.unlink()
            make()
        with pytest.raises(DataUnavailable) as failure:
            load(tmp_path)
        for name, file in ((FOLDER, 'data_batch_1'), (ARCHIVE, ARCHIVE)):
            assert f'{name}: {file} is a pipe or a device, not a file\n' in str(failure.value)


def test_links_that_lead_nowhere_or_in_a_circle_are_named_or_replaced(expect_tiny, tmp_path, capsys):
    circle, nowhere = tmp_path / 'circle', tmp_path / 'nowhere'
    circle.symlink_to(circle)
    nowhere.symlink_to(tmp_path / 'not there')
    for link in (circle, nowhere):
        with pytest.raises(DataUnavailable, match=f'--data_dir {link} cannot be written'):
            load(link)
    data_dir = tmp_path / 'data'
    folder = expect_tiny.write_folder(data_dir)
    good = data_dir / 'good'
    (folder / 'data_batch_1').rename(good)
    (data_dir / 'cifar10.bin').symlink_to(data_dir / 'not there')
    for target in (folder / 'data_batch_1', tmp_path / 'not there'):
        (folder / 'data_batch_1').symlink_to(target)
        with pytest.raises(DataUnavailable, match='data_batch_1 is missing'):
            load(data_dir)
        (folder / 'data_batch_1').unlink()
    (folder / 'data_batch_1').symlink_to(good)
    assert_is(load(data_dir), expect_tiny)
    assert (data_dir / 'cifar10.bin').read_bytes() == expect_tiny.content_bytes, 'the file, not where the link led'
    assert not (data_dir / 'not there').exists()


def test_what_a_killed_writer_of_the_cache_left_behind_is_cleared(expect_tiny, tmp_path):
    expect_tiny.write_folder(tmp_path)
    (tmp_path / '.cifar10.bin.4711.tmp').write_bytes(b'half of it')
    load(tmp_path)
    assert not list(tmp_path.glob('.*'))
