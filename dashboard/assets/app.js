// The page: which view is shown, what the stream tells it, and the keyboard.
import { h, put, href, announce } from './dom.js';
import { when, clockFrom, tickAges } from './format.js';
import { connect } from './live.js';
import { feed } from './feed.js';
import { overview } from './overview.js';
import { search, wanted } from './search.js';
import { callView } from './call.js';
import { workflowView } from './workflow.js';
import { help } from './dialogs.js';
import { theme } from './theme.js';

const main = document.getElementById('main');
const form = document.getElementById('search');
const live = feed();
const home = overview(live);
let view = null;

// Views: ?call=ID, ?workflow=NAME, a search, or none. trail holds the cursors of the pages before this one.
function show(focus) {
  const params = new URLSearchParams(location.search);
  const trail = Array.isArray(history.state?.trail) ? history.state.trail : [];
  view?.stop?.();
  if (params.get('call')) view = callView(params.get('call'), move);
  else if (params.get('workflow')) view = workflowView(params.get('workflow'), params, trail, move);
  else if (wanted(params)) view = search(params, trail, move);
  else view = home;
  main.replaceChildren(view.el);
  fill(params);
  document.title = [view.title, document.body.dataset.name, 'Ledger'].filter(Boolean).join(' · ');
  view.start().catch((err) => trouble(err.message));
  if (focus) {
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
    announce(view.title || 'Overview');
  }
}

// move goes to another view.
function move(params, trail = []) {
  history.pushState({ trail }, '', href(params));
  show(true);
}

function fill(params) {
  for (const field of form.elements) {
    if (!field.name) continue;
    const value = params.get(field.name) ?? '';
    // A time that is not in the list, from a link, must not get lost.
    if (field.tagName === 'SELECT' && ![...field.options].some((o) => o.value === value)) field.add(new Option(value, value));
    field.value = value;
  }
  form.toggleAttribute('data-used', wanted(params) !== null);
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  const params = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
  const before = new URLSearchParams(location.search);
  if (before.get('id') && wanted(before)) params.id = before.get('id');
  move(Object.values(params).some(Boolean) ? params : { all: '1' });
});
for (const select of form.querySelectorAll('select')) select.addEventListener('change', () => form.requestSubmit());

document.addEventListener('click', (event) => {
  const a = event.target.closest?.('a[href^="?"]');
  if (!a || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  move(Object.fromEntries(new URLSearchParams(a.getAttribute('href'))));
});
window.addEventListener('popstate', () => show(true));

// The stream.
const gone = document.getElementById('gone');
const linkEl = document.getElementById('link');
const linkText = document.getElementById('link-text');
let connected = false;
let lost = false;
let store = { ok: true };

function trouble(text) {
  gone.hidden = !text;
  if (gone.textContent !== text) gone.textContent = text;
}

function tell() {
  const state = lost ? 'lost' : !connected ? 'connecting' : store.ok ? 'live' : 'down';
  linkEl.dataset.state = state;
  const text = { lost: 'Reconnecting', connecting: 'Connecting', live: 'Live', down: 'Store away' }[state];
  if (linkText.textContent !== text) linkText.textContent = text;
  document.body.dataset.link = state;
  if (state === 'lost') trouble('The dashboard does not answer. What you see may be old; the page tries again by itself.');
  else if (state === 'down') trouble(`The store does not answer, so tools are not run: ${store.error || 'no reason was given'}. What you see may be old; the page goes on when it is back.`);
  else trouble('');
}

connect({
  link(state) {
    const again = lost && state === 'live';
    lost = state === 'lost';
    connected ||= state === 'live';
    if (state === 'live' && again) {
      announce('Connected again');
      view.start().catch(() => {});
    }
    tell();
  },
  store(s) {
    const back = !store.ok && s.ok;
    store = s;
    tell();
    if (back) {
      announce('The store is back');
      view.start().catch(() => {});
    }
  },
  overview(o) {
    clockFrom(o.now);
    put(document.getElementById('as-of'), 'as of ', when(o.now));
    const ok = o.health?.ok !== false;
    if (ok !== store.ok) {
      store = { ok, error: o.health?.error };
      tell();
    }
    if (ok || view !== home) view.overview(o);
    tools(o.tools ?? []);
  },
  changes({ changes, skipped }) {
    live.add(changes ?? [], skipped ?? 0);
    view.changes(changes ?? [], skipped ?? 0);
  },
});

let toolNames = '';
function tools(list) {
  const names = list.map((t) => t.tool);
  if (toolNames === (toolNames = names.join('\n'))) return;
  document.getElementById('tool-names').replaceChildren(...names.map((value) => h('option', { value })));
}

// The keyboard. j and k go along the links that open a call or a tool.
function step(by) {
  const links = [...main.querySelectorAll('[data-row]')].filter((a) => a.checkVisibility());
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  const next = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.max(0, Math.min(links.length - 1, at + by))];
  next.focus();
  next.scrollIntoView({ block: 'nearest' });
}

const keys = {
  '/': () => document.getElementById('q').focus(),
  j: () => step(1),
  k: () => step(-1),
  o: () => move({}),
  p: () => view === home && live.toggle(),
  '?': help,
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector('dialog[open]')) return;
  const typing = event.target.closest?.('input, textarea, select');
  if (event.key === 'Escape') {
    if (typing) typing.blur();
    else if (view !== home) history.state?.trail ? history.back() : move({});
    return;
  }
  if (typing || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});

document.getElementById('help').addEventListener('click', help);
theme(document.getElementById('theme'), home.recolour);
setInterval(tickAges, 1000);
show(false);
