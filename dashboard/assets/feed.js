// The live feed: the newest transitions, at most a page of them, however many come.
import { h, keyed, link, announce } from './dom.js';
import { chip, num, when, printID, stateText } from './format.js';

const most = 60; // rows that are kept

export function feed() {
  const rows = h('ol', { class: 'feed', id: 'feed', 'aria-label': 'Newest changes', tabindex: '-1' });
  const note = h('p', { class: 'note', id: 'feed-note', hidden: true, role: 'status' });
  const pause = h('button', { type: 'button', id: 'pause', 'aria-pressed': 'false', 'aria-keyshortcuts': 'p', on: { click: toggle } }, 'Pause');
  const empty = h('p', { class: 'none' }, 'Nothing has changed since this page was opened. Changes show up here within a second.');
  const el = h('section', { class: 'panel feed-panel', 'aria-labelledby': 'feed-title' },
    h('div', { class: 'head' }, h('h2', { id: 'feed-title' }, 'Live'), h('span', { class: 'grow' }), pause),
    note, empty, rows);

  let list = []; // newest first
  let serial = 0;
  let paused = false;
  let waiting = 0; // changes since the pause
  let folded = 0; // changes of the current burst that have no row
  let foldedAt = 0;
  let frame = 0;

  function toggle() {
    paused = !paused;
    pause.setAttribute('aria-pressed', String(paused));
    pause.textContent = paused ? 'Resume' : 'Pause';
    if (!paused) waiting = 0;
    announce(paused ? 'The feed is paused' : 'The feed goes on');
    draw();
  }

  function draw() {
    frame = 0;
    empty.hidden = list.length > 0;
    if (paused) {
      note.textContent = waiting ? `Paused. ${num(waiting)} newer ${waiting === 1 ? 'change' : 'changes'}.` : 'Paused.';
      note.hidden = false;
      return;
    }
    note.hidden = folded === 0;
    if (folded) note.textContent = `A burst: ${num(folded)} more changes, shown only in the totals.`;
    keyed(rows, list, (c) => c.k, row);
  }

  function add(changes, skipped) {
    if (paused) waiting += changes.length + skipped;
    for (const change of changes) list.unshift({ ...change, k: String(++serial) });
    let over = skipped;
    if (list.length > most) {
      over += Math.max(0, changes.length - most);
      list = list.slice(0, most);
    }
    const now = Date.now();
    if (over) {
      folded += over;
      foldedAt = now;
    } else if (now - foldedAt > 5000) folded = 0;
    frame ||= requestAnimationFrame(draw);
  }

  return { el, add, toggle };
}

// row shows a change; of a record that was removed only its ID is known.
function row({ at, id, call, was, deleted }) {
  if (!call) {
    return h('li', { 'data-state': 'deleted', 'data-id': id }, when(at), h('span', { class: 'to' }, chip('deleted')),
      h('span', { class: 'what gone-id', title: id }, h('code', { class: 'faint' }, id)));
  }
  const state = deleted ? 'deleted' : call.status;
  return h('li', { 'data-state': state, 'data-id': call.id },
    when(at),
    h('span', { class: 'to', title: was ? 'it was ' + stateText(was) : null }, chip(state)),
    link({ call: call.id }, call.tool, { class: 'tool', 'data-row': true, title: call.tool }),
    h('span', { class: 'what', title: call.workflow + (call.key ? ' · ' + call.key : '') },
      link({ workflow: call.workflow }, call.workflow, { class: 'soft' }),
      call.key ? h('span', { class: 'faint' }, ' · ' + call.key) : h('code', { class: 'faint' }, ' ' + printID(call.fingerprint))),
    call.blocked ? h('span', { class: 'count', title: 'duplicates blocked' }, '⊘ ' + num(call.blocked)) : null);
}

