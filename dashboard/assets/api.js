// The server's routes, all relative to this page, so that it can be mounted anywhere.

export class APIError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, init) {
  let response;
  try {
    response = await fetch(path, { credentials: 'same-origin', cache: 'no-store', ...init });
  } catch (cause) {
    if (cause.name === 'AbortError') throw cause;
    throw new APIError(0, 'The dashboard does not answer. Is `ledger dashboard` still running?');
  }
  let body = null;
  try {
    body = JSON.parse(await response.text(), exact);
  } catch {
    if (response.ok) throw new APIError(response.status, 'The dashboard answered with something that is not JSON.');
  }
  if (!response.ok) throw new APIError(response.status, body?.error ?? `The dashboard answered ${response.status}.`);
  return body;
}

function query(params) {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) if (value) q.set(name, value);
  return q.size ? '?' + q : '';
}

// exact keeps the digits of numbers that JavaScript would round, where the browser can: arguments are shown as they are stored.
function exact(_, value, context) {
  return typeof value === 'number' && context?.source !== undefined && String(value) !== context.source && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
}

export const get = (route, params = {}, signal = undefined) => ask('api/' + route + query(params), { signal });

// post sends body as JSON; raw has members that are JSON text already.
export function post(route, body, raw = {}) {
  const members = Object.entries(body).map(([name, value]) => [name, JSON.stringify(value)]);
  const text = [...members, ...Object.entries(raw)].map(([name, value]) => JSON.stringify(name) + ':' + value);
  return ask('api/' + route, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{' + text.join() + '}' });
}
