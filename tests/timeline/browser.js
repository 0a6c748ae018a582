// Opens a page in Debian's Chromium and checks what a reader needs of it: `node browser.js PAGE`.
// Prints what is wrong, a line each; nothing when all is well.
'use strict';
const { chromium } = require('playwright-core');
const ARGUMENTS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

(async () => {
  const file = process.argv[2], problems = [];
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGUMENTS });
  for (const colorScheme of ['light', 'dark']) for (const width of [400, 800, 1400]) {
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
