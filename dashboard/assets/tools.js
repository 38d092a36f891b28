// The table of tools, and the cards above it.
import { h, put, keyed, link, href } from './dom.js';
import { num, compact, percent, age, span, serverNow } from './format.js';

const kinds = [
  ['executed', 'Executed', 'runs of a tool that were started and succeeded', null],
  ['blocked', 'Blocked', 'calls that came again and did not run', null],
  ['failed', 'Failed', 'calls whose last run failed', 'failed'],
  ['in_doubt', 'In doubt', 'nobody knows whether their effect happened', 'in_doubt'],
  ['running', 'In flight', 'calls that a live worker is running now', 'running'],
];

export function cards() {
  const el = h('section', { class: 'cards', 'aria-label': 'Totals' });
  const values = {};
  for (const [name, title, help, status] of kinds) {
    const value = h('span', { class: 'value num', id: 'card-' + name }, '–');
    const sub = h('span', { class: 'sub' }, '\u00a0');
    values[name] = { value, sub };
    const inside = [h('span', { class: 'title' }, title), value, sub];
    el.append(status
      ? h('a', { class: 'card', 'data-kind': name, href: href({ status }), title: help }, inside)
      : h('div', { class: 'card', 'data-kind': name, title: help }, inside));
  }
  return {
    el,
    show(s) {
      for (const [name] of kinds) {
        const text = compact(s[name]);
        const { value } = values[name];
        if (value.textContent !== text) value.textContent = text;
        value.title = num(s[name]);
        value.parentElement.toggleAttribute('data-some', Boolean(s[name]));
      }
      values.executed.sub.textContent = `${compact(s.calls)} ${s.calls === 1 ? 'call' : 'calls'}, ${compact(s.attempts)} attempts`;
      values.blocked.sub.textContent = `${percent(s.blocked, s.executed + s.blocked)} duplicates`;
      values.failed.sub.textContent = s.failed ? 'see why' : 'none';
      values.in_doubt.sub.textContent = !s.in_doubt ? 'none' : s.needs_decision ? `${compact(s.needs_decision)} ${s.needs_decision === 1 ? 'needs' : 'need'} a decision` : 'the next call decides';
      values.running.sub.textContent = s.oldest_running ? 'oldest ' + span(serverNow() - Date.parse(s.oldest_running.started)) : s.running ? 'now' : 'none';
    },
  };
}

export function toolTable() {
  const body = h('tbody');
  const foot = h('tfoot');
  const more = h('p', { class: 'note', hidden: true });
  const el = h('section', { class: 'panel', 'aria-labelledby': 'tools-title' },
    h('div', { class: 'head' }, h('h2', { id: 'tools-title' }, 'Tools')),
    h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Tools, a table' },
      h('table', { class: 'tools', id: 'tools' },
        h('thead', null, h('tr', null,
          h('th', { scope: 'col' }, 'Tool'),
          h('th', { scope: 'col', class: 'bar-col' }, h('span', { class: 'legend' }, h('span', { class: 'key-executed' }, 'executed'), h('span', { class: 'key-blocked' }, 'blocked'))),
          ['Calls', 'Executed', 'Blocked', 'Failed', 'In doubt', 'In flight'].map((t) => h('th', { scope: 'col', class: 'n' }, t)))),
        body, foot)),
    more);

  const cell = (n, kind) => h('td', { class: 'n num' + (n ? '' : ' zero'), 'data-kind': kind }, num(n));
  const figures = (t) => [cell(t.calls), cell(t.executed), cell(t.blocked), cell(t.failed, 'failed'), cell(t.in_doubt, 'in_doubt'), cell(t.running, 'running')];

  function bar(t, most) {
    const executed = h('i', { class: 'executed' });
    const blocked = h('i', { class: 'blocked' });
    executed.style.width = most ? (100 * t.executed) / most + '%' : '0';
    blocked.style.width = most ? (100 * t.blocked) / most + '%' : '0';
    return h('td', { class: 'bar-col' }, h('span', { class: 'bar', role: 'img', 'aria-label': `${num(t.executed)} executed, ${num(t.blocked)} blocked` }, executed, blocked));
  }

  return {
    el,
    show(tools, summary, left) {
      const most = Math.max(1, ...tools.map((t) => t.executed + t.blocked));
      const fill = (tr, t) => put(tr, h('th', { scope: 'row' }, link({ tool: t.tool }, t.tool, { 'data-row': true, title: t.tool })), bar(t, most), figures(t));
      keyed(body, tools, (t) => t.tool, (t) => mark(fill(h('tr'), t), t), (tr, t) => {
        if (tr.dataset.was !== signature(t, most)) fill(tr, t);
        tr.dataset.was = signature(t, most);
      });
      function mark(tr, t) {
        tr.dataset.was = signature(t, most);
        return tr;
      }
      put(foot, h('tr', null, h('th', { scope: 'row' }, 'All'), h('td', { class: 'bar-col' }), figures(summary)));
      more.hidden = !left;
      more.textContent = left ? `${num(left)} more tools with fewer calls are in the totals.` : '';
      el.hidden = tools.length === 0;
    },
  };
}

const signature = (t, most) => [most, t.calls, t.executed, t.blocked, t.failed, t.in_doubt, t.running].join();

// health: the store's latency, size and owners.
export function health() {
  const facts = h('dl', { class: 'facts health' });
  const owners = h('ul', { class: 'owners', id: 'owners' });
  const el = h('section', { class: 'panel', 'aria-labelledby': 'health-title' },
    h('div', { class: 'head' }, h('h2', { id: 'health-title' }, 'Store')), facts, owners);
  return {
    el,
    show(v, { nanos, bytes }) {
      const one = (t, d, props) => [h('dt', null, t), h('dd', { class: 'num', ...props }, d)];
      put(facts,
        one('Answers', v.ok ? 'yes' : 'no', { class: v.ok ? 'good' : 'bad' }),
        v.latency_ns ? one('Latency', nanos(v.latency_ns)) : null,
        v.size_bytes ? one('Size', bytes(v.size_bytes) + (v.quota_bytes ? ` of ${bytes(v.quota_bytes)} (${percent(v.size_bytes, v.quota_bytes)})` : '')) : null,
        one('Workers alive', num(v.owners_alive)),
        v.error ? one('Error', v.error, { class: 'bad' }) : null);
      const shown = (v.owners ?? []).slice(0, 20);
      keyed(owners, shown, (o) => o.id + o.alive, (o) => h('li', null,
        h('span', { class: 'dot ' + (o.alive ? 'good' : 'bad') }, o.alive ? 'alive' : 'dead'),
        h('span', { class: 'num', title: o.id }, o.host ? `${o.host} · ${o.pid}` : o.id),
        h('span', { class: 'faint' }, Date.parse(o.started) > 0 ? ['for ', age(o.started)] : null)));
    },
  };
}
