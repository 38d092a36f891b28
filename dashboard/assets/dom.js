// Elements without HTML text: what the ledger's records hold is only ever put into text nodes and attributes' values.

// h makes an element. Properties: class, text, on (event listeners), hidden, disabled, value; all others become attributes,
// where null, undefined and false leave one out. Children: nodes, strings, numbers, lists of them; null is none.
export function h(tag, props, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'class') el.className = value;
    else if (name === 'text') el.textContent = value;
    else if (name === 'value') el.value = value;
    else if (name === 'on') for (const [event, fn] of Object.entries(value)) el.addEventListener(event, fn);
    else el.setAttribute(name, value === true ? '' : String(value));
  }
  append(el, children);
  return el;
}

function append(el, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(el, child);
    else el.append(child);
  }
}

// put replaces what el holds.
export function put(el, ...children) {
  el.replaceChildren();
  append(el, children);
  return el;
}

// href makes a relative link to a view of this page: only the query changes.
export function href(params) {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) if (value) q.set(name, value);
  return '?' + q;
}

// link makes a link to a view.
export function link(params, text, props) {
  return h('a', { href: href(params), ...props }, text);
}

// keyed brings the children of parent into the order of items and keeps the elements of those that stay: focus and text
// selection survive a refresh. make(item) builds an element, update(el, item) brings an old one up to date.
export function keyed(parent, items, key, make, update) {
  const old = new Map();
  for (const el of parent.children) old.set(el.dataset.k, el);
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = key(item);
    let el = old.get(k);
    if (el) {
      old.delete(k);
      update?.(el, item);
    } else {
      el = make(item);
      el.dataset.k = k;
    }
    if (el === at) at = at.nextElementSibling;
    else parent.insertBefore(el, at);
  }
  for (const el of old.values()) el.remove();
}

// announce tells a screen reader.
export function announce(text) {
  document.getElementById('announce').textContent = text;
}

// toast tells everyone, for a few seconds.
export function toast(text, kind = 'good') {
  const el = h('div', { class: 'toast ' + kind, role: 'status' }, text);
  document.querySelector('.toast')?.remove();
  (document.querySelector('dialog[open]') ?? document.body).append(el);
  setTimeout(() => el.remove(), 6000);
}
