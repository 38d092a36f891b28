// The first view: totals, what needs a decision, what is in flight, the feed, the tools, the store.
import { h, keyed, link, href } from './dom.js';
import { num, nanos, bytes, age } from './format.js';
import { get } from './api.js';
import { cards, toolTable, health } from './tools.js';
import { rateChart } from './chart.js';
import { owner, fact, code, decision, flying, callTable } from './parts.js';
import { welcome } from './welcome.js';

// What a tool's policy does with a call in doubt.
const policies = { retry: 'The next such call runs it again.', block: 'It never runs again by itself.', reconcile: 'The next such call asks the downstream.' };

const fetchedInDoubt = 100; // one page; those that wait for a person come first
const shownInDoubt = 20;
const shownFirst = (calls) => (calls[0]?.in_doubt_policy === 'block' ? 4 : 2); // unless a person wants to see more
const shownRunning = 20;
const shownLatest = 10;

// gently runs fn one at a time, and not more often than each `pause` ms.
function gently(fn, pause) {
  let busy = false;
  let again = false;
  return async function run() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    again = false;
    try {
      await fn();
    } catch {
      // The stream's state already tells that the dashboard or its store does not answer; the next event tries again.
    } finally {
      setTimeout(() => {
        busy = false;
        if (again) run();
      }, pause);
    }
  };
}

export function overview(feed) {
  const top = cards();
  const tools = toolTable();
  const store = health();
  const chart = rateChart();
  const hello = welcome();
  const doubtList = h('div', { class: 'decisions', id: 'decisions' });
  const doubtMore = h('span', { hidden: true });
  const doubtAll = h('button', { type: 'button', id: 'doubt-all', hidden: true, on: { click: () => { unfolded = !unfolded; drawDoubt(); } } });
  const doubt = h('section', { class: 'panel attention', 'aria-labelledby': 'doubt-title', id: 'doubt', hidden: true },
    h('div', { class: 'head' }, h('h2', { id: 'doubt-title' }, 'Needs a decision'), h('span', { class: 'count num', id: 'doubt-count' }), h('span', { class: 'grow' })),
    doubtList, h('div', { class: 'more' }, doubtAll, doubtMore));
  const flightBody = h('tbody');
  const flightNone = h('p', { class: 'none' }, 'No call is running.');
  const flightMore = h('p', { class: 'note', hidden: true });
  const flightTable = h('div', { class: 'scroll', hidden: true, tabindex: '0', role: 'region', 'aria-label': 'In flight, a table' },
    h('table', { class: 'calls flight', id: 'flight' },
      h('thead', null, h('tr', null, ['Tool', 'Workflow and key', 'Owner', 'Lease'].map((t) => h('th', { scope: 'col' }, t)), h('th', { scope: 'col', class: 'n' }, 'Attempt'), h('th', { scope: 'col', class: 'n' }, 'Age'))),
      flightBody));
  const flight = h('section', { class: 'panel', 'aria-labelledby': 'flight-title' },
    h('div', { class: 'head' }, h('h2', { id: 'flight-title' }, 'In flight'), h('span', { class: 'grow' })), flightNone, flightTable, flightMore);
  const latestTable = callTable('Latest calls, a table');
  const latest = h('section', { class: 'panel', 'aria-labelledby': 'latest-title', id: 'latest' },
    h('div', { class: 'head' }, h('h2', { id: 'latest-title' }, 'Latest calls'), h('span', { class: 'grow' }), h('a', { href: href({ all: '1' }) }, 'All calls')), latestTable.el);
  const partial = h('p', { class: 'note', id: 'partial', hidden: true }, 'This ledger is large: the totals are of the part that could be counted in time.');
  const columns = h('div', { class: 'columns' }, h('div', null, chart.el, tools.el, flight), h('div', null, feed.el, store.el));
  const el = h('div', { class: 'view overview' }, hello.el, top.el, partial, doubt, columns, latest);
  let last = null;
  let inDoubt = []; // the first page
  let unfolded = false;
  let running = 0;

  const refreshDoubt = gently(async () => {
    const { calls } = await get('calls', { status: 'in_doubt', limit: fetchedInDoubt });
    inDoubt = [...calls.filter((c) => c.in_doubt_policy === 'block'), ...calls.filter((c) => c.in_doubt_policy !== 'block')].slice(0, shownInDoubt);
    drawDoubt();
  }, 1000);

  function drawDoubt() {
    keyed(doubtList, unfolded ? inDoubt : inDoubt.slice(0, shownFirst(inDoubt)), (c) => c.id + ' ' + c.version + c.state, one);
    doubt.hidden = inDoubt.length === 0;
    doubtAll.hidden = inDoubt.length <= shownFirst(inDoubt);
    doubtAll.textContent = unfolded ? 'Show fewer' : `Show ${num(inDoubt.length - shownFirst(inDoubt))} more`;
    doubtAll.setAttribute('aria-expanded', String(unfolded));
  }

  const refreshFlight = gently(async () => {
    const { calls } = await get('calls', { status: 'running', limit: shownRunning });
    running = calls.length;
    keyed(flightBody, calls, (c) => c.id + ' ' + c.version, flying);
    flightNone.hidden = calls.length > 0;
    flightTable.hidden = calls.length === 0;
  }, 1000);

  const refreshLatest = gently(async () => {
    const { calls, newest } = await get('calls', { status: 'running,succeeded,failed,in_doubt', limit: shownLatest });
    latest.querySelector('h2').textContent = newest ? 'Latest calls' : 'Calls'; // some stores list by ID alone
    latestTable.show(calls);
  }, 1000);

  function one(c) {
    return h('article', { class: 'decide', 'data-id': c.id, 'aria-label': c.tool + ' of ' + c.workflow },
      h('h3', null, link({ call: c.id }, c.tool, { 'data-row': true }), h('span', { class: 'faint' }, ' of '), link({ workflow: c.workflow }, c.workflow, { class: 'soft' }), c.key ? [h('span', { class: 'faint' }, ' · '), c.key] : null),
      h('p', { class: 'why' }, c.state === 'running' ? 'Its worker died or lost its lease during the call.' : c.error?.message ? c.error.message : 'Its last attempt ended without saying whether its effect happened.', ' · ', h('span', { class: 'faint', title: 'in-doubt policy: ' + c.in_doubt_policy }, policies[c.in_doubt_policy])),
      h('dl', { class: 'facts' },
        fact('Started', h('span', null, age(c.started), ' ago')), fact('Owner', owner(c.owner)), fact('Attempts', num(c.attempts)),
        fact('Token', c.token ? h('code', null, c.token) : null, { class: 'two' }), fact('Fence', h('span', { class: 'num' }, String(c.fence ?? '–')))),
      c.args === undefined ? null : h('details', null, h('summary', null, 'Arguments'), code(c.args, c.sealed, 'Arguments')),
      decision(c, () => {
        refreshDoubt();
        feed.el.querySelector('button').focus();
      }));
  }

  function show(o) {
    last = o;
    store.show(o.health ?? {}, { nanos, bytes });
    const s = o.summary;
    if (!s) return; // the store has never answered
    top.show(s);
    tools.show(o.tools ?? [], s, o.tools_left_off);
    partial.hidden = !s.partial;
    const empty = s.calls === 0 && !s.partial;
    hello.el.hidden = !empty;
    columns.hidden = latest.hidden = empty;
    top.el.hidden = empty;
    doubt.querySelector('h2').textContent = s.needs_decision ? 'Needs a decision' : 'In doubt';
    const count = doubt.querySelector('.count');
    count.textContent = waiting(s);
    doubtMore.hidden = s.in_doubt <= shownInDoubt;
    doubtMore.replaceChildren(`The first ${shownInDoubt} of ${num(s.in_doubt)}. `, h('a', { href: href({ status: 'in_doubt' }) }, 'See all'));
    flightMore.hidden = s.running <= shownRunning;
    flightMore.replaceChildren(`${shownRunning} of ${num(s.running)}. `, h('a', { href: href({ status: 'running' }) }, 'See all'));
    if (document.hidden) return;
    if (s.in_doubt || inDoubt.length) refreshDoubt();
    if (s.running || running) refreshFlight();
    if (s.calls || s.partial) refreshLatest();
    chart.refresh();
  }

  return {
    el,
    title: '',
    async start() {
      if (last) show(last);
      show(await get('overview'));
    },
    overview: show,
    changes() {},
    recolour: chart.recolour,
  };
}

// waiting says for whom the calls in doubt wait.
function waiting(s) {
  const rest = s.in_doubt - s.needs_decision;
  return [s.needs_decision ? `${num(s.needs_decision)} ${s.needs_decision === 1 ? 'waits' : 'wait'} for you` : '', rest ? `${num(rest)} ${rest === 1 ? 'is' : 'are'} settled by the next such call, unless you decide first` : ''].filter(Boolean).join(', ');
}
