// One call in full: what is known, what happened when, and what can be done about it.
import { h, put, link } from './dom.js';
import { chip, num, when, age, span } from './format.js';
import { get } from './api.js';
import { retry } from './dialogs.js';
import { owner, fact, copyable, code, decision, failure, readOnly } from './parts.js';

export function callView(id, move) {
  const el = h('div', { class: 'view' }, h('p', { class: 'none', 'aria-busy': 'true' }, 'Loading …'));
  let shown = 0; // the version
  let timer = 0;
  let stopped = false;

  async function load() {
    try {
      const answer = await get('call', { id });
      if (!stopped) draw(answer);
    } catch (err) {
      if (!stopped) put(el, failure(err, load));
    }
  }

  function draw({ call: c, timeline, lease }) {
    shown = c.version;
    const finished = c.finished ? Date.parse(c.finished) : null;
    const took = c.started && finished ? span(finished - Date.parse(c.started)) : null;
    put(el,
      h('section', { class: 'panel call', 'data-state': c.status, 'aria-labelledby': 'call-title' },
        h('div', { class: 'head' }, chip(c.status), h('h1', { id: 'call-title' }, c.tool), h('span', { class: 'grow' }),
          h('button', { type: 'button', id: 'back', on: { click: () => history.length > 1 ? history.back() : move({}) } }, '← Back')),
        h('p', { class: 'subject' }, 'of ', link({ workflow: c.workflow }, c.workflow), c.key ? [', key ', h('b', null, c.key)] : null),
        c.status === 'in_doubt' ? h('div', { class: 'decide' },
          h('p', { class: 'why' }, c.state === 'running' ? 'Its worker died or lost its lease during the call: nobody knows whether its effect happened.' : 'Nobody knows whether its effect happened.', ' Ask the downstream, with the token, then say what is true.'),
          decision(c, load)) : null,
        c.error ? h('p', { class: 'error', id: 'call-error' }, h('b', null, c.error.class ? String(c.error.class).replaceAll('_', ' ') + ': ' : ''), c.error.message) : null,
        h('dl', { class: 'facts' },
          fact('Attempts', `${num(c.attempts)}${c.attempt ? ` (#${num(c.attempt)} of this run)` : ''}`),
          fact('Executed', num(c.executed)), fact('Blocked', num(c.blocked)), fact('Takeovers', num(c.takeovers)),
          fact('Owner', owner(c.owner)), fact('Lease', lease ? h('span', { class: 'dot ' + (lease.alive ? 'good' : 'off') }, lease.text) : null),
          fact('Fence', c.fence ? h('span', { class: 'num' }, String(c.fence)) : null), fact('Version', c.version ? h('span', { class: 'num' }, String(c.version)) : null),
          fact('In doubt', c.in_doubt_policy), fact('First claim', c.created ? when(c.created, true) : null),
          fact('Last start', c.started ? when(c.started, true) : null), fact('Ended', c.finished ? h('span', null, when(c.finished, true), took ? h('span', { class: 'faint' }, ` after ${took}`) : null) : null),
          fact(c.status === 'running' ? 'Running for' : '', c.status === 'running' ? age(c.started) : null),
          fact('Token', c.token ? copyable(c.token, 'token') : null, { class: 'wide' }), fact('ID', copyable(c.id, 'ID'), { class: 'wide' }),
          fact('Settled', c.settled ? h('span', null, c.settled.how.replaceAll('_', ' '), c.settled.by ? [' by ', h('b', null, c.settled.by)] : null, c.settled.reason ? ': ' + c.settled.reason : null) : null, { class: 'wide' }))),
      h('div', { class: 'columns even' },
        h('section', { class: 'panel', 'aria-labelledby': 'timeline-title' }, h('div', { class: 'head' }, h('h2', { id: 'timeline-title' }, 'Timeline')), times(timeline ?? [])),
        h('div', null,
          part('Arguments', 'args', code(c.args, c.sealed, 'Arguments') ?? h('p', { class: 'none' }, 'No arguments are stored.')),
          part('Result', 'result', c.result_omitted ? h('p', { class: 'none' }, 'The result was not stored: it was too large, or could not be read back.') : code(c.result, c.sealed, 'Result') ?? h('p', { class: 'none' }, 'No result is stored.')),
          actions(c))));
  }

  function part(title, name, what) {
    return h('section', { class: 'panel', 'aria-labelledby': name + '-title', id: 'call-' + name }, h('div', { class: 'head' }, h('h2', { id: name + '-title' }, title)), what);
  }

  function actions(c) {
    if (readOnly || !c.fingerprint || (c.status !== 'failed' && c.status !== 'succeeded')) return null;
    return h('section', { class: 'panel', 'aria-labelledby': 'again-title' },
      h('div', { class: 'head' }, h('h2', { id: 'again-title' }, 'Again')),
      h('div', { class: 'buttons start' }, h('button', { type: 'button', id: 'retry', on: { click: async () => (await retry(c)) && load() } }, 'Let it run again …')));
  }

  return {
    el,
    title: 'Call',
    start: load,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
    overview() {},
    changes(list) {
      const mine = list.findLast((c) => (c.call?.id ?? c.id) === id);
      if (!mine || (mine.call && mine.call.version <= shown && mine.call.status === el.querySelector('.call')?.dataset.state)) return;
      clearTimeout(timer);
      timer = setTimeout(load, 250);
    },
  };
}

// times is the timeline: what has a time first, in its order; what is only counted after it.
function times(events) {
  return h('ol', { class: 'timeline', id: 'timeline' }, events.map((e) => h('li', { 'data-kind': e.kind },
    h('span', { class: 'at' }, e.at ? when(e.at) : h('span', { class: 'faint' }, 'in all')),
    h('span', { class: 'text' }, h('b', null, e.kind === 'attempt' && e.fence ? `Attempt, fence ${e.fence}` : words[e.kind] ?? e.kind.replaceAll('_', ' ')), h('span', null, ' ', e.text),
      e.owner || e.ended ? h('span', { class: 'faint detail' }, e.owner ? owner(e.owner) : null, e.ended && e.at ? ` · ${span(Date.parse(e.ended) - Date.parse(e.at))}` : e.kind === 'running' && e.at ? [' · for ', age(e.at)] : null) : null))));
}

const words = { created: 'Created:', running: 'Now:', settled: 'Settled:', blocked: 'Duplicates:', takeovers: 'Takeovers:' };
