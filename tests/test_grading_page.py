"""The page of a class, opened from the disk in a real browser: Chromium, driven by selenium, if both are installed."""

import re
import shutil

import pytest

from approval import assert_approved
from grading import class_page
from grading.findings import CORE, DEVIATES, INCORRECT, MISSING, NOT_GRADED, VERDICTS
from grading.report import clean
from test_grading_report import entry, judgement

HOSTILE = '<img src=x onerror="document.title=1"></script><script>document.title=2</script>$data \x1b[1m\u202e&amp;'


@pytest.fixture(scope='module')
def browser():
    driver = pytest.importorskip('selenium.webdriver', reason='selenium is not installed: tests/requirements.txt')
    chromium, chromedriver = (shutil.which(name) for name in ('chromium', 'chromedriver'))
    if not chromium or not chromedriver:
        pytest.skip('there is no Chromium with its driver: apt-get install chromium chromium-driver')
    options = driver.ChromeOptions()
    options.binary_location = chromium
    for argument in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--window-size=1300,1000'):
        options.add_argument(argument)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    browser = driver.Chrome(options=options, service=driver.ChromeService(chromedriver))
    yield browser
    browser.quit()


class Page:
    def __init__(self, browser):
        self.run = browser.execute_script

    def all(self, selector):
        return self.run(f'return [...document.querySelectorAll({selector!r})].map((one) => one.innerText)')

    def click(self, selector, number=0):
        self.run(f'document.querySelectorAll({selector!r})[{number}].click()')

    def press(self, selector, key):
        self.run(f'document.querySelector({selector!r}).focus()')
        self.run('return document.activeElement').send_keys(key)

    @property
    def students(self):
        return [name.partition(' ')[0] for name in self.all('tbody th')]


@pytest.fixture
def page(browser, tmp_path):
    """Five students: two with a mistake in common, one correct, one to look at, one whose texts attack."""
    sign = ('linear', INCORRECT, 'forward has the wrong sign.', {'cause': 'sign'})
    attack = ('mlp', INCORRECT, HOSTILE, dict.fromkeys(('cause', 'quote', 'example', 'hint'), HOSTILE))
    entries = [entry(solution) for solution in (
        judgement(folder='c/anna'), judgement(sign, folder='c/ben', training=(NOT_GRADED, 'no answer')),
        judgement(sign, ('softmax', DEVIATES, 'deviates.'), folder='c/cleo'),
        judgement(folder='c/dora', **dict.fromkeys(CORE, (MISSING, 'no modules.py'))),
        judgement(attack, folder=f'c/{clean(HOSTILE.replace("/", ""))}', interface=[HOSTILE]))]
    path = tmp_path / 'index.html'
    path.write_text(class_page.page(entries, {'anna': ['cleo'], 'cleo': ['anna']}, ['Python 3', clean(HOSTILE)], ['Not verified']), 'utf-8')
    browser.get_log('browser')
    browser.get(path.as_uri())
    yield Page(browser)
    assert browser.get_log('browser') == [], 'errors, or what the content security policy refused'
    assert browser.execute_script('return performance.getEntriesByType("resource").length') == 0
    assert browser.title == 'Class report'


def test_it_shows_first_what_to_look_at_and_works_with_the_keyboard(page):
    assert page.all('#look li') == ['ben: training scripts (no answer)', 'dora: all NumPy parts (no modules.py)']
    assert page.all('#facts')[0].endswith('; to look at by hand: 2'), 'students, not parts'
    assert page.students[:4] == ['ben', 'dora', 'anna', 'cleo'] and page.all('section h2')[0] == 'To look at by hand'
    page.click('#look button', 1)
    assert page.run('return document.activeElement.innerText') == 'dora' and 'no modules.py' in page.all('.findings')[0]
    page.press('tbody button', '\ue007')  # Enter
    assert len(page.all('.findings')) == 2
    assert page.run('return getComputedStyle(document.activeElement).outlineStyle') == 'solid'
    page.press('tbody button', '\ue00d')  # the space bar
    assert len(page.all('.findings')) == 1


def test_it_shows_what_is_approved(page):
    page.run('document.querySelectorAll("tbody button").forEach((one) => one.click())')
    links = page.run('return [...document.querySelectorAll("tbody a")].map((one) => one.getAttribute("href"))')
    text = page.run('return document.body.innerText') + '\n' + '\n'.join(links) + '\n'
    for layout, instead in ((r'\s*\t\s*', ' | '), (rf'\n(?={"|".join(VERDICTS)})', ' '), (r'\n\s+', '\n')):
        text = re.sub(layout, instead, text)  # a row of the table in a line
    assert_approved('grading_class_page', text)


def test_it_is_sorted_and_filtered(page):
    page.click('thead button', 2)
    points = [float(cell.partition(' ')[0]) for cell in page.all('tbody tr td:nth-child(3)')]
    assert points == sorted(points) and page.all('[aria-sort=ascending]') == ['points ▲']
    page.click('thead button', 2)
    assert page.students[0] == 'anna' and page.all('[aria-sort=descending]') == ['points ▼']
    assert page.all('#errors li')[0].split() == ['linear:', 'sign', '2']
    page.click('#errors button')
    assert sorted(page.students) == ['ben', 'cleo'] and page.all('[role=status]') == [
        '2 of 5 students with the error “linear: sign”']
    page.click('#class input[type=checkbox]')
    assert page.students == ['ben']
    page.click('#class p button')
    assert len(page.students) == 5
    page.press('input[type=search]', 'CLEO')
    assert page.students == ['cleo'] and page.all('#same li') == ['anna: cleo', 'cleo: anna']


def test_what_a_student_wrote_stays_text(page):
    page.click('#errors button', 1)
    page.click('tbody button')
    shown = page.all('.findings')[0]
    assert shown.count('<img src=x onerror="document.title=1"></script>') == 4 and '$data \ufffd[1m\ufffd&amp;' in shown
    assert page.run('return document.images.length + document.querySelectorAll("script").length') == 2


LOWEST_CONTRAST = """
    const light = (color) => color.match(/[0-9]+/g).slice(0, 3).map((n, i) => [.21, .72, .07][i] * (n / 255) ** 2.2)
        .reduce((a, b) => a + b) + .05;
    const under = (one) => getComputedStyle(one).backgroundColor.startsWith('rgba(0, 0, 0, 0')
        ? under(one.parentElement) : getComputedStyle(one).backgroundColor;
    const pairs = [...document.querySelectorAll('body, td, button')].map((one) => [
        light(getComputedStyle(one).color), light(under(one))]);
    return Math.min(...pairs.map(([a, b]) => Math.max(a, b) / Math.min(a, b)));
"""


def test_it_is_readable_in_light_and_dark_and_printed(page, browser):
    def show(media, scheme='light'):
        browser.execute_cdp_cmd('Emulation.setEmulatedMedia', {
            'media': media, 'features': [{'name': 'prefers-color-scheme', 'value': scheme}]})
        return page.run('return getComputedStyle(document.body).backgroundColor')

    colors = set()
    for scheme in ('light', 'dark'):
        colors.add(show('', scheme))
        assert page.run(LOWEST_CONTRAST) > 4.5
    assert len(colors) == 2 and show('print')
    assert page.run('return document.querySelector(".screen").offsetHeight') == 0 and page.students
    show('')


def test_a_class_of_500_is_at_most_a_megabyte():
    def class_of(*mistakes):
        entries = [entry(judgement(*mistakes[number % len(mistakes)], folder=f'c/{number}')) for number in range(500)]
        return class_page.page(entries, {}, [])

    mistakes = [[('linear', INCORRECT, f'{number} {"Xᵀ D " * 200}', {
        'cause': f'{number}', 'example': f'{number}' * 200, 'quote': f'{number}' * 20, 'hint': 'h' * 300})]
        for number in range(500)]
    for text in (class_of([]), class_of(mistakes[0])):
        assert 'Left out' not in text and len(text.encode()) < 500_000
    text = class_of(*mistakes)
    assert 'Left out of this page because of its size: example of' in text and len(text.encode()) <= 1_000_000
