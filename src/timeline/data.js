// The story that the page carries, and the words for it. All times are ms since `story.origin`.
const story = JSON.parse(document.getElementById('story').textContent);
const attempts = story.attempts;
const attemptCount = attempts.task.length;
const tasks = story.tasks;

// How an attempt ended, by the codes of `end_code` in page.rs.
const ENDS = ['running', 'accepted', 'superseded', 'failed', 'inputs missing', 'timed out', 'lost', 'withdrawn'];
const [RUNNING, ACCEPTED, SUPERSEDED, FAILED, INPUTS_MISSING, TIMED_OUT, LOST, WITHDRAWN] = ENDS.keys();
const isBad = end => end >= FAILED && end <= LOST;

const $ = id => document.getElementById(id);

/** An element with properties and children; strings become text, never markup. */
function element(name, properties, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (key in node) node[key] = value; else node.setAttribute(key, value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined && child !== ''));
  return node;
}

/** An id as people can read it: what would be invisible, or turn the text around, is spelled out. */
function show(id) {
  if (id === '') return '(empty)';
  return id.replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    character => '\\u' + character.charCodeAt(0).toString(16).padStart(4, '0'));
}
const idElement = id => element('bdi', { className: 'id', title: show(id) }, show(id));

const grouped = number => String(number).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
const plural = (count, one, many = one + 's') => `${grouped(count)} ${count === 1 ? one : many}`;

const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

const NBSP = '\u00a0';

/** A duration, exact to the ms up to a minute, and to a tenth of a second up to an hour. */
function duration(ms) {
  const sign = ms < 0 ? '−' : '';
  ms = Math.abs(ms);
  if (ms < SECOND) return `${sign}${ms}${NBSP}ms`;
  if (ms < MINUTE) return `${sign}${trimmed(ms / SECOND, 3)}${NBSP}s`;
  if (ms < HOUR) return `${sign}${Math.floor(ms / MINUTE)}${NBSP}min ${trimmed(Math.floor(ms % MINUTE / 100) / 10, 1)}${NBSP}s`;
  if (ms < 2 * DAY) return `${sign}${grouped(Math.floor(ms / HOUR))}${NBSP}h ${Math.floor(ms % HOUR / MINUTE)}${NBSP}min`;
  if (ms < 1000 * DAY) return `${sign}${grouped(Math.floor(ms / DAY))}${NBSP}d ${Math.floor(ms % DAY / HOUR)}${NBSP}h`;
  return `${sign}${grouped(Math.round(ms / DAY / 365.25))}${NBSP}years`;
}
const trimmed = (number, digits) => number.toFixed(digits).replace(/\.?0+$/, '');

/** Time that many workers spent: hours of it are normal. */
const workTime = ms => ms < HOUR ? duration(ms) : `${grouped(trimmed(Math.floor(ms / HOUR * 10) / 10, 1))}${NBSP}h`;

/** A moment on the page's clock, as exact as `step` needs it (1 ms if left out). */
function clock(ms, step = 1) {
  const sign = ms < 0 ? '−' : '';
  ms = Math.abs(ms);
  const digits = step >= SECOND ? 0 : Math.min(3, Math.ceil(-Math.log10(step / SECOND) - 1e-9));
  if (step >= 1000 * DAY || ms >= 1e5 * DAY) return `${sign}${grouped(Math.round(ms / DAY))} d`;
  const pad = (number, width = 2) => String(number).padStart(width, '0');
  const seconds = Math.floor(ms / SECOND + 1e-9);
  const fraction = digits ? '.' + pad(Math.floor((ms - seconds * SECOND) / 10 ** (3 - digits) + 1e-9), digits) : '';
  if (ms < MINUTE) return `${sign}${seconds}${step === 1 ? trimmedFraction(fraction) : fraction} s`;
  const days = ms >= DAY ? `${grouped(Math.floor(ms / DAY))} d ` : '';
  const [h, m, s] = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60];
  return `${sign}${days}${ms >= HOUR ? `${h}:${pad(m)}` : m}:${pad(s)}${step === 1 ? trimmedFraction(fraction) : fraction}`;
}
const trimmedFraction = text => text.replace(/\.?0+$/, '');

/** What the messages themselves say: milliseconds, and as a date where that is likely to be one. */
function absolute(ms) {
  const time = BigInt(story.origin) + BigInt(Math.round(ms));
  const date = new Date(Number(time));
  const isDate = time > 300_000_000_000n && time < 32_503_680_000_000n;
  return isDate ? `${date.toISOString().replace('T', ' ').replace('Z', '')} UTC` : `${grouped(time)} ms`;
}
const moment = ms => `${clock(ms)} (${absolute(ms)})`;

// What each worker did, in the order of starts, and in which attempts each task was tried.
const workerAttempts = story.workers.map(() => []);
const taskAttempts = tasks.id.map(() => []);
for (let attempt = 0; attempt < attemptCount; attempt++) {
  workerAttempts[attempts.worker[attempt]].push(attempt);
  taskAttempts[attempts.task[attempt]].push(attempt);
}
for (const list of workerAttempts) list.sort((a, b) => attempts.start[a] - attempts.start[b] || a - b);

/** When a bar ends: where the attempt did, or where the story does. */
const endOf = attempt => Math.max(attempts.end[attempt] ?? story.to, attempts.start[attempt]);
const isReduce = attempt => tasks.reduce[attempts.task[attempt]] === 1;
const isBackup = attempt => attempts.backup[attempt] === 1;
const extra = attempt => story.extras[attempt] ?? {};

// Heard times came as differences.
for (const worker of story.workers) {
  let at = 0;
  worker.heard = worker.heard.map(step => at += step);
}
