'use strict';
// Every text enters the page as textContent: nothing that a student wrote is read as HTML.
const data = JSON.parse(document.getElementById('data').textContent);
const find = (selector) => document.querySelector(selector);
const make = (tag, text = '', more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);
const text = (index) => data.texts[index];
const shown = { search: '', look: false, error: -1, column: 1, down: false };

const classOf = (cell) => cell.score === null ? 'look'
  : ['correct', 'deviates', 'incorrect'].includes(cell.verdict) ? cell.verdict : 'none';
const points = (score) => score === null ? 'to look at' : String(score);

// A column: its title, the text of a student's cell, and the value to sort by.
const columns = [
  { title: 'student', sort: (s) => s.name },
  { title: 'to look at', sort: (s) => s.look ? 0 : 1 },
  { title: 'points', sort: (s) => s.score },
  ...data.parts.map((title, part) => (
    { title, sort: (s) => s.cells[part].score === null ? -1 : s.cells[part].score })),
  { title: 'same code', sort: (s) => -s.same.length },
];

function row(student) {
  const line = make('tr');
  const name = make('th', '', { scope: 'row' });
  const button = make('button', student.name, { type: 'button' });
  button.setAttribute('aria-expanded', 'false');
  button.onclick = () => open(student, student.detail === undefined);
  name.append(button);
  line.append(name, make('td', student.look ? 'yes' : ''), make('td', `${student.score} of ${student.max}`));
  for (const cell of student.cells) {
    const td = make('td', points(cell.score), { className: classOf(cell), title: cell.note });
    td.append(make('small', cell.verdict));
    line.append(td);
  }
  line.append(make('td', student.same.map((other) => data.students[other].name).join(', ')));
  return Object.assign(student, { line, button });
}

function open(student, yes) {
  student.button.setAttribute('aria-expanded', String(yes));
  if (!yes) {
    student.detail.remove();
    student.detail = undefined;
    return;
  }
  const cell = make('td', '', { colSpan: columns.length, className: 'findings' });
  cell.append(make('p', student.headline), make('p', `folder: ${student.folder}`),
    make('a', 'the page for the student', { href: student.page }));
  for (const cells of student.cells.filter((one) => one.note)) {
    cell.append(make('p', `${cells.title}: ${cells.verdict} (${cells.note})`));
  }
  let [heading, number] = ['', 0];
  for (const finding of student.findings) {
    const [part, kind, place, words, quote, example, hint] = data.findings[finding].map(text);
    if (kind !== heading) cell.append(make('h3', heading = kind));
    number += kind === data.errorHeading;
    const count = kind === data.errorHeading ? `${number}. ` : '';
    cell.append(make('p', `${count}${part}${place ? ` (${place})` : ''}: ${words}`));
    if (quote || example) cell.append(make('pre', [quote, example].filter(Boolean).join('\n')));
    if (hint) cell.append(make('p', `Hint: ${hint}.`));
  }
  student.detail = make('tr');
  student.detail.append(cell);
  student.line.after(student.detail);
}

function jump(student) {
  Object.assign(shown, { search: '', look: false, error: -1 });
  draw();
  if (student.detail === undefined) open(student, true);
  student.line.scrollIntoView({ block: 'start' });
  student.button.focus();
}

function fits(student) {
  const words = shown.search.toLowerCase();
  return (!shown.look || student.look) && (shown.error < 0 || student.errors.includes(shown.error))
    && (!words || [student.name, ...student.errors.map((error) => data.errors[error][0])].some(
      (one) => one.toLowerCase().includes(words)));
}

function draw() {
  const value = columns[shown.column].sort;
  const compare = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (shown.down ? -1 : 1);
  const visible = data.students.filter(fits).sort((a, b) => compare(a, b) || a.number - b.number);
  find('tbody').replaceChildren(...visible.flatMap((s) => s.detail ? [s.line, s.detail] : [s.line]));
  find('[role=status]').textContent = `${visible.length} of ${data.students.length} students`
    + (shown.error < 0 ? '' : ` with the error “${data.errors[shown.error][0]}”`);
  find('input[type=search]').value = shown.search;
  find('input[type=checkbox]').checked = shown.look;
  document.querySelectorAll('#errors button').forEach((button, error) => {
    button.setAttribute('aria-pressed', String(error === shown.error));
  });
  document.querySelectorAll('thead th').forEach((th, column) => {
    th.setAttribute('aria-sort', column !== shown.column ? 'none' : shown.down ? 'descending' : 'ascending');
    th.firstChild.textContent = columns[column].title + (column !== shown.column ? '' : shown.down ? ' ▼' : ' ▲');
  });
}

function list(section, items) {
  find(`#${section}`).hidden = !items.length;
  find(`#${section} ul`).append(...items);
}

function item(student, words) {
  const li = make('li');
  const button = make('button', student.name, { type: 'button', onclick: () => jump(student) });
  li.append(button, `: ${words}`);
  return li;
}

data.students.forEach((student, number) => {
  Object.assign(student, { number, cells: student.cells.map(([verdict, score, note], part) => (
    { title: data.parts[part], verdict: text(verdict), score, note: text(note) })) });
  row(student);
});
find('#facts').textContent = data.facts;
list('look', data.students.filter((s) => s.look).map((s) => item(s, s.look)));
list('errors', data.errors.slice(0, 15).map(([words, count], error) => {
  const li = make('li');
  const bar = make('i');
  bar.style.width = `${100 * count / data.errors[0][1]}%`;
  li.append(make('button', words, { type: 'button', onclick: () => {
    shown.error = shown.error === error ? -1 : error;
    draw();
  } }), bar, make('span', String(count)));
  return li;
}));
list('same', data.students.filter((s) => s.same.length).map((s) => (
  item(s, s.same.map((other) => data.students[other].name).join(', ')))));
for (const section of ['first', 'notes']) list(section, data[section].map((note) => make('li', note)));
columns.forEach((_, column) => {
  const th = make('th', '', { scope: 'col' });
  th.append(make('button', '', { type: 'button', onclick: () => {
    shown.down = shown.column === column && !shown.down;
    shown.column = column;
    draw();
  } }));
  find('thead tr').append(th);
});
find('input[type=search]').oninput = (event) => { shown.search = event.target.value; draw(); };
find('input[type=checkbox]').onchange = (event) => { shown.look = event.target.checked; draw(); };
find('p button').onclick = () => { Object.assign(shown, { search: '', look: false, error: -1 }); draw(); };
draw();
