"""Grade one solution part by part: its files as text, its classes in their own process."""

import functools
import importlib.metadata
import importlib.util
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from grading import (activation_part, chain_part, consequences, cross_entropy_part, linear_part, many_calls, mlp_part,
                     pytorch_part, sandbox, softmax_part, submissions, training_part)
from grading.diagnosis import Context
from grading.findings import CORE, INCORRECT, MISSING, NOT_GRADED, OPTIONAL, PARTS, Findings
from grading.interface import Malformed, Session
from grading.remote import NoServer, NotGradable, SolutionEnded, SolutionError
from grading.source import Source, libraries
from grading.submissions import FILES
from grading.worker.imports import OLD_NAMES

CLASSES = {'linear': 'LinearModule', 'softmax': 'SoftMaxModule', 'cross_entropy': 'CrossEntropyModule'}
PART_OF_FILE = {'modules': 'linear', 'mlp_numpy': 'mlp', 'mlp_pytorch': 'pytorch'}
JUDGES = {
    'linear': linear_part.judge, 'activation': activation_part.judge, 'softmax': softmax_part.judge,
    'cross_entropy': cross_entropy_part.judge, 'softmax_cross_entropy': chain_part.judge, 'mlp': mlp_part.judge,
}


@functools.cache
def versions():
    """The versions that a verdict may depend on."""
    found = {'Python': platform.python_version()}
    for name, package in (('NumPy', 'numpy'), ('PyTorch', 'torch')):
        try:
            found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[name] = 'not installed'
    return found


@dataclass
class Judgement:
    """The results of grading a solution."""

    folder: str  # as on the command line
    place: str = ''  # the same folder as an absolute path
    findings: Findings = field(default_factory=Findings)
    interface: list = field(default_factory=list)
    protection: str = ''
    versions: dict = field(default_factory=lambda: versions())  # of Python and its packages
    code: dict = field(default_factory=dict)  # file → its similar.digest
    fingerprint: str = ''
    seconds: float = 0.0


def not_found(given, reason):
    """The Judgement of a submission without a solution; reason: a description of its content."""
    judgement = Judgement(str(given))
    for part in PARTS:
        judgement.findings.status[part] = MISSING
    judgement.findings.reasons[CORE[0]] = reason
    return judgement


def judge(server, folder, given=None, after_part=lambda part, findings: None):
    """Grade the solution in a folder → Judgement. given: its name; after_part: called after each part."""
    start = time.monotonic()
    judgement = Judgement(str(given or folder), protection=sandbox.protection(server.bubblewrap))
    findings, folder, read = judgement.findings, Path(folder), functools.cache(Source)
    sources = {name: read(folder / f'{name}.py') for name in FILES}
    has_torch = importlib.util.find_spec('torch') is not None
    session = Session(server, folder, libraries(folder, FILES[:2], read))
    context = Context(session, findings, sources['modules'], sources['mlp_numpy'], sources)
    try:
        usable = _modules_can_be_used(context)
        if usable:
            for part in CORE:
                _judge_part(context, part, JUDGES[part])
            _judge_part(context, 'mlp', consequences.decide)
            _judge_part(context, 'mlp', many_calls.judge)
            for judge_more in context.later:
                _judge_part(context, 'mlp', judge_more)
        for part in CORE:
            after_part(part, findings)
        session.close()
        if usable:
            _notes(context)
        session.preload = libraries(folder, FILES, read)
        _optional_parts(context, sources, has_torch)
        for part in OPTIONAL:
            after_part(part, findings)
    finally:
        session.close()
    for part, name in (('mlp', 'mlp_numpy.py'), ('pytorch', 'mlp_pytorch.py')):
        if findings.verdict(part) == MISSING and (words := submissions.instead_of(name, folder)):
            findings.reasons[part] = words
    for finding in findings.found:
        finding.quote = _quote(read, finding.place, folder)
    judgement.interface = session.interface
    judgement.seconds = time.monotonic() - start
    return judgement


def _quote(read, place, folder):
    """The line of the file at a place. It is read here, because the solution's process may report any text."""
    path = (folder / place.file).resolve()
    return read(path).line(place.line) if place and path.is_relative_to(folder.resolve()) else ''


def _optional_parts(context, sources, has_torch):
    """Grade the PyTorch MLP and the training scripts. A part that cannot be graded completely is "not graded"."""
    for part, run in (('pytorch', lambda: pytorch_part.judge(context, sources['mlp_pytorch'], has_torch)),
                      ('training', lambda: training_part.judge(context, sources, has_torch))):
        context.begin(part)
        try:
            run()
        except NoServer:
            raise
        except Exception as error:  # see _judge_part
            context.skip(part, NOT_GRADED, f'it could not be graded to the end: {error}',
                         retry=not isinstance(error, (SolutionError, Malformed)))


def _judge_part(context, part, judge_it):
    cls = CLASSES.get(part)
    if cls and cls not in context.names:
        return context.skip_absent(part, 'modules', cls)
    context.begin(part)
    try:
        judge_it(context)
    except SolutionEnded as gone:
        context.incorrect(part, f'Could not be graded to the end: {gone}.', cause='no answer')
        context.session.restart()
    except (SolutionError, Malformed) as error:
        context.incorrect(part, f'Could not be graded to the end: {error}.', cause='unexpected answer',
                          place=error.place)
    except NoServer:
        raise
    except NotGradable as error:
        context.skip(part, NOT_GRADED, str(error), retry=True)
    except Exception as error:  # an unexpected error in one solution must not end the run of a class
        context.skip(part, NOT_GRADED, f'the grader itself failed, {type(error).__name__}: {error}',
                     retry=True)
        context.session.restart()


def _modules_can_be_used(context):
    """Import modules.py. If that fails, one finding or reason says so, and no part can be graded."""
    source = context.modules
    context.names = set()
    if not source.exists:
        for part in CORE:
            context.skip(part, MISSING, 'no modules.py' if part == CORE[0] else '')
        return False
    problem = source.problem
    if not problem:
        try:
            classes = context.session.classes('modules')
            context.names = {name for name, *_ in classes}
            files = {file for *_, file in classes} - {source.name}
            folder = context.session.folder  # the process may name any file
            source.imported = [Source(folder / file, file.as_posix()) for file in submissions.files(folder)
                               if file.as_posix() in files]
            linear = [name for name, *_ in context.session.signature('modules', 'LinearModule')]
            context.asks_for_clear_cache = not linear or 'input_layer' in linear
            return True
        except (SolutionError, SolutionEnded) as error:
            context.incorrect('linear', f'modules.py cannot be imported: {error}.', cause='cannot be imported',
                              place=error.place)
        except NotGradable as error:
            problem, context.findings.retry = f'modules.py cannot be imported: {error}', True
    for part in CORE:
        context.skip(part, NOT_GRADED if problem else INCORRECT, problem if part == CORE[0] else '')
    return False


def _notes(context):
    """Add notes about prints, and about calls that changed their arguments or earlier results."""
    part_of = {'LinearModule': 'linear', 'SoftMaxModule': 'softmax', 'CrossEntropyModule': 'cross_entropy',
               'MLP': 'mlp'}
    words = {'changed': 'changes its argument in place', 'shares': 'returns its argument, or a view of it',
             'overwrote': 'returns the array of the previous call, overwritten'}
    for (cls, method), facts in context.session.facts.items():
        for fact in sorted(facts):
            context.note(part_of.get(cls, 'activation'), f'{cls}.{method} {words[fact]}.', cause='in place')
    for file in FILES:
        for name in sorted(context.sources[file].attributes_of('np', 'numpy') & {*OLD_NAMES} - {*vars(np)}):
            context.note(PART_OF_FILE.get(file, 'training'), f'{file}.py uses np.{name}, which NumPy {np.__version__} does not '
                         'have; it was given back for the grading.', cause='removed name')
    if context.session.printed:
        context.note('mlp', f'Prints {context.session.printed} characters in these checks.', cause='prints')
