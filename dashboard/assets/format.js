// How values look: numbers, ages, states.
import { h } from './dom.js';

const grouped = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const num = (n) => grouped.format(n ?? 0);
export const compact = (n) => ((n ?? 0) < 100000 ? grouped.format(n ?? 0) : short.format(n));

// percent of a in b, '0%' of nothing.
export function percent(a, b) {
  if (!b) return '0%';
  const p = (100 * a) / b;
  return (p > 0 && p < 10 ? p.toFixed(1) : Math.round(p)) + '%';
}

// span names a length in milliseconds: 350 ms, 4.2 s, 3 min 20 s, 5 h 10 min, 12 d.
export function span(ms) {
  if (!Number.isFinite(ms)) return '';
  if (ms < 0) ms = 0;
  if (ms < 1) return '<1 ms';
  if (ms < 1000) return Math.round(ms) + ' ms';
  const s = ms / 1000;
  if (s < 10) return s.toFixed(1) + ' s';
  if (s < 60) return Math.floor(s) + ' s';
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} min ${Math.floor(s % 60)} s`;
  const hours = Math.floor(m / 60);
  if (hours < 48) return `${hours} h ${m % 60} min`;
  return Math.floor(hours / 24) + ' d';
}

// nanos reads a length in nanoseconds.
export const nanos = (ns) => (ns < 1e6 ? Math.max(1, Math.round(ns / 1e3)) + ' µs' : span(ns / 1e6));

export function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return (i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + ' ' + units[i];
}

// The server's clock, not this machine's: ages are differences of its times.
let skew = 0;
export function clockFrom(now) {
  const t = Date.parse(now);
  if (Number.isFinite(t)) skew = t - Date.now();
}
export const serverNow = () => Date.now() + skew;

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const whole = new Intl.DateTimeFormat('en-GB', { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 });

// when shows a time, short, with the whole of it on hover.
export function when(at, full = false) {
  const t = Date.parse(at);
  if (!(t > 0)) return h('span', { class: 'faint' }, '–');
  const d = new Date(t);
  const today = new Date(serverNow()).toDateString() === d.toDateString();
  const text = full ? whole.format(d) : today ? clock.format(d) : `${day.format(d)} ${clock.format(d)}`;
  return h('time', { datetime: at, title: at, class: 'num' }, text);
}

// age shows how long ago a time was; tickAges keeps it true.
export function age(at) {
  const t = Date.parse(at);
  if (!(t > 0)) return h('span', { class: 'faint' }, '–');
  return h('time', { datetime: at, title: at, class: 'num', 'data-age': t }, span(serverNow() - t));
}

export function tickAges() {
  for (const el of document.querySelectorAll('[data-age]')) {
    const text = span(serverNow() - Number(el.dataset.age));
    if (el.textContent !== text) el.textContent = text;
  }
}

// State: a word and a sign, and a colour on top.
const states = {
  succeeded: ['✓', 'succeeded'],
  failed: ['✕', 'failed'],
  in_doubt: ['?', 'in doubt'],
  running: ['▸', 'running'],
  unlimited: ['∞', 'unlimited'],
  blocked: ['⊘', 'blocked'],
  deleted: ['−', 'removed'],
};

export const stateText = (s) => states[s]?.[1] ?? String(s);

export function chip(state, text) {
  const [sign, word] = states[state] ?? ['·', String(state)];
  return h('span', { class: 'chip', 'data-state': states[state] ? state : 'other' }, h('i', { 'aria-hidden': 'true' }, sign), text ?? word);
}

export const printID = (f) => (f ? f.slice(0, 8) : '');

// pretty prints JSON; what is no JSON stays as it is. Long text is cut, and says so.
export function pretty(value, most = 200000) {
  const text = typeof value === 'string' ? JSON.stringify(value) : JSON.stringify(value, null, 2);
  if (text === undefined) return '';
  return text.length > most ? text.slice(0, most) + `\n… ${num(text.length - most)} more characters; ledger get prints all` : text;
}
