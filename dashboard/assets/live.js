// The stream of what happens, and what becomes of it when the dashboard or its store goes away.

const silence = 20000; // the server says something at least every 5 s
const longest = 10000; // between two tries

// connect calls on.changes, on.overview and on.store with what the server sends, and on.link with one of 'live', 'lost'
// (trying again) whenever that changes. It never gives up.
export function connect(on) {
  let source = null;
  let tries = 0;
  let heard = 0;
  let timer = 0;
  let state = '';

  function link(next) {
    if (next === state) return;
    state = next;
    on.link(next);
  }

  function listen(name) {
    source.addEventListener(name, (event) => {
      heard = Date.now();
      tries = 0;
      link('live');
      on[name](JSON.parse(event.data));
    });
  }

  function open() {
    clearTimeout(timer);
    source?.close();
    heard = Date.now();
    source = new EventSource('api/events');
    source.onopen = () => {
      heard = Date.now();
      link('live');
    };
    source.onerror = again;
    listen('changes');
    listen('overview');
    listen('store');
  }

  // The browser tries again by itself, but not after a refusal such as 503, and not with a bound we know.
  function again() {
    source.close();
    link('lost');
    const wait = Math.min(longest, 500 * 2 ** Math.min(tries, 10)) * (0.5 + Math.random() / 2);
    tries++;
    clearTimeout(timer);
    timer = setTimeout(open, wait);
  }

  setInterval(() => {
    if (source.readyState !== EventSource.CLOSED && Date.now() - heard > silence) again();
  }, 5000);
  open();
}
