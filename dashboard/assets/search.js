// What a search finds, a page at a time. The search is in the URL: it can be sent to somebody, and Back works.
import { h, href, announce } from './dom.js';
import { num, stateText } from './format.js';
import { get } from './api.js';
import { callTable, failure } from './parts.js';

const names = ['q', 'id', 'wf', 'tool', 'caller', 'key', 'status', 'since', 'until', 'all'];
const limit = 50;

// wanted returns the search that the URL asks for, null for none.
export function wanted(params) {
  const found = {};
  for (const name of names) if (params.get(name)) found[name] = params.get(name);
  return Object.keys(found).length ? found : null;
}

// pager pages through the calls that `filter` selects; move(params, trail) goes to another page.
export function pager(filter, after, trail, move, label) {
  const table = callTable(label);
  const note = h('p', { class: 'note', hidden: true, role: 'status' });
  const stale = h('button', { type: 'button', hidden: true, id: 'stale', on: { click: () => load() } });
  const back = h('button', { type: 'button', id: 'page-back', on: { click: () => move({ ...filter, after: trail.at(-1) ?? '' }, trail.slice(0, -1)) } }, '← Previous');
  const next = h('button', { type: 'button', id: 'page-next', on: { click: () => move({ ...filter, after: following }, [...trail, after]) } }, 'Next →');
  const first = h('button', { type: 'button', on: { click: () => move(filter, []) } }, 'First page');
  const text = h('span', { class: 'faint num', id: 'page-text' });
  const none = h('p', { class: 'none', id: 'none', hidden: true }, 'No call matches. Clear a filter, or look at a longer time.');
  const nav = h('nav', { class: 'pages', 'aria-label': 'Pages' }, back, next, first, h('span', { class: 'grow' }), stale, text);
  const el = h('div', null, note, table.el, none, nav);
  let following = '';
  let others = 0;
  let aborter = null;

  async function load() {
    aborter?.abort();
    aborter = new AbortController();
    others = 0;
    stale.hidden = true;
    el.setAttribute('aria-busy', 'true');
    try {
      const page = await get('calls', { ...filter, after, limit }, aborter.signal);
      const calls = page.calls ?? [];
      following = page.next ?? '';
      table.show(calls);
      table.el.hidden = calls.length === 0;
      none.hidden = calls.length > 0 || Boolean(page.partial);
      note.hidden = !page.partial;
      note.textContent = page.partial ? 'The search took too long and stopped: there may be more calls than these. Name a workflow or a tool to search less.' : '';
      back.disabled = !after;
      first.hidden = !after;
      next.disabled = !following;
      nav.hidden = calls.length === 0 && !after;
      text.textContent = `page ${num(trail.length + 1)}${trail.length || !after ? '' : ' or later'}, ${num(calls.length)} ${calls.length === 1 ? 'call' : 'calls'}`;
      announce(`${calls.length} calls found${following ? ', and more on the next page' : ''}`);
      return page;
    } catch (err) {
      if (err.name !== 'AbortError') el.replaceChildren(failure(err, () => move({ ...filter, after }, trail)));
      return null;
    } finally {
      el.removeAttribute('aria-busy');
    }
  }

  return {
    el,
    load,
    stop: () => aborter?.abort(),
    // changes updates the rows that are shown; of others it only says that there are some.
    changes(list, skipped) {
      for (const c of list) if (!table.update(c.call?.id ?? c.id, c.call) && c.call && matches(filter, c.call)) others++;
      others += skipped;
      if (!others) return;
      stale.hidden = false;
      stale.textContent = `${num(others)} newer ${others === 1 ? 'change' : 'changes'}: refresh`;
    },
  };
}

// matches is only as good as the hint to refresh has to be.
function matches(f, c) {
  return (!f.wf || f.wf === c.workflow) && (!f.tool || f.tool === c.tool) && (!f.key || f.key === c.key) &&
    (!f.status || f.status.split(',').includes(c.status)) && (!f.caller || f.caller === c.owner?.caller) && !f.id && !f.q;
}

export function search(params, trail, move) {
  const filter = wanted(params);
  const said = Object.entries(filter).filter(([name]) => name !== 'all').map(([name, value]) => h('a', {
    class: 'pill', href: href({ ...filter, [name]: '' }), 'aria-label': `Remove the filter ${name} ${value}`,
  }, h('span', { class: 'faint' }, labels[name] + ' '), name === 'status' ? stateText(value) : value, h('span', { 'aria-hidden': 'true' }, ' ×')));
  const pages = pager(filter, params.get('after') ?? '', trail, move, 'Calls that were found');
  const el = h('div', { class: 'view' },
    h('section', { class: 'panel', 'aria-labelledby': 'found-title' },
      h('div', { class: 'head' }, h('h1', { id: 'found-title' }, 'Calls'), said), pages.el));
  return { el, title: 'Calls', start: pages.load, stop: pages.stop, overview() {}, changes: pages.changes };
}

const labels = { q: 'any', id: 'ID', wf: 'workflow', tool: 'tool', caller: 'caller', key: 'key', status: 'status', since: 'since', until: 'until' };
