// What an empty ledger shows: how to make its first call.
import { h, toast } from './dom.js';

const shell = `ledger run --key hello-1 -- echo "hello, once"
ledger run --key hello-1 -- echo "hello, once"   # does not run again`;

const program = `package main

import (
	"context"
	"fmt"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/connect"
)

func main() {
	ctx := context.Background()
	guard, closeGuard, err := connect.FromEnv(ctx) // LEDGER_STORE, or ./ledger.db
	if err != nil {
		panic(err)
	}
	defer closeGuard(ctx)
	charge := ledger.OnceErr(guard.Workflow("order-42"), "charge_card", func(ctx context.Context, cents int) error {
		fmt.Println("charging", cents)
		return nil
	})
	for range 3 { // an agent that retries
		fmt.Println(charge(ctx, 9900))
	}
}
`;

function snippet(title, text) {
  const copy = navigator.clipboard ? h('button', {
    type: 'button', 'aria-label': 'Copy: ' + title,
    on: { click: () => navigator.clipboard.writeText(text).then(() => toast('Copied.'), () => toast('The browser did not let the page copy.', 'bad')) },
  }, 'Copy') : null;
  return h('div', { class: 'snippet' }, h('div', { class: 'head' }, h('h3', null, title), h('span', { class: 'grow' }), copy), h('pre', { class: 'code', tabindex: '0', 'aria-label': title }, text));
}

export function welcome() {
  const store = document.body.dataset.name;
  return { el: h('section', { class: 'panel welcome', id: 'welcome', 'aria-labelledby': 'welcome-title', hidden: true },
    h('h1', { id: 'welcome-title' }, 'No calls yet'),
    h('p', null, 'This page shows every guarded call, live. Make the first one; it appears here at once. Both write to the ledger of ', h('code', null, 'LEDGER_STORE'), ', and to ', h('code', null, 'ledger.db'), ' in the current folder without it', store ? [' (this page shows ', h('code', null, store), ')'] : null, '.'),
    snippet('In a shell', shell), snippet('In Go: main.go', program)) };
}
