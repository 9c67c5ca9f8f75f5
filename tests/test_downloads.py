"""Whatever an address does, the next one is tried, what has arrived is not lost, and only CIFAR-10 is believed."""

import dataclasses
import json

import pytest

from cifar10 import sources
from generated_data import json_of
from test_data_routes import assert_is, load


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(sources, 'TIMEOUT_SECONDS', 0.4)
    monkeypatch.setattr(sources, 'SPEED_WINDOW_SECONDS', 0.2)


HTML = b'<html>please log in to the campus network</html>'


def html(request, archive):
    request.send(HTML)


def html_of_unknown_length(request, archive):
    request.head()
    request.wfile.write(HTML)


def cut_short(request, archive):
    request.head(len(archive))
    request.wfile.write(archive[:5000])


def cut_short_of_unknown_length(request, archive):
    request.head()
    request.wfile.write(archive[:5000])


def flipped_bit(request, archive):
    request.send(archive[:5000] + bytes([archive[5000] ^ 1]) + archive[5001:])


def more_bytes_than_announced(request, archive):
    request.head(len(archive))
    request.wfile.write(b'\0' * len(archive) + archive)


def more_bytes_of_unknown_length(request, archive):
    request.head()
    request.wfile.write(b'\0' * 2 * len(archive))


def another_length(request, archive):
    request.send(archive + b'more')


def never_answers(request, archive):
    request.pause()


def stalls_in_the_middle(request, archive):
    request.head(len(archive))
    request.wfile.write(archive[:5000])
    request.wfile.flush()
    request.pause()


def trickles(request, archive):
    request.head(len(archive))
    for start in range(0, len(archive), 500):
        request.wfile.write(archive[start:start + 500])
        request.wfile.flush()
        if request.pause(0.02):
            return


def redirect_loop(request, archive):
    request.head(0, 302, Location=request.path)


def garbage(request, archive):
    request.wfile.write(b'this is not HTTP\r\n\r\n')


FAULTS = [404, 500, 503, html, html_of_unknown_length, cut_short, cut_short_of_unknown_length, flipped_bit,
          more_bytes_than_announced, more_bytes_of_unknown_length, another_length, never_answers,
          stalls_in_the_middle, trickles, redirect_loop, garbage]


def name_of(fault):
    return fault if isinstance(fault, (int, str)) else fault.__name__


def page(fault, archive):
    return fault if isinstance(fault, int) else lambda request: fault(request, archive)


@pytest.mark.parametrize('resumes', [True, False], ids=['the next resumes', 'the next starts over'])
@pytest.mark.parametrize('fault', FAULTS, ids=name_of)
def test_behind_an_address_that_misbehaves_the_next_one_is_tried(expect_tiny, tmp_path, serve, monkeypatch, fault,
                                                                 resumes):
    archive = expect_tiny.archive()
    bad = serve({'/bad': page(fault, archive)})
    good = serve({'/good': archive}, resumes)
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{bad.address}/bad', f'{good.address}/good'])
    assert_is(load(tmp_path), expect_tiny)
    assert bad.paths and good.paths
    assert sorted(path.name for path in tmp_path.iterdir()) == ['cifar10.bin', 'cifar10.lock']
    if fault in (cut_short, cut_short_of_unknown_length, stalls_in_the_middle):
        assert good.ranges == ['bytes=5000-'], 'what has arrived is not fetched twice'


def test_behind_a_refused_connection_the_next_address_is_tried(expect_tiny, tmp_path, serve, monkeypatch):
    address, paths, _ = serve({'/good': expect_tiny.archive()})
    monkeypatch.setattr(sources, 'ADDRESSES', ['http://127.0.0.1:1/refused', f'{address}/good'])
    assert_is(load(tmp_path), expect_tiny)
    assert paths == ['/good']


def test_a_slow_address_is_left_for_a_fast_one_and_taken_where_there_is_none(expect_tiny, tmp_path, serve, monkeypatch):
    archive = expect_tiny.archive()

    def slow(request):
        start = int((request.headers['Range'] or 'bytes=0-')[6:-1])
        request.head(len(archive) - start, 206, **{'Content-Range': f'bytes {start}-{len(archive) - 1}/{len(archive)}'})
        for position in range(start, len(archive), 10_000):
            request.wfile.write(archive[position:position + 10_000])
            request.wfile.flush()
            request.pause(0.03)

    monkeypatch.setattr(sources, 'MINIMUM_SPEED', 10**7)
    address, paths, ranges = serve({'/slow': slow, '/fast': archive})
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{address}/slow', f'{address}/fast'])
    assert_is(load(tmp_path / 'both'), expect_tiny)
    assert paths == ['/slow', '/fast']

    paths.clear()
    monkeypatch.setattr(sources, 'ADDRESSES', [f'{address}/slow'])
    assert_is(load(tmp_path / 'slow alone'), expect_tiny)
    assert paths == ['/slow', '/slow'] and ranges[-1].startswith('bytes=') and ranges[-1] != 'bytes=0-'


def environment_for(tiny, addresses, **changes):
    content = dataclasses.replace(tiny.content(archive_bytes=len(tiny.archive())), **changes)
    return {'GENERATED_CONTENT': json_of(content), 'PATH': '',
            'PATCHES': json.dumps({'cifar10.sources.ADDRESSES': addresses, 'cifar10.sources.TIMEOUT_SECONDS': 1,
                                   'cifar10.sources.SPEED_WINDOW_SECONDS': 0.5})}


def test_where_no_address_works_one_message_says_so_and_nothing_is_kept_that_is_trusted(
        tiny, tmp_path, serve, run_script):
    archive = tiny.archive()
    faults = [fault for fault in FAULTS if fault is not trickles]  # which does bring the data in the end
    address, *_ = serve({f'/{name_of(fault)}': page(fault, archive) for fault in faults})
    environment = environment_for(tiny, [f'{address}/{name_of(fault)}' for fault in faults],
                                  train_size=50_000)  # enough for the validation set
    run = run_script('train_mlp_numpy.py', '--results_dir', tmp_path / 'results', data_dir=tmp_path / 'data',
                     **environment)
    assert run.returncode == 1 and run.stdout == ''
    assert run.stderr.count('error: ') == 1 and 'Traceback' not in run.stderr
    for fault in faults:
        assert f'{address}/{name_of(fault)}: ' in run.stderr
    assert not (tmp_path / 'results').exists() and not (tmp_path / 'data' / 'cifar10.bin').exists()

    good, *_ = serve({'/good': archive})  # what is left behind does not spoil the next start
    assert run_script('load_data.py', tmp_path / 'data', **environment_for(tiny, [f'{good}/good'])).returncode == 0
    assert (tmp_path / 'data' / 'cifar10.bin').read_bytes() == tiny.content_bytes


def test_two_processes_that_fetch_at_once_both_have_good_data(tiny, tmp_path, serve, run_script):
    address, paths, _ = serve({'/trickles': page(trickles, tiny.archive()), '/good': tiny.archive()})
    environment = environment_for(tiny, [f'{address}/trickles', f'{address}/good'])
    processes = [run_script('load_data.py', tmp_path, start_only=True, **environment) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert outputs == [tiny.sha256] * 2
    assert paths == ['/trickles', '/good'], 'the second process waited for the first'
