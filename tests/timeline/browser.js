// Opens a page in Debian's Chromium and checks what a reader needs of it: `node browser.js PAGE`.
// Prints what is wrong, a line each; nothing when all is well.
'use strict';
const { chromium } = require('playwright-core');
const ARGUMENTS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

(async () => {
  const file = process.argv[2], problems = [];
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGUMENTS });
  for (const [colorScheme, width] of [['light', 400], ['light', 800], ['light', 1400], ['dark', 800]]) {
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
    const page = await context.newPage();
    const complain = problem => problems.push(`${colorScheme}, ${width} px: ${problem}`);
    page.on('console', message => complain(`console: ${message.text()}`));
    page.on('pageerror', error => complain(`error: ${error.message}`));
    page.on('dialog', dialog => { complain('a dialog: a message of the conversation ran as a script'); dialog.dismiss(); });
    page.on('request', request => { if (!request.url().startsWith('file:') && !request.url().startsWith('data:')) complain(`request to ${request.url()}`); });
    const started = Date.now();
    await page.goto(`file://${file}`);
    await page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))));
    if (Date.now() - started > 5000) complain('it took more than 5 s to open');
    // Nothing of the page is wider than the window.
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) complain(`it is ${wide} px wider than the window`);
    const boxes = await page.evaluate(() => ['activity', 'axis', 'rows'].map(id => document.getElementById(id).getBoundingClientRect().toJSON()));
    for (let index = 1; index < boxes.length; index++) if (boxes[index].top < boxes[index - 1].bottom - 0.5) complain('two parts of the chart overlap');
    // Rows and bars are where they should be: within each other, and beside each other.
    for (const problem of await page.evaluate(() => {
      const problems = [], shown = index => JSON.stringify(rows[index].worker.id);
      rows.forEach((row, index) => {
        if (index && row.top < rows[index - 1].top + rows[index - 1].height - 0.01) problems.push(`the row of ${shown(index)} overlaps the one above`);
        const lanes = new Map();
        for (const attempt of workerAttempts[index]) {
          const [x, y, width, height] = barBox(attempt), lane = attempts.lane[attempt];
          if (y < row.top - 0.01 || y + height > row.top + row.height + 0.01) problems.push(`a bar of ${shown(index)} leaves its row`);
          if (!(width > 0 && height > 0)) problems.push(`a bar of ${shown(index)} has no size`);
          lanes.set(lane, [...lanes.get(lane) ?? [], [x, x + width, y, y + height]]);
        }
        const drawn = [...lanes.entries()].sort((a, b) => a[0] - b[0]);
        drawn.forEach(([lane, bars], at) => {
          bars.sort((a, b) => a[0] - b[0]);
          // A bar is at least 1.5 px wide; otherwise bars in a lane follow each other.
          for (let bar = 1; bar < bars.length; bar++) if (bars[bar][0] < bars[bar - 1][1] - 1.51) problems.push(`bars of ${shown(index)} in lane ${lane} overlap`);
          if (at && bars[0][2] < drawn[at - 1][1][0][3] - 0.01) problems.push(`lanes ${drawn[at - 1][0]} and ${lane} of ${shown(index)} overlap`);
        });
      });
      const known = problems.slice(0, 5);
      // Everything from the first time to the last one is in view after "Fit".
      document.getElementById('fit').click();
      for (let attempt = 0; attempt < attemptCount; attempt++) {
        const [x, , width] = barBox(attempt);
        if (x < view.left - 1 || x + width > view.width - view.right + 2) { known.push(`attempt ${attempt} is cut off at a side`); break; }
      }
      return known;
    })) complain(problem);
    const hasAttempts = await page.evaluate(() => JSON.parse(document.getElementById('story').textContent).attempts.task.length > 0);
    if (hasAttempts) {
      await page.focus('#bars');
      await page.keyboard.press('ArrowDown');
      if (!/attempt \d/.test(await page.textContent('#tip'))) complain('the arrow keys show no attempt');
      await page.keyboard.press('Enter');
      if (!await page.isVisible('#details')) complain('Enter does not show the task');
      await page.keyboard.press('Escape');
      if (await page.isVisible('#details')) complain('Escape does not close the task');
      // Hovering the bar that the keys had found.
      const point = await page.evaluate(() => {
        const bars = document.getElementById('bars').getBoundingClientRect();
        const first = workerAttempts.find(list => list.length)[0];
        const [x, y, w, h] = barBox(first);
        document.getElementById('bars').scrollIntoView({ block: 'start' });
        const box = document.getElementById('bars').getBoundingClientRect();
        return [box.left + x + Math.min(w, 4) / 2, box.top - view.scroll + y + h / 2];
      });
      await page.mouse.move(...point);
      if (!/(attempt \d|Worker)/.test(await page.textContent('#tip'))) complain('hovering a bar shows nothing');
    }
    // It answers while one scrolls and zooms.
    const slowest = await page.evaluate(async () => {
      let slowest = 0;
      for (let turn = 0; turn < 20; turn++) {
        document.getElementById('rows').scrollTop += 400;
        zoom(turn % 2 ? 2 : 0.5);
        const before = performance.now();
        await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
        slowest = Math.max(slowest, performance.now() - before);
      }
      return slowest;
    });
    if (slowest > 1000) complain(`a frame took ${Math.round(slowest)} ms`);
    await context.close();
  }
  await browser.close();
  problems.forEach(problem => console.log(problem));
})();
