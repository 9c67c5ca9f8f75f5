"""The judge of a whole solution: which parts it asks, what it tells and when, and what becomes of what goes wrong."""

import sys

import pytest

from grading import judge as judging, submissions
from grading.findings import CORE, PARTS, Place
from grading.interface import Malformed
from grading.remote import NoServer, NotGradable, Server, SolutionEnded, SolutionError

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')

MODULES = '''import pandas
class LinearModule:
    pass
class SoftMaxModule:
    pass
class CrossEntropyModule:
    pass
'''
FILES = {'modules.py': MODULES.replace('import pandas\n', 'print("ten bytes")\n'), 'mlp_numpy.py': 'import modules\n'}


@pytest.fixture(scope='module')
def server():
    with Server(bubblewrap=False) as server:
        yield server


class Graded:
    """What judge() makes of files with these stand-ins for the parts: what was asked, told and found."""

    def __init__(self, server, folder, monkeypatch, files, torch=True, **parts):
        self.log, self.opened, self.contexts = [], [], []
        self.folder = folder / 'code'  # the files lie one folder down
        self.folder.mkdir(parents=True)
        for name, text in files.items():
            (self.folder / name).write_text(text)

        def ask(part, context):
            self.log.append(part)
            self.contexts.append(context)
            parts.get(part, lambda context: None)(context)

        def opening(*arguments):
            self.opened.append((arguments, Server.open(server, arguments[0])))
            return self.opened[-1][1]

        def beside(part, context, *more):
            self.beside[part] = more
            ask(part, context)

        self.beside = {}
        monkeypatch.setattr(judging, 'JUDGES', {part: lambda context, part=part: ask(part, context) for part in CORE})
        monkeypatch.setattr(judging.pytorch_part, 'judge', lambda *arguments: beside('pytorch', *arguments))
        monkeypatch.setattr(judging.training_part, 'judge', lambda *arguments: beside('training', *arguments))
        monkeypatch.setattr(judging.importlib.util, 'find_spec', lambda name: {'torch': torch or None}[name])
        monkeypatch.setattr(server, 'open', opening)
        monkeypatch.setattr(judging.sandbox, 'protection', 'with bubblewrap: {}'.format)
        self.judgement = judging.judge(server, submissions.locate(folder), 'its name', self.after_part)
        self.findings = self.judgement.findings
        self.found = [(finding.part, finding.kind, finding.text, finding.cause, str(finding.place), finding.quote)
                      for finding in self.findings.found]
        self.closed = not any(solution.room.exists() for _, solution in self.opened)

    def after_part(self, part, findings):
        self.log.append(f'{part}: {findings.verdict(part)}')


@pytest.fixture
def judged(server, tmp_path, monkeypatch):
    return lambda files=FILES, **more: Graded(server, tmp_path / 'student', monkeypatch, files, **more)


def fails(error):
    def judge(context):
        context.session.ask('import_module', name='modules')
        raise error
    return judge


def incorrect(*parts):
    return lambda context: [context.incorrect(part, f'{part} is off.', cause='c', place=Place('mlp_numpy.py', 1))
                            for part in parts]


def test_every_part_is_asked_in_order_and_told_when_it_is_done(judged):
    def meets(context):
        assert context.session.process is not None, 'the import is done'
        context.session.met('something')

    result = judged(linear=meets, torch=False)
    assert result.log == [*CORE, *(f'{part}: correct' for part in CORE), 'pytorch', 'training', 'pytorch: correct',
                          'training: correct']
    judgement = result.judgement
    assert (judgement.folder, judgement.interface, judgement.fingerprint) == ('its name', ['something'], '')
    assert judgement.protection == 'with bubblewrap: False' and 0 < judgement.seconds < 60
    assert result.found == [('mlp', 'note', 'Prints 10 characters in these checks.', 'prints', '', '')]
    assert len({id(context) for context in result.contexts}) == 1
    context = result.contexts[0]
    assert (context.modules.name, context.mlp.name) == ('modules.py', 'mlp_numpy.py')
    assert context.names == {'LinearModule', 'SoftMaxModule', 'CrossEntropyModule'}
    (source, has_torch), (sources, also) = result.beside['pytorch'], result.beside['training']
    assert (source.name, has_torch, also) == ('mlp_pytorch.py', False, False)
    assert {name: source.name for name, source in sources.items()} == {
        name: f'{name}.py' for name in ('modules', 'mlp_numpy', 'mlp_pytorch', 'train_mlp_numpy', 'train_mlp_pytorch')}
    assert [arguments for arguments, _ in result.opened] == [(result.folder, set())] and result.closed


def test_without_a_name_or_a_listener_the_folder_is_the_name(server, tmp_path):
    judgement = judging.judge(server, tmp_path)
    assert judgement.folder == str(tmp_path)
    assert [judgement.findings.verdict(part) for part in PARTS] == ['missing'] * 8


def test_what_follows_from_what_is_decided_after_all_parts(judged):
    def notes(context):
        context.incorrect('linear', 'linear is off.', cause='c', place=Place('mlp_numpy.py', 1))
        context.inherited.update(mlp=['LinearModule'], softmax_cross_entropy=['softmax', 'cross-entropy'])

    def adds(context):
        context.incorrect('softmax_cross_entropy', 'It is off.', cause='c')
        context.later.append(lambda context: context.note('mlp', f'{len(context.findings.found)} findings.', cause='n'))

    result = judged(linear=notes, mlp=adds, training=incorrect('training'))
    assert result.log[:7] == [*CORE, 'linear: incorrect'] and result.log[-2:] == ['pytorch: correct',
                                                                                  'training: incorrect']
    assert result.found[:5] == [
        ('linear', 'incorrect', 'linear is off.', 'c', 'mlp_numpy.py, line 1', 'import modules'),
        ('softmax_cross_entropy', 'incorrect', 'It is off.', 'c', '', ''),
        ('mlp', 'incorrect', 'Incorrect only because LinearModule is (see there).', 'inherited', '', ''),
        ('softmax_cross_entropy', 'incorrect', 'Besides, softmax and cross-entropy are incorrect (see there).',
         'inherited', '', ''), ('mlp', 'note', '4 findings.', 'n', '', '')]


def test_a_part_without_its_class_is_not_asked(judged):
    result = judged({'modules.py': 'class SoftMaxModule:\n    pass\n', 'mlp_numpy.py': ''})
    assert result.log[:5] == ['activation', 'softmax', 'softmax_cross_entropy', 'mlp', 'linear: missing']
    assert result.findings.status == {'linear': 'missing', 'cross_entropy': 'missing'}
    assert result.findings.reasons['linear'] == 'modules.py has no class LinearModule' and result.found == []


def test_what_goes_wrong_in_a_part_is_told_of_that_part(judged):
    result = judged(linear=fails(SolutionEnded('it is gone')),
                    activation=fails(SolutionError('Kind', 'text', [('modules.py', 3)])),
                    softmax=fails(Malformed('it is no array')), cross_entropy=fails(ZeroDivisionError('oh')),
                    pytorch=fails(SolutionEnded('it is gone')), training=fails(KeyError('oh')))
    ends = 'Could not be graded to the end: '
    assert result.found == [('linear', 'incorrect', f'{ends}it is gone.', 'no answer', '', ''),
        ('activation', 'incorrect', f'{ends}Kind: text (modules.py, line 3).', 'unexpected answer', 'modules.py, line 3',
         'pass'),
        ('softmax', 'incorrect', f'{ends}it is no array.', 'unexpected answer', '', ''),
        ('mlp', 'note', 'Prints 20 characters in these checks.', 'prints', '', '')]
    assert result.findings.status == dict.fromkeys(('cross_entropy', 'pytorch', 'training'), 'not graded')
    assert result.findings.reasons == {
        'cross_entropy': 'the grader itself failed, ZeroDivisionError: oh',
        'pytorch': 'it could not be graded to the end: it is gone', 'training': "it could not be graded to the end: 'oh'"}
    assert len(result.opened) == 4 and result.closed, 'after what ended or was not foreseen another process'


@pytest.mark.parametrize('part, error, retry', [
    ('mlp', ZeroDivisionError(), True), ('mlp', NotGradable('no memory'), True), ('mlp', SolutionEnded('gone'), False),
    ('mlp', Malformed('no array'), False), ('training', SolutionEnded('gone'), True), ('training', KeyError(), True),
    ('training', Malformed('no array'), False), ('training', SolutionError('Kind', '', []), False)])
def test_what_another_run_may_grade_is_noted(judged, part, error, retry):
    assert judged(**{part: fails(error)}).findings.retry == retry


@pytest.mark.parametrize('part', ['softmax', 'pytorch'])
def test_where_no_solution_can_be_run_nobody_is_judged(server, tmp_path, judged, part):
    with pytest.raises(NoServer):
        judged(**{part: fails(NoServer('no'))})
    assert not list(server.work.glob('solution-*')), 'its process and copy are gone'


@pytest.mark.parametrize('text, told, cause, place, quote', [
    ('x = 1\nraise OSError("oh")\n', 'modules.py cannot be imported: OSError: oh (modules.py, line 2).',
     'cannot be imported', 'modules.py, line 2', 'raise OSError("oh")'),
    ('import os\nprint(1, flush=True)\nos._exit(3)\n',
     'modules.py cannot be imported: it ended its process (exit code 3).', 'cannot be imported', '', '')])
def test_a_file_that_cannot_be_imported_is_one_finding(judged, text, told, cause, place, quote):
    result = judged({'modules.py': text})
    assert result.found == [('linear', 'incorrect', told, cause, place, quote)]
    assert result.log == [f'{part}: incorrect' for part in CORE] + [
        'pytorch', 'training', 'pytorch: correct', 'training: correct']


def test_a_file_that_is_not_python_is_not_graded(judged):
    result = judged({'modules.py': 'def f(:\n'})
    assert result.found == [] and set(result.findings.status.values()) == {'not graded'} and not result.findings.retry
    assert list(result.findings.reasons) == ['linear'], 'the reason is said once'
    assert result.findings.reasons['linear'].startswith('Python cannot read modules.py: ')


def test_remarks_are_of_the_part_whose_class_it_is(judged):
    def notes(context):
        for cls, method, fact in (('SoftMaxModule', 'forward', 'shares'), ('LinearModule', 'backward', 'overwrote'),
                                  ('LinearModule', 'backward', 'changed'), ('MLP', '__init__', 'changed'),
                                  ('ELUModule', 'forward', 'shares'), ('CrossEntropyModule', 'backward', 'changed')):
            context.session.note(cls, method, fact)

    result = judged(FILES | {'modules.py': MODULES.replace('import pandas', '')}, mlp=notes)
    assert result.found == [(part, 'note', f'{text}.', 'in place', '', '') for part, text in (
        ('softmax', 'SoftMaxModule.forward returns its argument, or a view of it'),
        ('linear', 'LinearModule.backward changes its argument in place'),
        ('linear', 'LinearModule.backward returns the array of the previous call, overwritten'),
        ('mlp', 'MLP.__init__ changes its argument in place'),
        ('activation', 'ELUModule.forward returns its argument, or a view of it'),
        ('cross_entropy', 'CrossEntropyModule.backward changes its argument in place'))]
