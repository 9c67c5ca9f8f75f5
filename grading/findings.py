"""The findings about a solution, of three kinds, and the verdict on each part that follows from them."""

from dataclasses import dataclass, field

CORE = ['linear', 'activation', 'softmax', 'cross_entropy', 'softmax_cross_entropy', 'mlp']
OPTIONAL = ['pytorch', 'training']
PARTS = CORE + OPTIONAL
TITLES = {
    'linear': 'linear module', 'activation': 'activation', 'softmax': 'softmax', 'cross_entropy': 'cross-entropy',
    'softmax_cross_entropy': 'softmax and cross-entropy in a row', 'mlp': 'NumPy MLP', 'pytorch': 'PyTorch MLP',
    'training': 'training scripts',
}
CORRECT, DEVIATES, INCORRECT = 'correct', 'deviates', 'incorrect'
NOT_IMPLEMENTED, MISSING, NOT_GRADED = 'not implemented', 'missing', 'not graded'
VERDICTS = [CORRECT, DEVIATES, INCORRECT, NOT_IMPLEMENTED, MISSING, NOT_GRADED]
# A finding is `incorrect` if a forward or a gradient differs from the mathematics on an input that the assignment
# allows, `deviates` if the assignment asks for something else although the results are correct, and a `note` if it is
# beyond the assignment.
NOTE = 'note'
KINDS = [INCORRECT, DEVIATES, NOTE]
OK = (CORRECT, DEVIATES)
INHERITED = 'inherited'  # the cause of a finding: the part is incorrect only because another is, and this was tried
BLOCKED = 'blocked'  # the same if it could not be tried


@dataclass(frozen=True)
class Place:
    """A line of a file. The default means no place, and is false."""

    file: str = ''
    line: int = 0

    def __bool__(self):
        return bool(self.file)

    def __str__(self):
        return f'{self.file}, line {self.line}' if self else ''


@dataclass
class Finding:
    """A finding about a part.

    text: one or two sentences; cause: the mistake in a few words, the same for all solutions that made it; example:
    lines with the smallest case; hint: advice; quote: the line of the file at the place.
    """

    part: str
    kind: str
    text: str
    cause: str = ''
    place: Place = Place()
    example: str = ''
    hint: str = ''
    quote: str = ''


@dataclass
class Findings:
    """status: part → its verdict, if this does not follow from findings; reasons: part → why; retry: was a part
    not graded for a reason that may no longer exist in the next run?
    """

    found: list = field(default_factory=list)
    status: dict = field(default_factory=dict)
    reasons: dict = field(default_factory=dict)
    retry: bool = False

    def add(self, part, kind, text, **more):
        """Add a finding, unless there is an equal one → the finding."""
        finding = Finding(part, kind, text, **more)
        same = next((other for other in self.found if (other.part, other.text) == (part, text)), None)
        if same is None:
            self.found.append(finding)
        return same or finding

    def of(self, part, kind=None):
        return [finding for finding in self.found if finding.part == part and kind in (None, finding.kind)]

    def verdict(self, part):
        if part in self.status:
            return self.status[part]
        return next((kind for kind in (INCORRECT, DEVIATES) if self.of(part, kind)), CORRECT)

    def overall(self):
        """The verdict on the NumPy parts, which every edition of the assignment has."""
        verdicts = [self.verdict(part) for part in CORE]
        return next(verdict for verdict in (INCORRECT, NOT_GRADED, NOT_IMPLEMENTED, MISSING, DEVIATES, CORRECT)
                    if verdict in verdicts)
