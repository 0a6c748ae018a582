// Drawing: one look for every way to end, the axis, what ran and waited, and the rows.
const dark = matchMedia('(prefers-color-scheme: dark)');
let color = {}, patterns = {};

function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['paper', 'panel', 'ink', 'soft', 'line', 'stripe', 'map', 'map-pale', 'reduce', 'reduce-pale', 'on-map', 'on-reduce', 'bad', 'bad-pale', 'good', 'focus']) {
    color[name] = style.getPropertyValue(`--${name}`).trim();
  }
  patterns = {};
}

const FONT = '12px system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif';
const SMALL = FONT.replace('12px', '11px');

/** A canvas of `width` × `height` CSS pixels, sharp on this screen. Returns what to draw with. */
function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h || !canvas.style.width) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext('2d');
  context.setTransform(w / width, 0, 0, h / height, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  context.textBaseline = 'middle';
  return context;
}

/** A tile of lines or dots, to fill with. */
function pattern(context, shape, ink) {
  const key = shape + ink;
  if (!patterns[key]) {
    const ratio = window.devicePixelRatio || 1, size = shape === 'bars' ? 5 : 6;
    const tile = document.createElement('canvas');
    tile.width = tile.height = Math.round(size * ratio);
    const draw = tile.getContext('2d');
    draw.scale(tile.width / size, tile.width / size);
    draw.strokeStyle = draw.fillStyle = ink;
    draw.lineWidth = 1.3;
    draw.beginPath();
    const slash = () => { draw.moveTo(-1, size + 1); draw.lineTo(size + 1, -1); draw.moveTo(-1, 1); draw.lineTo(1, -1); draw.moveTo(size - 1, size + 1); draw.lineTo(size + 1, size - 1); };
    const backslash = () => { draw.moveTo(-1, -1); draw.lineTo(size + 1, size + 1); draw.moveTo(size - 1, -1); draw.lineTo(size + 1, 1); draw.moveTo(-1, size - 1); draw.lineTo(1, size + 1); };
    if (shape === 'slash' || shape === 'cross') slash();
    if (shape === 'backslash' || shape === 'cross') backslash();
    if (shape === 'bars') { draw.moveTo(size / 2, 0); draw.lineTo(size / 2, size); }
    if (shape === 'dots') draw.arc(size / 2, size / 2, 1.3, 0, 7);
    if (shape === 'dots') draw.fill(); else draw.stroke();
    const made = context.createPattern(tile, 'repeat');
    made.setTransform(new DOMMatrix().scale(size / tile.width));
    patterns[key] = made;
  }
  return patterns[key];
}

// The look of each end: the fill, a pattern over it, and the outline. [fill, pattern, outline, dashes]
const LOOKS = [];
LOOKS[RUNNING] = hue => [`${hue}-pale`, null, hue, null];
LOOKS[ACCEPTED] = hue => [hue, null, hue, null];
LOOKS[SUPERSEDED] = hue => ['paper', null, hue, null];
LOOKS[FAILED] = () => ['bad-pale', 'cross', 'bad', null];
LOOKS[INPUTS_MISSING] = () => ['bad-pale', 'dots', 'bad', null];
LOOKS[TIMED_OUT] = () => ['bad-pale', 'bars', 'bad', null];
LOOKS[LOST] = () => ['bad-pale', 'slash', 'bad', [4, 3]];
LOOKS[WITHDRAWN] = () => ['panel', null, 'soft', [2, 2]];

/** A bar. `look` is `{reduce, end, outputLost, backup}`. */
function drawBar(context, x, y, width, height, look) {
  const hue = look.reduce ? 'reduce' : 'map';
  const [fill, over, outline, dashes] = LOOKS[look.end](hue);
  const isFine = width >= 5 && height >= 6;
  // Too small for an outline: the one color that says most.
  context.fillStyle = color[isFine ? fill : look.end === SUPERSEDED || look.end === RUNNING ? `${hue}-pale` : look.outputLost ? 'bad' : outline];
  context.fillRect(x, y, width, height);
  if (isFine) {
    const ink = look.outputLost ? color['paper'] : over && color[outline];
    if (ink) {
      context.fillStyle = pattern(context, look.outputLost ? 'backslash' : over, ink);
      context.fillRect(x, y, width, height);
    }
    // Whose task it was shows in a bad end, too: a band of its hue at the bottom.
    if (isBad(look.end)) {
      context.fillStyle = color[hue];
      context.fillRect(x, y + height - 3, width, 3);
    }
    context.strokeStyle = color[outline];
    context.lineWidth = 1.5;
    context.setLineDash(dashes ?? []);
    context.beginPath();
    if (look.end === RUNNING) {
      // Open at its right: nobody knows how it ends.
      context.moveTo(x + width, y + 0.75);
      context.lineTo(x + 0.75, y + 0.75);
      context.lineTo(x + 0.75, y + height - 0.75);
      context.lineTo(x + width, y + height - 0.75);
    } else {
      context.rect(x + 0.75, y + 0.75, width - 1.5, height - 1.5);
    }
    context.stroke();
    context.setLineDash([]);
  }
  if (look.backup && height >= 3) {
    // A flag at the upper left.
    const size = Math.min(8, height * 0.7, Math.max(width, 3));
    context.fillStyle = color['ink'];
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + size, y);
    context.lineTo(x, y + size);
    context.fill();
  }
}

/** Text cut to fit, with an ellipsis. Returns the width that was used. */
function drawText(context, text, x, y, room) {
  if (context.measureText(text).width > room) {
    let [low, high] = [0, Math.min(text.length, 200)];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (context.measureText(text.slice(0, middle) + '…').width <= room) low = middle; else high = middle - 1;
    }
    if (low === 0) return 0;
    text = text.slice(0, low) + '…';
  }
  context.fillText(text, x, y);
  return context.measureText(text).width;
}

/** Distances between ticks that people count in. */
function tickStep(span, room) {
  const wanted = span / Math.max(1, Math.floor(room / 80));
  const steps = [];
  for (let power = 1; power < SECOND; power *= 10) steps.push(power, 2 * power, 5 * power);
  for (const unit of [SECOND, MINUTE]) for (const count of [1, 2, 5, 10, 15, 30]) steps.push(count * unit);
  for (const count of [1, 2, 3, 6, 12]) steps.push(count * HOUR);
  for (let power = DAY; power < 1e18; power *= 10) steps.push(power, 2 * power, 5 * power);
  return steps.find(step => step >= wanted) ?? 1e18;
}

/** The view: which times are seen, and where they are drawn. */
const view = {
  from: story.from, to: story.to + 1, left: 120, right: 16, width: 800, laneHeight: 20,
  get room() { return this.width - this.left - this.right; },
  x(time) { return this.left + (time - this.from) / (this.to - this.from) * this.room; },
  time(x) { return this.from + (x - this.left) / this.room * (this.to - this.from); },
};

// What the whole cluster lived through: drawn as lines through everything.
const moments = [];
const oneJob = story.jobs.length === 1;
for (const job of story.jobs) {
  const name = oneJob ? '' : ` ${show(job.id)}`;
  const add = (at, text, detail, kind) => moments.push({ at, text: text + name, detail, kind, job });
  add(job.submitted, 'submitted', `Job ${show(job.id)} is submitted`, 'soft');
  job.barrier.forEach(([opens, closes], turn) => {
    add(opens, turn ? 'barrier opens again' : 'maps done', `All maps of job ${show(job.id)} are done: the barrier opens, reduces may run`, 'ink');
    if (closes !== null) add(closes, 'barrier closes', `A map output of job ${show(job.id)} was lost: reduces wait until it is there again`, 'bad');
  });
  if (job.ended !== null) {
    const bad = job.state === 'failed';
    add(job.ended, job.state, `Job ${show(job.id)} ${job.state === 'removed' ? 'is removed' : job.state}`, bad ? 'bad' : 'good');
  }
}
for (const at of story.recoveries) {
  moments.push({ at, text: 'master restarted', detail: 'The master started again and recovered from its journal; this is the last time heard before', kind: 'bad', job: null });
}
moments.sort((a, b) => a.at - b.at);

const AXIS_HEIGHT = 42;

function drawAxis() {
  const context = prepare($('axis'), view.width, AXIS_HEIGHT);
  context.fillStyle = color['paper'];
  context.fillRect(0, 0, view.width, AXIS_HEIGHT);
  const step = tickStep(view.to - view.from, view.room);
  context.fillStyle = color['soft'];
  context.strokeStyle = color['line'];
  context.textAlign = 'center';
  context.font = SMALL;
  context.beginPath();
  let free = 0;
  for (let tick = Math.ceil(view.from / step) * step; tick <= view.to; tick += step) {
    const x = view.x(tick), text = clock(tick, Math.min(step, SECOND)), half = context.measureText(text).width / 2;
    context.moveTo(x, AXIS_HEIGHT - 6);
    context.lineTo(x, AXIS_HEIGHT);
    if (x - half < free || x + half > view.width) continue;
    context.fillText(text, x, AXIS_HEIGHT - 13);
    free = x + half + 6;
  }
  context.moveTo(view.left, AXIS_HEIGHT - 0.5);
  context.lineTo(view.width - view.right, AXIS_HEIGHT - 0.5);
  context.stroke();
  // The moments, as long as their names have room.
  context.textAlign = 'left';
  let end = view.left - 4;
  for (const { at, text, kind } of moments) {
    const x = view.x(at);
    if (x < view.left - 1 || x > view.width - view.right + 1) continue;
    const width = context.measureText(text).width;
    // Beside its line: to the right, or to the left where there is no room.
    const start = x + 4 + width > view.width ? x - 4 - width : x + 4;
    context.fillStyle = color[kind];
    context.fillRect(Math.round(x) - 0.5, 0, 1, 17);
    context.fillRect(Math.round(x) - 0.5, AXIS_HEIGHT - 6, 1, 6);
    if (start <= end) continue;
    context.fillText(text, start, 9);
    end = start + width + 8;
  }
}

function drawMoments(context, height) {
  for (const { at, kind } of moments) {
    const x = view.x(at);
    if (x < view.left - 1 || x > view.width - view.right + 1) continue;
    context.fillStyle = color[kind];
    context.globalAlpha = kind === 'soft' ? 0.35 : 0.75;
    context.fillRect(Math.round(x) - 0.5, 0, 1, height);
  }
  context.globalAlpha = 1;
}

// What ran and what waited, maps and reduces: the counts from each time on.
const activity = (() => {
  const changes = [];
  for (let attempt = 0; attempt < attemptCount; attempt++) {
    const series = isReduce(attempt) ? 1 : 0;
    changes.push([attempts.start[attempt], series, 1]);
    if (attempts.end[attempt] !== null) changes.push([endOf(attempt), series, -1]);
  }
  story.waits.tasks.forEach((count, index) => {
    const series = 2 + story.waits.reduce[index], from = story.waits.from[index], to = story.waits.to[index];
    changes.push([from, series, count]);
    if (to !== null) changes.push([Math.max(from, to), series, -count]);
  });
  changes.sort((a, b) => a[0] - b[0]);
  const times = [story.from], counts = [[0, 0, 0, 0]];
  let now = [0, 0, 0, 0];
  for (const [at, series, step] of changes) {
    if (at !== times.at(-1)) {
      times.push(at);
      counts.push(now = now.slice());
    } else {
      now = counts[counts.length - 1];
    }
    now[series] += step;
  }
  const most = pick => counts.reduce((max, count) => Math.max(max, pick(count)), 0);
  return { times, counts, running: most(c => c[0] + c[1]), waiting: most(c => c[2] + c[3]) };
})();

/** The index of the last of sorted `times` that is not after `time`, or -1. */
function lastBefore(times, time) {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle + 1; else high = middle;
  }
  return low - 1;
}

const PANEL_HEIGHT = 54, PANEL_GAP = 10;

function drawActivity() {
  const height = 2 * PANEL_HEIGHT + PANEL_GAP + 4;
  const context = prepare($('activity'), view.width, height);
  const panels = [
    { top: 2, most: activity.running, name: 'running', first: 0 },
    { top: 2 + PANEL_HEIGHT + PANEL_GAP, most: activity.waiting, name: 'waiting', first: 2 },
  ];
  for (const { top, most, name, first } of panels) {
    const base = top + PANEL_HEIGHT;
    context.fillStyle = color['stripe'];
    context.fillRect(view.left, top, view.room, PANEL_HEIGHT);
    const y = count => base - (most ? count / most * (PANEL_HEIGHT - 3) : 0);
    // For each pixel the most that there was in it: short peaks do not get lost.
    const columns = Math.max(1, Math.round(view.room)), maps = new Float64Array(columns), both = new Float64Array(columns);
    let index = Math.max(0, lastBefore(activity.times, view.from));
    for (let column = 0; column < columns; column++) {
      const until = view.time(view.left + (column + 1) / columns * view.room);
      for (;;) {
        const count = activity.counts[index];
        maps[column] = Math.max(maps[column], count[first]);
        both[column] = Math.max(both[column], count[first] + count[first + 1]);
        if (index + 1 >= activity.times.length || activity.times[index + 1] >= until) break;
        index++;
      }
    }
    const area = (values, floor, fill, edge) => {
      context.fillStyle = fill;
      context.beginPath();
      for (let column = 0; column < columns; column++) {
        const x = view.left + column * view.room / columns, w = view.room / columns;
        const [from, to] = [y(floor ? floor[column] : 0), y(values[column])];
        if (from > to) context.rect(x, to, w + 0.3, from - to);
      }
      context.fill();
    };
    const [map, reduce] = name === 'running' ? ['map', 'reduce'] : ['map-pale', 'reduce-pale'];
    area(maps, null, color[map]);
    area(both, maps, color[reduce]);
    if (name === 'waiting') {
      // Pale areas get an edge.
      for (const [values, edge] of [[maps, 'map'], [both, 'reduce']]) {
        context.strokeStyle = color[edge];
        context.lineWidth = 1;
        context.beginPath();
        values.forEach((value, column) => {
          const x = view.left + column * view.room / columns, level = y(value) + 0.5;
          if (column === 0) context.moveTo(x, level); else context.lineTo(x, level);
          context.lineTo(x + view.room / columns, level);
        });
        if (values.some((value, column) => value > (edge === 'reduce' ? maps[column] : 0))) context.stroke();
      }
    }
    context.fillStyle = color['ink'];
    context.textAlign = 'right';
    context.fillText(name, view.left - 8, top + PANEL_HEIGHT / 2 - 8);
    context.fillStyle = color['soft'];
    context.font = SMALL;
    context.fillText(`at most ${grouped(most)}`, view.left - 8, top + PANEL_HEIGHT / 2 + 8);
    context.font = FONT;
  }
  drawMoments(context, height);
}

/** Whether a check ever failed a worker; one that restarted or was removed has not failed. */
const hasFailed = worker => worker.failures.some(failure => failure.kind === 'check');

// Rows: a worker each, as many lanes high as it ran attempts at once.
const rows = story.workers.map((worker, index) => {
  const lanes = workerAttempts[index].reduce((most, attempt) => Math.max(most, attempts.lane[attempt] + 1), 1);
  return { worker, lanes, top: 0, height: 0 };
});
const laneCount = rows.reduce((sum, row) => sum + row.lanes, 0);

function layOut() {
  const gap = view.laneHeight >= 12 ? 9 : view.laneHeight >= 6 ? 2 : view.laneHeight >= 3 ? 1 : 0;
  let top = 4;
  for (const row of rows) {
    row.top = top;
    row.height = row.lanes * view.laneHeight + gap;
    row.gap = gap;
    top += row.height;
  }
  view.rowsHeight = top + 6;
}

/** The row at a height, or -1. */
function rowAt(y) {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].top <= y) low = middle + 1; else high = middle;
  }
  const row = rows[low - 1];
  return row && y < row.top + row.height ? low - 1 : -1;
}

/** Where an attempt is drawn: `[x, y, width, height]`, in the rows' own coordinates. */
function barBox(attempt) {
  const row = rows[attempts.worker[attempt]];
  const x0 = view.x(attempts.fetch[attempt] ?? endOf(attempt)), x1 = view.x(endOf(attempt));
  const height = Math.max(1, view.laneHeight - (view.laneHeight >= 6 ? 1 : 0));
  // A pixel less, so that two bars in a row do not look like one.
  const width = x1 - x0 - (x1 - x0 >= 3 ? 1 : 0);
  return [x0, row.top + Math.min(2, row.gap / 2) + attempts.lane[attempt] * view.laneHeight, Math.max(width, 1.5), height];
}

const looks = [];
function lookOf(attempt) {
  return looks[attempt] ??= {
    reduce: isReduce(attempt), end: attempts.how[attempt], backup: isBackup(attempt), outputLost: extra(attempt).outputLost !== undefined,
  };
}

function drawRows(scroll, height, state) {
  const context = prepare($('bars'), view.width, height);
  const [left, right] = [view.left, view.width - view.right];
  const first = Math.max(0, rowAt(Math.max(4, scroll))), isThin = view.laneHeight < 9;
  context.save();
  context.translate(0, -scroll);
  let labelled = -Infinity;
  for (let index = first; index < rows.length && rows[index].top < scroll + height; index++) {
    const row = rows[index];
    if (index % 2 === 0 && !isThin) {
      context.fillStyle = color['stripe'];
      context.fillRect(0, row.top, view.width, row.height);
    }
    if (state.row === index) {
      context.fillStyle = color['line'];
      context.globalAlpha = 0.6;
      context.fillRect(0, row.top, view.width, row.height);
      context.globalAlpha = 1;
    }
    context.save();
    context.beginPath();
    context.rect(left, row.top, right - left, row.height);
    context.clip();
    drawLife(context, row);
    let drawnTo = -Infinity, drawnEnd = -1;
    for (const attempt of workerAttempts[index]) {
      const [x, y, width, barHeight] = barBox(attempt);
      const start = view.x(attempts.start[attempt]);
      if (x + width < left || Math.min(start, x) > right) continue;
      // Bars that share a pixel are merged: the worst of them is seen.
      if (width < 2 && rows[index].lanes === 1 && x + width < drawnTo + 1 && (attempts.how[attempt] === drawnEnd || !isBad(attempts.how[attempt])) && attempt !== state.attempt) continue;
      drawnTo = x + width;
      drawnEnd = attempts.how[attempt];
      context.globalAlpha = state.task !== null && attempts.task[attempt] !== state.task ? 0.22 : 1;
      if (x - start > 1) {
        // Assigned, and not fetched yet.
        context.fillStyle = color['soft'];
        context.fillRect(start, y + barHeight / 2 - 0.75, x - start, 1.5);
        context.fillRect(start, y + barHeight * 0.25, 1.5, barHeight * 0.5);
      }
      if (attempts.fetch[attempt] !== null) {
        drawBar(context, x, y, width, barHeight, lookOf(attempt));
        drawName(context, attempt, x, y, width, barHeight);
      }
      drawAfter(context, attempt, y, barHeight);
      context.globalAlpha = 1;
    }
    drawFailures(context, row);
    context.restore();
    // Names, as many as have room; the one that is pointed at always.
    const middle = row.top + (row.height - (isThin ? 0 : row.gap / 2)) / 2;
    if (middle - labelled >= 13 || !isThin) {
      context.fillStyle = color[hasFailed(row.worker) ? 'bad' : 'ink'];
      context.textAlign = 'right';
      context.font = isThin ? SMALL : FONT;
      drawText(context, (hasFailed(row.worker) ? '✕ ' : '') + show(row.worker.id), left - 8, middle, left - 14);
      labelled = middle;
    }
  }
  context.restore();
  context.save();
  context.translate(0, -scroll);
  if (isThin && state.row >= 0) {
    const row = rows[state.row], middle = row.top + row.height / 2;
    context.fillStyle = color['paper'];
    context.fillRect(0, middle - 8, left - 2, 16);
    context.fillStyle = color[hasFailed(row.worker) ? 'bad' : 'ink'];
    context.font = `bold ${FONT}`;
    context.textAlign = 'right';
    drawText(context, (hasFailed(row.worker) ? '✕ ' : '') + show(row.worker.id), left - 8, middle, left - 14);
    context.font = FONT;
  }
  if (state.task !== null) drawThread(context, state.task);
  if (state.attempt !== null) {
    const [x, y, width, barHeight] = barBox(state.attempt);
    context.strokeStyle = color['focus'];
    context.lineWidth = 2;
    context.strokeRect(x - 2, y - 2, width + 4, barHeight + 4);
  }
  context.restore();
  drawMoments(context, height);
}

/** What a worker's row shows behind its bars: when it was there, and when nobody heard from it. */
function drawLife(context, { worker, top, height }) {
  // Below the bars, where there is room; else behind them.
  const hasRoom = view.laneHeight >= 12, middle = hasRoom ? top + height - 3 : top + height / 2;
  const left = view.left, right = view.width - view.right;
  const clip = x => Math.min(Math.max(x, left - 10), right + 10);
  const line = (from, to, dashes, ink) => {
    if (to < left || from > right || to <= from) return;
    context.strokeStyle = color[ink];
    context.lineWidth = height < 6 ? 0.75 : 1;
    context.setLineDash(dashes);
    context.beginPath();
    context.moveTo(clip(from), middle);
    context.lineTo(clip(to), middle);
    context.stroke();
    context.setLineDash([]);
  };
  const gone = worker.removed ?? story.to;
  for (const failure of worker.failures) {
    if (failure.kind !== 'check') continue;
    // Silent up to the check that failed it, and failed until it is heard from again.
    const [silent, failed, back] = [view.x(failure.silentFrom), view.x(failure.at), view.x(failure.back ?? gone)];
    context.globalAlpha = 0.5;
    context.fillStyle = color['bad-pale'];
    context.fillRect(clip(silent), top, clip(failed) - clip(silent), height);
    context.globalAlpha = 1;
    context.fillRect(clip(failed), top, clip(back) - clip(failed), height);
  }
  const heard = worker.heard, last = heard.length ? heard[heard.length - 1] : worker.joined;
  line(view.x(worker.joined), view.x(last), [], 'soft');
  line(view.x(last), view.x(gone), [2, 4], 'soft');
  if (hasRoom) {
    // A tick for each message, where there is room between them.
    context.fillStyle = color['soft'];
    let drawn = -Infinity;
    for (let index = Math.max(0, lastBefore(heard, view.from)); index < heard.length && heard[index] <= view.to; index++) {
      const x = view.x(heard[index]);
      if (x - drawn < 4) continue;
      context.fillRect(x - 0.5, middle - 2, 1, 4);
      drawn = x;
    }
  }
}

/** The task's name in a bar that has room for it. */
function drawName(context, attempt, x, y, width, height) {
  if (height < 12 || width < 30) return;
  const end = attempts.how[attempt], hue = isReduce(attempt) ? 'reduce' : 'map';
  context.textAlign = 'left';
  context.font = SMALL;
  const number = attempts.number[attempt] > 1 ? ` #${attempts.number[attempt]}` : '';
  const text = show(tasks.id[attempts.task[attempt]]) + number;
  const from = Math.max(x, view.left) + (isBackup(attempt) ? 10 : 5), room = Math.min(x + width, view.width - view.right) - from - 4;
  if (room < 20) return;
  const isPlain = end === ACCEPTED && extra(attempt).outputLost === undefined;
  if (!isPlain) {
    // On a pattern, text needs ground.
    const used = Math.min(context.measureText(text).width, room);
    context.fillStyle = color['paper'];
    context.fillRect(from - 2, y + 3, used + 4, height - 6 - (isBad(end) ? 1 : 0));
  }
  context.fillStyle = color[isPlain ? `on-${hue}` : isBad(end) ? 'bad' : 'ink'];
  drawText(context, text, from, y + height / 2 + 0.5, room);
  context.font = FONT;
}

/** What came of an attempt after its end: a late result that was dropped, and the output that was lost. */
function drawAfter(context, attempt, y, height) {
  const { dropped = [], outputLost, interrupted } = extra(attempt);
  const middle = y + height / 2, size = Math.min(4.5, Math.max(2, height / 2 - 1));
  for (const at of dropped) {
    const x = view.x(at);
    context.strokeStyle = color['ink'];
    context.lineWidth = 1;
    context.setLineDash([1, 2]);
    context.beginPath();
    context.moveTo(view.x(endOf(attempt)), middle);
    context.lineTo(x, middle);
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = color['paper'];
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x - size, middle);
    context.lineTo(x, middle - size);
    context.lineTo(x + size, middle);
    context.lineTo(x, middle + size);
    context.closePath();
    context.fill();
    context.stroke();
  }
  if (interrupted !== undefined) {
    context.fillStyle = color['bad'];
    context.fillRect(view.x(interrupted.at) - 1, y, 2, height);
  }
  if (outputLost !== undefined && height >= 6) {
    context.strokeStyle = color['bad'];
    context.lineWidth = 1.5;
    const x = view.x(outputLost.at);
    context.beginPath();
    context.moveTo(x - 3, middle - 3);
    context.lineTo(x + 3, middle + 3);
    context.moveTo(x - 3, middle + 3);
    context.lineTo(x + 3, middle - 3);
    context.stroke();
  }
}

/** Where a worker failed, was restarted or was removed, and where it came back. */
function drawFailures(context, { worker, top, height }) {
  const middle = top + height / 2, size = Math.min(5, Math.max(1.5, height / 2 - 2));
  for (const failure of worker.failures) {
    const x = view.x(failure.at);
    context.strokeStyle = color['bad'];
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x, top);
    context.lineTo(x, top + height);
    context.stroke();
    if (height >= 10) {
      context.fillStyle = color['paper'];
      context.beginPath();
      context.arc(x, middle, size + 2.5, 0, 7);
      context.fill();
      context.stroke();
      context.lineWidth = 1.8;
      context.beginPath();
      const half = size * 0.55;
      if (failure.kind === 'check') {
        context.moveTo(x - half, middle - half); context.lineTo(x + half, middle + half);
        context.moveTo(x - half, middle + half); context.lineTo(x + half, middle - half);
      } else if (failure.kind === 'restart') {
        context.arc(x, middle, half + 0.5, 0.6, 5.6);
      } else {
        context.moveTo(x - half, middle); context.lineTo(x + half, middle);
      }
      context.stroke();
    }
    if (failure.back !== null && height >= 6) {
      const back = view.x(failure.back);
      context.fillStyle = color['good'];
      context.beginPath();
      context.moveTo(back, middle - size);
      context.lineTo(back + size * 1.5, middle);
      context.lineTo(back, middle + size);
      context.fill();
    }
  }
}

/** A thread through all attempts of a task, in their order. */
function drawThread(context, task) {
  context.strokeStyle = color['ink'];
  context.lineWidth = 1;
  context.setLineDash([3, 3]);
  context.beginPath();
  taskAttempts[task].forEach((attempt, index) => {
    const [x, y, , height] = barBox(attempt);
    if (index === 0) context.moveTo(x, y + height / 2); else context.lineTo(x, y + height / 2);
  });
  context.stroke();
  context.setLineDash([]);
}
