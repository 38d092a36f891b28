// Pieces that more than one view shows.
import { h, link, keyed, toast } from './dom.js';
import { chip, num, when, age, printID, pretty } from './format.js';
import { resolve } from './dialogs.js';

export const readOnly = document.body.dataset.readOnly === 'true';

// owner names the worker that holds, or held, a claim.
export function owner(o) {
  if (!o) return h('span', { class: 'faint' }, 'none');
  const host = o.host ? `${o.host} · ${o.pid}` : o.session;
  return h('span', { class: 'num', title: 'session ' + (o.session ?? '?') }, host, o.caller ? h('span', { class: 'faint' }, ' as ' + o.caller) : null);
}

// fact is a term and its description, nothing where there is none.
export function fact(term, value, props) {
  return value === null || value === undefined || value === '' ? null : h('div', props, h('dt', null, term), h('dd', null, value));
}

// copyable shows text with a button that copies it, where the browser lets us.
export function copyable(text, what) {
  if (!navigator.clipboard) return h('code', null, text);
  return h('span', { class: 'copyable' }, h('code', null, text), h('button', {
    type: 'button', class: 'quiet', 'aria-label': 'Copy ' + what,
    on: { click: () => navigator.clipboard.writeText(text).then(() => toast('Copied.'), () => toast('The browser did not let the page copy.', 'bad')) },
  }, 'copy'));
}

// code shows stored JSON: redacted fields as what stands for them, encrypted ones as such.
export function code(value, sealed, label) {
  if (value === null || value === undefined) return null;
  return h('div', null,
    sealed ? h('p', { class: 'note' }, 'Encrypted at rest: this dashboard has no key. It is shown in base64.') : null,
    h('pre', { tabindex: '0', 'aria-label': label, class: 'code' }, highlight(pretty(value))));
}

// highlight marks names and what is redacted; everything stays text.
function highlight(text) {
  if (text.length > 20000) return [text];
  const out = [];
  let at = 0;
  for (const m of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)) {
    const kind = m[1] ? 'name' : /redacted/i.test(m[0]) ? 'redacted' : 'string';
    const end = m.index + m[0].length - (m[1]?.length ?? 0);
    out.push(text.slice(at, m.index), h('span', { class: 'j-' + kind }, text.slice(m.index, end)));
    at = end;
  }
  out.push(text.slice(at));
  return out;
}

// decision offers the three ways to settle a call; after(call) is called when one was taken.
export function decision(call, after) {
  if (readOnly) return h('p', { class: 'note' }, 'Read-only: use ', h('code', null, 'ledger resolve'), ', or a dashboard without --read-only.');
  const button = (as, text, props) => h('button', {
    type: 'button', 'data-as': as, ...props,
    on: { click: async () => (await resolve(call, as)) && after(call) },
  }, text);
  return h('div', { class: 'buttons start', role: 'group', 'aria-label': 'Decide about ' + call.tool },
    button('happened', 'It happened'), button('did_not_happen', 'It did not: allow a retry'), button('forget', 'Forget', { class: 'quiet' }));
}

// callTable is a table of calls, and knows how to bring one row up to date.
export function callTable(label) {
  const body = h('tbody');
  const el = h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label },
    h('table', { class: 'calls' },
      h('thead', null, h('tr', null, ['Status', 'Tool', 'Workflow', 'Key or fingerprint', 'Caller'].map((t) => h('th', { scope: 'col' }, t)),
        ['Attempts', 'Blocked', 'Last start'].map((t) => h('th', { scope: 'col', class: 'n' }, t)))),
      body));
  const rows = new Map();

  function row(c) {
    return h('tr', { 'data-id': c.id, 'data-state': c.status },
      h('td', { 'data-col': 'status' }, chip(c.status)),
      h('th', { scope: 'row', 'data-col': 'tool' }, link({ call: c.id }, c.tool, { 'data-row': true, title: c.tool })),
      h('td', { 'data-col': 'workflow' }, link({ workflow: c.workflow }, c.workflow, { class: 'soft', title: c.workflow })),
      h('td', { 'data-col': 'key', title: c.key || c.fingerprint }, c.key || h('code', { class: 'faint' }, printID(c.fingerprint))),
      h('td', { 'data-col': 'caller' }, c.owner?.caller || h('span', { class: 'faint' }, '–')),
      h('td', { class: 'n num', 'data-col': 'attempts' }, num(c.attempts)),
      h('td', { class: 'n num' + (c.blocked ? '' : ' zero'), 'data-col': 'blocked' }, num(c.blocked)),
      h('td', { class: 'n', 'data-col': 'when' }, when(c.started ?? c.created)));
  }

  return {
    el,
    show(calls) {
      keyed(body, calls, (c) => [c.id, c.version, c.status, c.attempts, c.blocked].join(' '), row);
      rows.clear();
      for (const tr of body.children) rows.set(tr.dataset.id, tr);
    },
    // update returns whether the call is one of those shown; without a call it was removed.
    update(id, call) {
      const old = rows.get(id);
      if (!old) return false;
      if (!call) {
        old.dataset.state = 'deleted';
        old.firstElementChild.replaceChildren(chip('deleted'));
        return true;
      }
      const focused = old.contains(document.activeElement);
      const tr = row(call);
      old.replaceWith(tr);
      rows.set(id, tr);
      if (focused) tr.querySelector('[data-row]').focus();
      return true;
    },
  };
}

// failure says what went wrong, and offers to try again.
export function failure(err, again) {
  return h('div', { class: 'panel failure', role: 'alert' }, h('h2', null, err.status === 404 ? 'There is no such call' : 'That did not work'),
    h('p', null, err.message), h('button', { type: 'button', on: { click: again } }, 'Try again'));
}

// flying is one row of the calls in flight.
export function flying(c) {
  return h('tr', { 'data-id': c.id },
    h('th', { scope: 'row', 'data-col': 'tool' }, link({ call: c.id }, c.tool, { 'data-row': true })),
    h('td', { 'data-col': 'workflow' }, link({ workflow: c.workflow }, c.workflow, { class: 'soft' }), c.key ? h('span', { class: 'faint' }, ' · ' + c.key) : null),
    h('td', { 'data-col': 'owner' }, owner(c.owner)),
    h('td', { 'data-col': 'lease' }, c.alive === false ? h('span', { class: 'dot bad' }, 'lost') : h('span', { class: 'dot good' }, 'alive')),
    h('td', { class: 'n num', 'data-col': 'attempts', title: 'attempt' }, '#' + num(c.attempt)),
    h('td', { class: 'n', 'data-col': 'when' }, age(c.started)));
}
