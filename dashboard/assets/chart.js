// The duplicate-rate chart: what was executed and what was blocked, each 10 s, since this dashboard has run.
import uPlot from './uPlot.esm.js';
import { h } from './dom.js';
import { num, percent } from './format.js';
import { get } from './api.js';

const every = 10; // seconds of one point

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function rateChart() {
  const box = h('div', { class: 'chart', role: 'img', 'aria-label': 'Executed and blocked calls over time' });
  const text = h('span', { class: 'num', id: 'rate-text' });
  const range = h('select', { 'aria-label': 'Time span of the chart', on: { change: () => refresh() } },
    h('option', { value: '15' }, '15 min'), h('option', { value: '60', selected: true }, '1 hour'), h('option', { value: '360' }, '6 hours'));
  const el = h('section', { class: 'panel', 'aria-labelledby': 'rate-title' },
    h('div', { class: 'head' }, h('h2', { id: 'rate-title' }, 'Duplicates'), text, h('span', { class: 'grow' }), range),
    h('p', { class: 'legend' }, h('span', { class: 'key-executed' }, 'executed'), h('span', { class: 'key-blocked' }, 'blocked'), h('span', { class: 'faint' }, 'per 10 s, seen by this dashboard')),
    box);
  let plot = null;
  let data = [[], [], []];
  let seen = 0;

  function build() {
    plot?.destroy();
    const axis = { stroke: colour('--faint'), font: '11px system-ui, sans-serif', ticks: { show: false } };
    const bars = uPlot.paths.bars({ size: [0.8, 14], align: -1 });
    plot = new uPlot({
      width: Math.max(200, box.clientWidth), height: 150, legend: { show: false }, padding: [8, 20, 0, 0],
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: { y: { range: (_, __, max) => [0, Math.max(4, max * 1.1)] } },
      axes: [
        { ...axis, grid: { show: false }, size: 24, space: 70, values: [[3600, '{HH}:{mm}'], [60, '{HH}:{mm}'], [1, '{HH}:{mm}:{ss}']].map(([step, form]) => [step, form, null, null, null, null, null, null, 1]) },
        { ...axis, size: 36, grid: { stroke: colour('--line'), width: 1 }, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6], space: 36 },
      ],
      series: [
        {},
        { label: 'all', paths: bars, fill: colour('--blocked'), width: 0, points: { show: false } },
        { label: 'executed', paths: bars, fill: colour('--executed'), width: 0, points: { show: false } },
      ],
      hooks: { setCursor: [(u) => describe(u.cursor.idx)] },
    }, data, box);
  }

  // Bars are stacked: the whole bar first, what was executed in front of it.
  function show(points) {
    const at = [];
    const all = [];
    const executed = [];
    const sums = [0, 0];
    for (const p of points) {
      at.push(Date.parse(p.at) / 1000);
      executed.push(p.executed);
      all.push(p.executed + p.blocked);
      sums[0] += p.executed;
      sums[1] += p.blocked;
    }
    data = [at, all, executed];
    describe(null, sums);
    box.setAttribute('aria-label', `${num(sums[0])} executed and ${num(sums[1])} blocked calls in the last ${range.selectedOptions[0].text}`);
    if (!plot) build();
    else plot.setData(data, false);
    const end = Math.max(Date.now() / 1000, at.at(-1) ?? 0) + every;
    // As wide as there is something to see, and 5 minutes at least.
    plot.setScale('x', { min: Math.max(end - Number(range.value) * 60, Math.min(end - 300, (at[0] ?? end) - every)), max: end });
  }

  function describe(i, sums) {
    if (sums) describe.sums = sums; // of all that is shown
    const [executed, all] = i === null || i === undefined || data[0][i] === undefined ? [null, null] : [data[2][i], data[1][i]];
    if (executed !== null) text.textContent = `${num(executed)} executed, ${num(all - executed)} blocked`;
    else if (describe.sums?.[0] + describe.sums?.[1] > 0) text.textContent = `${percent(describe.sums[1], describe.sums[0] + describe.sums[1])} of calls were duplicates`;
  }

  async function refresh() {
    seen = Date.now();
    try {
      const { points } = await get('rate', { minutes: range.value });
      if (el.isConnected) show(points ?? []);
    } catch {
      // The page says elsewhere that the dashboard does not answer; the chart keeps what it has.
    }
  }

  new ResizeObserver(() => plot?.setSize({ width: Math.max(200, box.clientWidth), height: 150 })).observe(box);
  return {
    el,
    refresh: () => Date.now() - seen > every * 500 && refresh(),
    recolour: () => plot && (build(), refresh()),
  };
}
