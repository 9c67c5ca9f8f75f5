"""What is found about a solution: findings of three kinds, and the verdict on each part that follows from them."""

from dataclasses import dataclass, field

CORE = ['linear', 'activation', 'softmax', 'cross_entropy', 'softmax_cross_entropy', 'mlp']
BESIDE = ['pytorch', 'training']
PARTS = CORE + BESIDE
TITLES = {
    'linear': 'linear module', 'activation': 'activation', 'softmax': 'softmax', 'cross_entropy': 'cross-entropy',
    'softmax_cross_entropy': 'softmax and cross-entropy in a row', 'mlp': 'NumPy MLP', 'pytorch': 'PyTorch MLP',
    'training': 'training scripts',
}
CORRECT, DEVIATES, INCORRECT = 'right', 'departs', 'wrong'
NOT_IMPLEMENTED, MISSING, NOT_GRADED = 'stub', 'missing', 'not judged'
VERDICTS = [CORRECT, DEVIATES, INCORRECT, NOT_IMPLEMENTED, MISSING, NOT_GRADED]
NOTE = 'remark'
# wrong: a forward or a gradient is not what the mathematics says, on an input that the assignment allows.
# departs: the assignment asks for it, it isn't so, and what the net computes is right all the same.
# remark: beyond the assignment.
KINDS = [INCORRECT, DEVIATES, NOTE]
OK = (CORRECT, DEVIATES)


@dataclass
class Finding:
    """text: one or two sentences; cause: the name of the mistake in a word or two, the same for all solutions that
    made it; place: file and line; example: lines that show the smallest case; hint: what to look at; quote: the line
    at the place, as it stands in the file."""

    part: str
    kind: str
    text: str
    cause: str = ''
    place: str = ''
    example: str = ''
    hint: str = ''
    quote: str = ''


@dataclass
class Findings:
    """status: part → missing, stub or not judged, where it could not be judged."""

    found: list = field(default_factory=list)
    status: dict = field(default_factory=dict)
    reasons: dict = field(default_factory=dict)  # part → why it has its status

    def add(self, part, kind, text, **more):
        """Identical messages are merged."""
        finding = Finding(part, kind, text, **more)
        if all((finding.part, finding.text) != (other.part, other.text) for other in self.found):
            self.found.append(finding)

    def of(self, part, kind=None):
        return [finding for finding in self.found if finding.part == part and kind in (None, finding.kind)]

    def verdict(self, part):
        if part in self.status:
            return self.status[part]
        for kind in ('wrong', 'departs'):
            if self.of(part, kind):
                return kind
        return 'right'

    def overall(self):
        """The verdict on the solution: that of its NumPy half, which every edition of the assignment has."""
        verdicts = [self.verdict(part) for part in CORE]
        for verdict in ('missing', 'stub', 'not judged'):
            if set(verdicts) == {verdict}:
                return verdict
        if not set(verdicts) <= set(OK):
            return 'wrong'
        return 'departs' if 'departs' in verdicts else 'right'
