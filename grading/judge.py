"""One solution, judged part by part: its files as text, its classes in a process of their own."""

import importlib.util
import time
from dataclasses import dataclass, field
from pathlib import Path

from grading import (activation_part, chain_part, cross_entropy_part, linear_part, mlp_part, pytorch_part, sandbox,
                     softmax_part, training_part)
from grading.findings import BESIDE, CORE, Findings
from grading.interface import Malformed, Session
from grading.remote import Failed, Gone, NoServer
from grading.source import Source, libraries
from grading.telling import Context

FILES = ['modules', 'mlp_numpy', 'mlp_pytorch', 'train_mlp_numpy', 'train_mlp_pytorch']
CLASSES = {'linear': 'LinearModule', 'softmax': 'SoftMaxModule', 'cross_entropy': 'CrossEntropyModule'}
JUDGES = {
    'linear': linear_part.judge, 'activation': activation_part.judge, 'softmax': softmax_part.judge,
    'cross_entropy': cross_entropy_part.judge, 'softmax_cross_entropy': chain_part.judge, 'mlp': mlp_part.judge,
}


@dataclass
class Judgement:
    """All that is known about a solution in the end."""

    folder: str  # as the teacher gave it
    place: str = ''  # the same folder as an absolute path
    findings: Findings = field(default_factory=Findings)
    interface: list = field(default_factory=list)
    protection: str = ''
    versions: dict = field(default_factory=dict)  # of Python and its packages
    code: dict = field(default_factory=dict)  # file → what similar.digest makes of it
    fingerprint: str = ''
    seconds: float = 0.0


def locate(folder):
    """The folder that has the files: the one given, or the only one below it that has a modules.py."""
    folder = Path(folder)
    if not folder.is_dir() or any((folder / name).is_file() for name in ('modules.py', 'mlp_numpy.py')):
        return folder
    inner = [path.parent for depth in ('*', '*/*', '*/*/*') for path in folder.glob(f'{depth}/modules.py')
             if not any(part.startswith(('.', '__')) for part in path.relative_to(folder).parts)]
    return inner[0] if len(inner) == 1 else folder


def judge(server, folder, given=None, tell=lambda part, findings: None):
    """Judge the solution in a folder; tell(part, findings) is called as each part is done; given: its name."""
    start = time.monotonic()
    judgement = Judgement(str(given or folder), protection=sandbox.protection(server.bubblewrap))
    findings, folder = judgement.findings, locate(folder)
    sources = {name: Source(folder / f'{name}.py') for name in FILES}
    has_torch = importlib.util.find_spec('torch') is not None
    session = Session(server, folder, libraries(folder, FILES[:2]))
    context = Context(session, findings, sources['modules'], sources['mlp_numpy'])
    try:
        usable = _modules_can_be_used(context)
        waiting = []  # parts whose verdict hangs on that of the MLP, see mlp_part
        for part in CORE:
            if part not in findings.status and not findings.of(part, 'wrong') and usable:
                _judge_part(context, part)
            waiting.append(part)
            if part == 'mlp' or not any(findings.of(other, 'wrong') for other in waiting):
                for other in waiting:
                    tell(other, findings)
                waiting = []
        session.close()
        if usable:
            _remarks(context)
        session.preload = libraries(folder, FILES)
        _beside(context, sources, has_torch)
        for part in BESIDE:
            tell(part, findings)
    finally:
        session.close()
    for finding in findings.found:
        finding.quote = next((quote for source in sources.values() if (quote := source.quote(finding.place))), '')
    judgement.interface = session.interface
    judgement.seconds = time.monotonic() - start
    return judgement


def _beside(context, sources, has_torch):
    """The PyTorch MLP and the training scripts; where one can't be asked to the end, it is not judged, never wrong."""
    for part, run in (('pytorch', lambda: pytorch_part.judge(context, sources['mlp_pytorch'], has_torch)),
                      ('training', lambda: training_part.judge(context, sources, has_torch))):
        try:
            run()
        except NoServer:
            raise
        except Exception as error:  # see _judge_part
            context.skip(part, 'not judged', f'it could not be asked to the end: {error}')


def _judge_part(context, part):
    cls = CLASSES.get(part)
    if cls and cls not in context.names:
        return context.skip(part, 'missing')
    try:
        JUDGES[part](context)
    except Gone as gone:
        context.wrong(part, f'Could not be judged to the end: {gone}.', cause='no answer')
        context.session.restart()
    except (Failed, Malformed) as error:
        context.wrong(part, f'Could not be judged to the end: {error}.', cause='unexpected answer',
                      place=getattr(error, 'place', ''))
    except NoServer:
        raise
    except Exception as error:  # a class of five hundred does not end with one solution that we did not foresee
        context.skip(part, 'not judged', f'the checker itself failed, {type(error).__name__}: {error}')
        context.session.restart()


def _modules_can_be_used(context):
    """Import modules.py; where that fails, one finding says so, and every part follows from it."""
    source = context.modules
    context.names = set()
    if not source.exists:
        for part in CORE:
            context.skip(part, 'missing')
        return False
    problem, cause, place = source.problem, source.cause, ''
    if not problem:
        try:
            context.names = {name for name, *_ in context.session.classes('modules')}
        except Failed as failed:
            problem, cause, place = f'modules.py can not be imported: {failed}', 'can not be imported', failed.place
        except Gone as gone:
            problem, cause = f'the import of modules.py: {gone}', 'can not be imported'
    if problem:
        context.wrong('linear', f'{problem}.', cause=cause, place=place)
        for part in CORE[1:]:
            context.wrong(part, 'modules.py can not be used (see linear).', cause='inherited')
        return False
    return True


def _remarks(context):
    """What the calls did to their arguments and results, and prints."""
    part_of = {'LinearModule': 'linear', 'SoftMaxModule': 'softmax', 'CrossEntropyModule': 'cross_entropy',
               'MLP': 'mlp'}
    words = {'changed': 'changes its argument in place', 'shares': 'gives back its argument, or a view of it',
             'overwrote': 'gives back the same array as the call before, overwritten'}
    for (cls, method), facts in context.session.facts.items():
        for fact in sorted(facts):
            context.remark(part_of.get(cls, 'activation'), f'{cls}.{method} {words[fact]}.', cause='in place')
    if context.session.printed:
        context.remark('mlp', f'Prints {context.session.printed} characters in these checks.', cause='prints')
