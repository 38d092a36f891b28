// One workflow: its calls, and a way to clear it.
import { h } from './dom.js';
import { pager } from './search.js';
import { clear } from './dialogs.js';
import { readOnly } from './parts.js';

export function workflowView(name, params, trail, move) {
  const pages = pager({ wf: name }, params.get('after') ?? '', trail, (to, next) => move({ workflow: name, after: to.after }, next), 'Calls of the workflow');
  const el = h('div', { class: 'view' },
    h('section', { class: 'panel', 'aria-labelledby': 'workflow-title' },
      h('div', { class: 'head' },
        h('h1', { id: 'workflow-title' }, h('span', { class: 'faint' }, 'Workflow '), name), h('span', { class: 'grow' }),
        readOnly ? null : h('button', { type: 'button', class: 'danger', id: 'clear', on: { click: async () => (await clear(name)) && pages.load() } }, 'Clear …')),
      pages.el));
  return { el, title: name, start: pages.load, stop: pages.stop, overview() {}, changes: pages.changes };
}
