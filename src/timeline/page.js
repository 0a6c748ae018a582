// The page around the drawing: what it says, and what the pointer and the keys do.
const state = { row: -1, attempt: null, task: null, failure: null };
const numbers = story.numbers;

/** A button that reads like a link. */
function link(text, action) {
  return element('button', { type: 'button', className: 'link', onclick: action }, text);
}

const taskLink = task => link(idElement(tasks.id[task]), () => select(task));
const workerId = attempt => story.workers[attempts.worker[attempt]].id;

/** `a`, `b` and `c`, of which only the first few are listed. */
function list(nodes, most = 3) {
  const shown = nodes.slice(0, most), rest = nodes.length - shown.length;
  const parts = [];
  shown.forEach((node, index) => parts.push(index ? (index === shown.length - 1 && !rest ? ' and ' : ', ') : '', node));
  if (rest) parts.push(` and ${plural(rest, 'more', 'more')}`);
  return parts;
}

function writeLead() {
  const jobs = story.jobs, failures = allFailures.filter(({ failure }) => failure.kind === 'check');
  $('title').replaceChildren(...(jobs.length === 1 ? ['Job ', idElement(jobs[0].id)] : [jobs.length ? `${plural(jobs.length, 'job')}` : 'No job']));
  document.title = jobs.length === 1 ? `Timeline of job ${show(jobs[0].id)}` : 'Timeline of a MapReduce master';
  const parts = [];
  if (oneJob) {
    const job = jobs[0], took = job.ended === null ? null : job.ended - job.submitted;
    parts.push(job.state === 'running' ? 'It is still running ' : `It ${job.state === 'removed' ? 'was removed' : job.state} `,
      element('strong', {}, took === null ? `${duration(story.to - job.submitted)} after it was submitted` : `${duration(took)} after it was submitted`),
      `: ${plural(job.maps, 'map')} and ${plural(job.reduces, 'reduce')} on ${plural(story.workers.length, 'worker')}. `);
    if (job.error !== null) parts.push(element('span', { className: 'bad' }, 'The error: ', element('bdi', {}, show(job.error)), '. '));
  } else if (jobs.length) {
    const count = what => jobs.filter(job => job.state === what).length;
    parts.push(['completed', 'failed', 'running', 'removed'].filter(count).map(what => `${grouped(count(what))} ${what}`).join(', '),
      `, on ${plural(story.workers.length, 'worker')} in ${duration(story.to - story.from)}. `);
    const failed = jobs.filter(job => job.error !== null);
    if (failed.length === 1) parts.push('Job ', idElement(failed[0].id), ' failed: ', element('bdi', { className: 'bad' }, show(failed[0].error)), '. ');
  } else {
    parts.push(`${plural(story.workers.length, 'worker')} in ${duration(story.to - story.from)}. `);
  }
  if (failures.length) {
    const names = new Set(failures.map(({ worker }) => worker));
    parts.push(names.size === 1 ? 'Worker ' : `${grouped(names.size)} workers (`,
      ...list([...names].map(worker => idElement(story.workers[worker].id))), names.size === 1 ? ' failed' : ') failed');
    parts.push(failures.length === 1 ? ` at ${clock(failures[0].failure.at)}` : '', '. ');
  } else if (story.workers.length) {
    parts.push('No worker failed. ');
  }
  const lost = numbers.lost.total;
  if (lost) parts.push('Failures of every kind wasted ', element('strong', {}, workTime(lost)), ' of the workers\' time. ');
  if (story.backups.length) {
    const { won, cost, saved, known } = numbers.backups;
    parts.push(`Of ${plural(story.backups.length, 'backup task')}, ${grouped(won)} won. They took `, element('strong', {}, workTime(cost)), ' of the workers\' time');
    parts.push(known ? [', and results came ', element('strong', {}, workTime(saved)), known < won ? ` earlier (known for ${grouped(known)} of them)` : ' earlier'] : '', '. ');
  }
  $('lead').replaceChildren(...parts.flat().filter(part => part !== ''));
  $('notes').replaceChildren(...story.notes.map(note => element('li', {}, note)));
}

function card(title, value, ...lines) {
  return element('div', { className: 'card' }, element('h2', {}, title), element('div', { className: 'value' }, value), ...lines.filter(Boolean).map(line => element('p', {}, line)));
}

function writeNumbers() {
  const { workers, attempts: count, jobs, lost, backups } = numbers;
  const share = part => lost.total ? [part] : [];
  const reasons = [[lost.lost, 'lost with workers'], [lost.outputs, 'outputs lost'], [lost.failed, 'failed'], [lost.timedOut, 'timed out'], [lost.inputsMissing, 'inputs missing']]
    .filter(([ms]) => ms).map(([ms, what]) => `${what} ${workTime(ms)}`).join(', ');
  $('numbers').replaceChildren(
    card('Workers now', `${grouped(workers.healthy)} healthy`, `${grouped(workers.failed)} failed`),
    card('Jobs now', oneJob ? story.jobs[0].state : `${grouped(jobs.completed)} completed`, oneJob ? '' : `${grouped(jobs.running)} running, ${grouped(jobs.failed)} failed`,
      story.jobs.length === 1 && story.jobs[0].ended !== null ? `at ${moment(story.jobs[0].ended)}` : ''),
    card('Attempts', `${grouped(count.started)} started`, `${grouped(count.completed)} accepted, ${grouped(count.failed)} failed or timed out, ${grouped(count.lost)} lost`,
      `${plural(numbers.duplicates_dropped, 'late result')} dropped`),
    card('Time lost to failures', workTime(lost.total), reasons || 'no work was lost', lost.total && lost.ran ? `${trimmed(100 * lost.total / lost.ran, 1)}% of all work` : ''),
    card('Backups cost', workTime(backups.cost), `${plural(count.speculative, 'backup')} handed out, ${grouped(backups.won)} won`, lost.ran && backups.cost ? `${trimmed(100 * backups.cost / lost.ran, 1)}% of all work` : ''),
    card('Backups saved', backups.won === 0 ? 'nothing' : backups.known ? workTime(backups.saved) : 'not known',
      backups.known ? `over ${plural(backups.known, 'task')}, at most ${duration(backups.most)} for one` : '', backups.unknown ? `not known for ${plural(backups.unknown, 'task')}` : ''),
  );
}

const MOST_ROWS = 1000;

function table(title, heads, lines) {
  if (!lines.length) return null;
  const body = lines.slice(0, MOST_ROWS).map(cells => element('tr', {}, cells().map((cell, index) => element('td', { className: heads[index][1] ?? '' }, cell))));
  if (lines.length > MOST_ROWS) body.push(element('tr', {}, element('td', { colSpan: heads.length }, `and ${grouped(lines.length - MOST_ROWS)} more`)));
  return element('div', { className: 'table' }, element('h2', {}, lines.length > 8 ? `${title} (${grouped(lines.length)})` : title),
    element('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': title },
      element('table', {}, element('thead', {}, element('tr', {}, heads.map(([text, className]) => element('th', { className: className ?? '', scope: 'col' }, text)))), element('tbody', {}, body))));
}

const allFailures = [];
story.workers.forEach((worker, index) => worker.failures.forEach(failure => allFailures.push({ worker: index, failure })));
allFailures.sort((a, b) => a.failure.at - b.failure.at || a.worker - b.worker);

const FAILURES = { check: 'failed', restart: 'restarted', removal: 'removed', reassign: 'taken from' };

function why(failure) {
  if (failure.kind === 'check') return `failed by a check: silent for ${duration(failure.silent)}, timeout ${duration(failure.timeout)}`;
  if (failure.kind === 'restart') return 'restarted: a new process under its id';
  if (failure.kind === 'reassign') return 'its tasks were reassigned to another worker';
  return 'removed for good';
}

function taskCounts(kind) {
  return ['completed', 'running', 'idle', 'skipped', 'failed', 'withdrawn'].filter(name => kind[name]).map(name => `${grouped(kind[name])} ${name}`).join(', ') || 'none';
}

function writeTables() {
  const jobs = table('Jobs', [['Job'], ['State'], ['Took', 'number'], ['Maps'], ['Reduces']], story.jobs.map(job => () => [
    idElement(job.id), element('span', { className: job.state === 'failed' ? 'bad' : '' }, job.state, job.error === null ? '' : [': ', element('bdi', {}, show(job.error))]),
    job.ended === null ? '' : duration(job.ended - job.submitted), taskCounts(job.map), taskCounts(job.reduce)]));
  const failures = table('Workers that failed or left', [['Worker'], ['When', 'number'], ['What'], ['Ran again'], ['Cost', 'number'], ['Back', 'number']], allFailures.map(({ worker, failure }) => () => [
    link(idElement(story.workers[worker].id), () => showFailure(worker, failure)), clock(failure.at), failure.kind === 'check' ? `silent for ${duration(failure.silent)}` : why(failure),
    [failure.attempts.length ? plural(failure.attempts.length, 'attempt') : '', failure.attempts.length && failure.outputs.length ? ', ' : '', failure.outputs.length ? plural(failure.outputs.length, 'map output') : '',
      failure.attempts.length + failure.outputs.length ? '' : 'nothing'],
    workTime(failure.cost), failure.back === null ? '' : clock(failure.back)]));
  const backups = table('Backup tasks', [['Task'], ['Slow on'], ['Backup on'], ['Won'], ['Cost', 'number'], ['Saved', 'number']], story.backups.map(backup => () => [
    taskLink(attempts.task[backup.attempt]), backup.beside === null ? '' : idElement(workerId(backup.beside)), idElement(workerId(backup.attempt)),
    backup.won ? 'yes' : attempts.how[backup.attempt] === RUNNING ? 'open' : 'no', duration(backup.cost),
    !backup.won ? '' : backup.saved === null ? 'not known' : duration(backup.saved)]));
  const errors = new Map();
  for (let attempt = 0; attempt < attemptCount; attempt++) {
    const text = attempts.how[attempt] === FAILED ? extra(attempt).why ?? '' : null;
    if (text === null) continue;
    if (!errors.has(text)) errors.set(text, []);
    errors.get(text).push(attempt);
  }
  const failed = table('Errors', [['Error'], ['Times', 'number'], ['Tasks']], [...errors].sort((a, b) => b[1].length - a[1].length).map(([text, list_]) => () => [
    element('bdi', {}, show(text)), grouped(list_.length), list([...new Set(list_.map(attempt => attempts.task[attempt]))].map(taskLink))]));
  $('tables').replaceChildren(...[jobs, failures, backups, failed].filter(Boolean));
}

function writeLegend() {
  const entries = [
    ['map', { end: ACCEPTED }], ['reduce', { end: ACCEPTED, reduce: true }], ['backup', { end: ACCEPTED, backup: true }],
    ['another attempt won', { end: SUPERSEDED }], ['lost with its worker', { end: LOST }], ['failed', { end: FAILED }], ['timed out', { end: TIMED_OUT }], ['inputs missing', { end: INPUTS_MISSING }],
    ['done, output lost later', { end: ACCEPTED, outputLost: true }], ['withdrawn', { end: WITHDRAWN }], ['still running', { end: RUNNING }],
  ];
  const used = new Set();
  for (let attempt = 0; attempt < attemptCount; attempt++) {
    const { end, outputLost, backup } = lookOf(attempt);
    used.add(outputLost ? 'outputLost' : end);
    if (backup) used.add('backup');
  }
  $('legend').replaceChildren(...entries.filter(([, look], index) => index < 2 || used.has(look.backup ? 'backup' : look.outputLost ? 'outputLost' : look.end)).map(([text, look]) => {
    const canvas = element('canvas', { 'aria-hidden': 'true' });
    canvas.style.width = '26px';
    drawBar(prepare(canvas, 26, 14), 0, 0, 26, 14, { reduce: false, ...look });
    return element('span', {}, canvas, text);
  }), ...(story.workers.some(hasFailed) ? [element('span', {}, element('span', { className: 'bad' }, '✕'), 'a check found that the worker had failed')] : []),
  ...(numbers.duplicates_dropped ? [element('span', {}, '◇', 'late result dropped')] : []));
}

function writeDefinitions() {
  const terms = [
    ['Times', `The messages' own. A message without a time (a submission, a reassignment, a removal) counts as sent at the time of the message before it that has one. The clock of this page starts at ${absolute(0)}, the first time in the ${story.source}. Workers and monitor each have a clock of their own; where these differ, so do the bars.`],
    ['A bar', 'An attempt, from the time at which its worker fetched it to its end: its result, its failure, the result of another attempt that was accepted first, or the check by which it was lost. A thin line before it: assigned, and not fetched yet. A dotted line behind a worker\'s last message: nobody heard from it any more.'],
    ['Time lost to failures', 'How long attempts ran whose work was not used: those that failed, timed out, missed inputs or were lost with their worker, up to that moment, unless their result was accepted later after all; and those that delivered a map output which was lost before the reduces had read it. This is time of workers, not of the job. An attempt that was never fetched, or that ends before it starts by these clocks, counts as 0.'],
    ['Backups cost', 'How long all backup attempts ran, whether they won or not.'],
    ['Backups saved', 'For each backup that won: how much later the slow attempt delivered its own result; or, when the slow attempt was lost or failed before, how much of a start the backup then had. Where the slow attempt was stopped or never reported, it is not known, and not counted.'],
    ['Many workers, many tasks', 'Rows get thinner as there are more workers, and bars in a row that share a pixel are merged (the worst of them is seen); zooming in shows each of them. What ran and waited is drawn with the most of each pixel.' + (story.heardEvery > 1 ? ` Messages of a worker that are less than ${duration(story.heardEvery)} apart are drawn as one.` : '')],
  ];
  if (story.to - story.from > 2 ** 53) terms.push(['Rounding', 'These times span more than 2⁵³ ms; what is shown of them is rounded to 16 digits.']);
  $('definitions').replaceChildren(element('h2', {}, 'What the numbers mean'), element('dl', {}, terms.flatMap(([term, text]) => [element('dt', {}, term), element('dd', {}, text)])));
}

/** What is known of an attempt, as pairs of name and text. */
function describe(attempt) {
  const end = attempts.how[attempt], { why: text, dropped = [], outputLost, interrupted } = extra(attempt);
  const [fetched, ended] = [attempts.fetch[attempt], attempts.end[attempt]];
  const pairs = [['Worker', show(workerId(attempt))]];
  if (!oneJob) pairs.push(['Job', show(story.jobs[tasks.job[attempts.task[attempt]]].id)]);
  if (fetched === null) pairs.push(['Assigned', moment(attempts.start[attempt]) + ', never fetched']);
  else {
    if (fetched !== attempts.start[attempt]) pairs.push(['Assigned', moment(attempts.start[attempt])]);
    pairs.push(['Started', moment(fetched)]);
  }
  if (ended === null) pairs.push(['End', 'still running']);
  else pairs.push(['Ended', moment(ended)]);
  if (fetched !== null) pairs.push([ended === null ? 'Running for' : 'Ran for', duration((ended ?? story.to) - fetched)]);
  pairs.push(['How', howItEnded(attempt)]);
  if (text !== undefined) pairs.push(['Why', show(text)]);
  if (interrupted !== undefined) pairs.push(['Before', `${interrupted.how} at ${moment(interrupted.at)}${interrupted.why ? `: ${show(interrupted.why)}` : ''}; its result was welcome all the same`]);
  for (const at of dropped) pairs.push(['Late', `its result came at ${moment(at)} and was dropped`]);
  if (outputLost !== undefined) pairs.push(['Output', `lost at ${moment(outputLost.at)}: ${outputLost.why}`]);
  return pairs;
}

function howItEnded(attempt) {
  const end = attempts.how[attempt];
  if (end === ACCEPTED) return 'its result was accepted';
  if (end !== SUPERSEDED) return ENDS[end];
  const winner = extra(attempt).winner;
  return winner === undefined ? 'another attempt delivered first' : `attempt ${attempts.number[winner]} on ${show(workerId(winner))} delivered first`;
}

function definition(title, pairs, hint) {
  return [element('strong', {}, title), element('dl', {}, pairs.flatMap(([name, text]) => [element('dt', {}, name), element('dd', {}, element('bdi', {}, text))])), hint ? element('div', { className: 'soft' }, hint) : null].filter(Boolean);
}

const attemptTitle = attempt => `${isReduce(attempt) ? 'Reduce' : 'Map'} ${show(tasks.id[attempts.task[attempt]])}, attempt ${attempts.number[attempt]}${isBackup(attempt) ? ' (backup)' : ''}`;

function describeWorker(index, time) {
  const worker = story.workers[index];
  const before = lastBefore(worker.heard, time);
  const pairs = [['Known since', moment(worker.joined)]];
  if (time !== undefined) pairs.push(['Last heard', before >= 0 ? `${moment(worker.heard[before])}, ${duration(Math.round(time - worker.heard[before]))} before` : 'never before this time']);
  for (const failure of worker.failures.slice(0, 6)) {
    pairs.push([clock(failure.at), why(failure) + (failure.back === null ? '' : `; back at ${clock(failure.back)}`)]);
  }
  pairs.push(['Attempts', grouped(workerAttempts[index].length)]);
  return definition(`Worker ${show(worker.id)}`, pairs);
}

function describeFailure(index, failure) {
  const pairs = [['What', why(failure)], ['When', moment(failure.at)]];
  if (failure.kind === 'check') pairs.push(['Last heard', moment(failure.silentFrom)]);
  const names = list_ => list_.slice(0, 5).map(attempt => show(tasks.id[attempts.task[attempt]])).join(', ') + (list_.length > 5 ? ` and ${list_.length - 5} more` : '');
  if (failure.attempts.length) pairs.push(['Attempts lost', names(failure.attempts)]);
  if (failure.outputs.length) pairs.push(['Outputs lost', names(failure.outputs)]);
  pairs.push(['Cost', workTime(failure.cost)]);
  if (failure.back !== null) pairs.push(['Back', moment(failure.back)]);
  return definition(`Worker ${show(story.workers[index].id)}`, pairs);
}

/** Shows `nodes` beside a point of the window. */
function tip(nodes, x, y) {
  const box = $('tip');
  box.replaceChildren(...nodes);
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  box.style.left = `${Math.max(8, x + 14 + width > innerWidth - 8 ? x - width - 14 : x + 14)}px`;
  box.style.top = `${Math.max(8, y + 14 + height > innerHeight - 8 ? y - height - 14 : y + 14)}px`;
}
const hideTip = () => { $('tip').hidden = true; };

// --- Drawing when something changed, once a frame.
let scheduled = false;
function redraw() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    drawActivity();
    drawAxis();
    drawVisibleRows();
  });
}

function drawVisibleRows() {
  const scroller = $('rows');
  view.scroll = scroller.scrollTop;
  drawRows(view.scroll, Math.min(view.rowsHeight, scroller.clientHeight), state);
}

/** Lays everything out for the window as it is now. More rows than fit on a screen scroll by themselves. */
function resize() {
  layOut();
  const seen = Math.min(view.rowsHeight, Math.max(240, innerHeight - AXIS_HEIGHT - 40));
  $('rows').style.height = `${seen}px`;
  $('room').style.height = `${view.rowsHeight}px`;
  view.width = Math.max(280, $('rows').clientWidth);
  const narrow = view.width < 600;
  const context = $('axis').getContext('2d');
  context.font = FONT;
  const widest = rows.slice(0, 200).reduce((most, row) => Math.max(most, context.measureText('✕ ' + show(row.worker.id).slice(0, 40)).width), 70);
  view.left = Math.round(Math.min(widest + 18, narrow ? 92 : 170));
  view.right = narrow ? 8 : 16;
  redraw();
}

function setLaneHeight(height) {
  view.laneHeight = Math.min(40, Math.max(2, height));
  resize();
}

/** Rows as high as fit on a screen, between the smallest and the largest height that can be read. */
function fitRows() {
  const each = Math.max(260, innerHeight - 200) / Math.max(1, rows.length), lanes = laneCount / Math.max(1, rows.length);
  view.laneHeight = Math.min(22, Math.max(4, Math.floor((each - (each > 20 ? 9 : 2)) / lanes)));
}

// --- Zoom.
// A little room at the right, for the names of what happened last.
const full = { from: story.from, to: story.to + Math.max(1, 0.02 * (story.to - story.from)) };
const least = () => Math.max(1, (full.to - full.from) / 2 ** 40);

function show_(from, to) {
  const span = Math.min(Math.max(to - from, least()), full.to - full.from);
  from = Math.min(Math.max(from, full.from), full.to - span);
  [view.from, view.to] = [from, from + span];
  redraw();
}
const zoom = (factor, around = (view.from + view.to) / 2) => show_(around - (around - view.from) * factor, around + (view.to - around) * factor);
const move = share => show_(view.from + share * (view.to - view.from), view.to + share * (view.to - view.from));

/**
 * What is seen first: everything; or, where a clock that is far off would make everything else too small to be
 * seen, everything but that.
 */
function firstView() {
  const times = [];
  for (let attempt = 0; attempt < attemptCount; attempt++) times.push(attempts.start[attempt], endOf(attempt));
  for (const worker of story.workers) {
    times.push(worker.joined, worker.heard.at(-1) ?? worker.joined);
    for (const { at } of worker.failures) times.push(at);
  }
  for (const { at } of moments) times.push(at);
  times.sort((a, b) => a - b);
  let [low, high] = [0, times.length - 1];
  while (high - low >= 3 && times[high] > times[low]) {
    let widest = low;
    for (let index = low; index < high; index++) if (times[index + 1] - times[index] > times[widest + 1] - times[widest]) widest = index;
    const gap = times[widest + 1] - times[widest];
    if (gap < 0.97 * (times[high] - times[low])) break;
    if (widest - low >= high - widest - 1) high = widest; else low = widest + 1;
  }
  return high > low && times[high] > times[low] && (low > 0 || high < times.length - 1) ? [times[low], times[high] + 0.02 * (times[high] - times[low])] : [full.from, full.to];
}

function fit(range = [full.from, full.to]) {
  show_(range[0], range[1]);
}

// --- Pointing.
function pointAt(event) {
  const box = $('bars').getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top + view.scroll];
  const row = rowAt(y);
  let attempt = null, failure = null;
  if (row >= 0 && x >= view.left) {
    for (const candidate of workerAttempts[row]) {
      const [left, top, width, height] = barBox(candidate);
      const start = Math.min(left, view.x(attempts.start[candidate]));
      const reach = extra(candidate).dropped?.reduce((most, at) => Math.max(most, view.x(at) + 5), left + width) ?? left + width;
      if (x >= start - 2 && x <= reach + 2 && y >= top - 2 && y <= top + height + 2) attempt = candidate;
    }
    failure = rows[row].worker.failures.find(({ at }) => Math.abs(view.x(at) - x) < 7) ?? null;
  }
  return { row, attempt, failure, time: view.time(x), x };
}

function hover(event) {
  const { row, attempt, failure, time, x } = pointAt(event);
  $('bars').classList.toggle('over', attempt !== null);
  if (row !== state.row || attempt !== state.attempt) {
    Object.assign(state, { row, attempt });
    redraw();
  }
  moveCursor(x);
  if (failure) tip(describeFailure(row, failure), event.clientX, event.clientY);
  else if (attempt !== null) tip(definition(attemptTitle(attempt), describe(attempt), 'Click for all attempts of the task'), event.clientX, event.clientY);
  else if (row >= 0) tip([...describeWorker(row, x >= view.left ? time : undefined), x >= view.left ? element('div', { className: 'soft' }, `At ${moment(Math.round(time))}`) : null].filter(Boolean), event.clientX, event.clientY);
  else hideTip();
}

function moveCursor(x) {
  const cursor = $('cursor'), activityBox = $('activity'), show = x >= view.left && x <= view.width - view.right;
  cursor.style.display = show ? 'block' : 'none';
  if (!show) return;
  cursor.style.left = `${x}px`;
  cursor.style.top = `${activityBox.offsetTop}px`;
  cursor.style.height = `${$('rows').offsetTop + $('rows').clientHeight - activityBox.offsetTop}px`;
}

function leave() {
  $('cursor').style.display = 'none';
  hideTip();
  if (document.activeElement !== $('bars')) {
    Object.assign(state, { row: -1, attempt: null });
    redraw();
  }
}

/** Dragging marks a stretch of time, and letting go zooms in on it. */
function watchDrags(canvas) {
  let start = null;
  canvas.addEventListener('pointerdown', event => {
    const x = event.clientX - canvas.getBoundingClientRect().left;
    if (event.button === 0 && event.pointerType !== 'touch' && x >= view.left) start = x;
  });
  canvas.addEventListener('pointermove', event => {
    if (start === null) return;
    const x = Math.min(Math.max(event.clientX - canvas.getBoundingClientRect().left, view.left), view.width - view.right);
    if (Math.abs(x - start) < 5) return;
    canvas.setPointerCapture(event.pointerId);
    const box = $('selection'), top = $('activity').offsetTop;
    box.style.display = 'block';
    box.style.left = `${Math.min(x, start)}px`;
    box.style.width = `${Math.abs(x - start)}px`;
    box.style.top = `${top}px`;
    box.style.height = `${$('rows').offsetTop + $('rows').clientHeight - top}px`;
  });
  canvas.addEventListener('pointerup', event => {
    if (start === null) return;
    const x = Math.min(Math.max(event.clientX - canvas.getBoundingClientRect().left, view.left), view.width - view.right);
    const [from, to] = [view.time(Math.min(x, start)), view.time(Math.max(x, start))], isDrag = Math.abs(x - start) >= 5;
    start = null;
    $('selection').style.display = 'none';
    if (isDrag) show_(from, to);
    else if (canvas.id === 'bars') {
      const { attempt } = pointAt(event);
      select(attempt === null ? null : attempts.task[attempt], attempt);
    }
  });
  canvas.addEventListener('pointercancel', () => { start = null; $('selection').style.display = 'none'; });
  canvas.addEventListener('dblclick', () => fit());
  canvas.addEventListener('wheel', event => {
    const x = event.clientX - canvas.getBoundingClientRect().left;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoom(Math.exp(Math.min(Math.max(event.deltaY, -100), 100) / 200), view.time(x));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      move((event.deltaX || event.deltaY) / view.room);
    }
  }, { passive: false });
}

// --- A task and its attempts.
function select(task, attempt = null) {
  state.task = task;
  const box = $('details');
  box.hidden = task === null;
  if (task !== null) {
    const list_ = taskAttempts[task];
    const lines = list_.map(each => element('tr', {},
      element('td', {}, link(`attempt ${attempts.number[each]}${isBackup(each) ? ', backup' : ''}`, () => focusAttempt(each))),
      element('td', {}, idElement(workerId(each))),
      element('td', { className: 'number' }, attempts.fetch[each] === null ? 'never fetched' : clock(attempts.fetch[each])),
      element('td', { className: 'number' }, attempts.end[each] === null ? '' : clock(attempts.end[each])),
      element('td', { className: 'number' }, attempts.fetch[each] === null ? '' : duration(endOf(each) - attempts.fetch[each])),
      element('td', {}, element('bdi', {}, describe(each).filter(([name]) => ['How', 'Why', 'Before', 'Late', 'Output'].includes(name)).map(([, text]) => text).join('; ')))));
    const close = element('button', { type: 'button', onclick: () => { select(null); $('bars').focus(); } }, 'Close');
    box.replaceChildren(
      element('div', { className: 'head' }, element('h2', {}, `${tasks.reduce[task] ? 'Reduce' : 'Map'} task `, idElement(tasks.id[task]), ' of job ', idElement(story.jobs[tasks.job[task]].id), `: ${tasks.state[task]}`), close),
      list_.length ? element('table', {}, element('thead', {}, element('tr', {}, [['Attempt'], ['Worker'], ['Started', 'number'], ['Ended', 'number'], ['Ran for', 'number'], ['What came of it']].map(([text, className]) => element('th', { scope: 'col', className: className ?? '' }, text)))), element('tbody', {}, lines)) : element('p', {}, 'It was never handed out.'));
    if (attempt === null && list_.length) bringIntoView(list_[0]);
  }
  redraw();
}

/** Scrolls, and moves in time, until an attempt is seen. */
function bringIntoView(attempt) {
  const row = rows[attempts.worker[attempt]];
  bringRowIntoView(row);
  const [from, to] = [attempts.start[attempt], endOf(attempt)];
  if (to < view.from || from > view.to) {
    const span = view.to - view.from;
    show_((from + to) / 2 - span / 2, (from + to) / 2 + span / 2);
  }
}

/** Scrolls the rows to a row, and the page to the rows. */
function bringRowIntoView(row) {
  const scroller = $('rows');
  if (row.top < scroller.scrollTop + 4) scroller.scrollTop = row.top - 40;
  else if (row.top + row.height > scroller.scrollTop + scroller.clientHeight - 4) scroller.scrollTop = row.top + row.height - scroller.clientHeight + 40;
  const top = scroller.getBoundingClientRect().top + row.top - scroller.scrollTop;
  const floor = innerHeight - ($('details').hidden ? 0 : Math.min($('details').offsetHeight, innerHeight / 2));
  if (top < AXIS_HEIGHT) scrollBy(0, top - AXIS_HEIGHT - 20);
  else if (top + row.height > floor - 4) scrollBy(0, top + row.height - floor + 20);
}

function focusAttempt(attempt) {
  Object.assign(state, { attempt, row: attempts.worker[attempt] });
  $('bars').focus({ preventScroll: true });
  bringIntoView(attempt);
  drawVisibleRows();
  redraw();
  const box = $('bars').getBoundingClientRect(), [x, y, width, height] = barBox(attempt);
  tip(definition(attemptTitle(attempt), describe(attempt), 'Enter for all attempts of the task'),
    box.left + Math.min(Math.max(x + width / 2, view.left), view.width - view.right), box.top - view.scroll + y + height);
}

function showFailure(worker, failure) {
  Object.assign(state, { row: worker, attempt: null });
  if (failure.at < view.from || failure.at > view.to) fit();
  $('bars').focus({ preventScroll: true });
  bringRowIntoView(rows[worker]);
  drawVisibleRows();
  redraw();
  const box = $('bars').getBoundingClientRect(), row = rows[worker];
  tip(describeFailure(worker, failure), box.left + view.x(failure.at), box.top - view.scroll + row.top + row.height);
}

// --- Keys.
/** The attempt of a row that is nearest in time to `time`. */
function nearest(row, time) {
  let best = null, distance = Infinity;
  for (const attempt of workerAttempts[row]) {
    const away = Math.max(0, attempts.start[attempt] - time, time - endOf(attempt));
    if (away < distance) [best, distance] = [attempt, away];
  }
  return best;
}

function stepAlong(step) {
  if (state.attempt === null) return stepAcross(step > 0 ? 1 : -1);
  const list_ = workerAttempts[state.row], next = list_[list_.indexOf(state.attempt) + step];
  if (next !== undefined) focusAttempt(next);
}

function stepAcross(step) {
  const time = state.attempt === null ? (view.from + view.to) / 2 : (attempts.start[state.attempt] + endOf(state.attempt)) / 2;
  let row = state.row < 0 && step < 0 ? rows.length : state.row;
  for (row += step; row >= 0 && row < rows.length; row += step) {
    const attempt = nearest(row, time);
    if (attempt !== null) return focusAttempt(attempt);
  }
}

const KEYS = {
  ArrowLeft: () => stepAlong(-1), ArrowRight: () => stepAlong(1), ArrowUp: () => stepAcross(-1), ArrowDown: () => stepAcross(1),
  Enter: () => state.attempt !== null && select(attempts.task[state.attempt], state.attempt), ' ': () => KEYS.Enter(),
  Escape: () => { hideTip(); Object.assign(state, { attempt: null, row: -1 }); select(null); },
  '+': () => zoom(0.5, focusTime()), '=': () => zoom(0.5, focusTime()), '-': () => zoom(2, focusTime()), '−': () => zoom(2, focusTime()), 0: () => fit(),
  PageUp: () => move(-0.8), PageDown: () => move(0.8), '[': () => setLaneHeight(view.laneHeight - 2), ']': () => setLaneHeight(view.laneHeight + 2),
};
const focusTime = () => state.attempt === null ? (view.from + view.to) / 2 : (attempts.start[state.attempt] + endOf(state.attempt)) / 2;

// --- Finding a task or a worker by a part of its id.
let matches = [], turn = -1;
function find(text) {
  const workers = [], found = [];
  const take = (ids, into) => ids.forEach((id, index) => { if (id === text) into.unshift(index); else if (id.includes(text)) into.push(index); });
  take(tasks.id, found);
  take(story.workers.map(worker => worker.id), workers);
  return [...found.map(task => ({ task })), ...workers.map(worker => ({ worker }))];
}

function findNext(event) {
  if (event.key !== 'Enter') return;
  const text = $('find').value;
  if (text === '') return;
  if (findNext.last !== text) [matches, turn, findNext.last] = [find(text), -1, text];
  if (!matches.length) return void ($('found').textContent = 'not found');
  turn = (turn + 1) % matches.length;
  $('found').textContent = `${grouped(turn + 1)} of ${grouped(matches.length)}`;
  const { task, worker } = matches[turn];
  if (task !== undefined) return select(task);
  Object.assign(state, { row: worker, attempt: null });
  bringRowIntoView(rows[worker]);
  redraw();
}

function start() {
  readColors();
  writeLead();
  writeNumbers();
  writeTables();
  writeLegend();
  writeDefinitions();
  fitRows();
  fit(firstView());
  resize();
  for (const id of ['bars', 'activity', 'axis']) watchDrags($(id));
  $('bars').addEventListener('pointermove', hover);
  for (const id of ['bars', 'activity', 'axis']) $(id).addEventListener('pointerleave', leave);
  $('activity').addEventListener('pointermove', event => {
    const x = event.clientX - $('activity').getBoundingClientRect().left, time = Math.round(view.time(x));
    moveCursor(x);
    if (x < view.left || time > view.to) return hideTip();
    const [maps, reduces, waitingMaps, waitingReduces] = activity.counts[Math.max(0, lastBefore(activity.times, time))];
    tip(definition(`At ${moment(time)}`, [['Running', `${plural(maps, 'map')}, ${plural(reduces, 'reduce')}`], ['Waiting', `${plural(waitingMaps, 'map')}, ${plural(waitingReduces, 'reduce')}`]]), event.clientX, event.clientY);
  });
  $('axis').addEventListener('pointermove', event => {
    const x = event.clientX - $('axis').getBoundingClientRect().left;
    moveCursor(x);
    const near = moments.filter(({ at }) => Math.abs(view.x(at) - x) < 6);
    tip(near.length ? near.slice(0, 8).flatMap(({ at, detail }) => [element('div', {}, `${detail}, at ${moment(at)}`)]) : [element('strong', {}, moment(Math.round(view.time(x))))], event.clientX, event.clientY);
  });
  $('bars').addEventListener('keydown', event => {
    const action = event.ctrlKey || event.metaKey || event.altKey ? undefined : KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  $('bars').addEventListener('blur', hideTip);
  document.addEventListener('keydown', event => { if (event.key === 'Escape' && state.task !== null) KEYS.Escape(); });
  $('find').addEventListener('keydown', findNext);
  $('zoom-in').onclick = () => zoom(0.5);
  $('zoom-out').onclick = () => zoom(2);
  $('fit').onclick = () => fit();
  $('thinner').onclick = () => setLaneHeight(view.laneHeight - 2);
  $('taller').onclick = () => setLaneHeight(view.laneHeight + 2);
  $('rows').addEventListener('scroll', redraw, { passive: true });
  addEventListener('resize', resize);
  dark.addEventListener('change', () => { readColors(); writeLegend(); redraw(); });
}
start();
