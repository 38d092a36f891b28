// Questions that are asked before anything is changed: each wants a reason, and says who decides.
import { h, toast } from './dom.js';
import { num } from './format.js';
import { get, post } from './api.js';

const defaultBy = document.body.dataset.by || 'dashboard';

function remembered() {
  try {
    return localStorage.getItem('ledger-by') || defaultBy;
  } catch {
    return defaultBy; // storage is switched off
  }
}

function remember(by) {
  try {
    localStorage.setItem('ledger-by', by);
  } catch {
    // then it has to be typed again
  }
}

// ask shows a dialog and resolves to true when send, which gets the form's values and throws what went wrong, is done.
// fields are extra elements; send's error stays in the dialog, with what was typed.
function ask({ title, lines, fields = [], button, kind = 'primary', check = null, send }) {
  return new Promise((done) => {
    const error = h('p', { class: 'error', role: 'alert', hidden: true });
    const reason = h('textarea', { name: 'reason', rows: '2', required: true, maxlength: '1000', id: 'dialog-reason', placeholder: 'How do you know? It is kept with the call.' });
    const by = h('input', { name: 'by', required: true, maxlength: '200', value: remembered(), autocomplete: 'off', spellcheck: 'false' });
    const ok = h('button', { type: 'submit', class: kind, id: 'dialog-ok' }, button);
    const form = h('form', { novalidate: true },
      h('h2', { id: 'dialog-title' }, title), lines.map((line) => h('p', null, line)), fields,
      h('label', null, h('span', null, 'Reason'), reason), h('label', null, h('span', null, 'Decided by'), by), error,
      h('div', { class: 'buttons' }, h('button', { type: 'button', id: 'dialog-cancel', on: { click: () => dialog.close() } }, 'Cancel'), ok));
    const dialog = h('dialog', { 'aria-labelledby': 'dialog-title' }, form);
    let result = false;

    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      error.hidden = true;
      try {
        const values = Object.fromEntries(new FormData(form));
        if (!values.reason.trim()) throw refusal('Say why: the reason is kept with the call.', reason);
        if (!values.by.trim()) throw refusal('Say who decides.', by);
        check?.(values);
        ok.disabled = true;
        remember(values.by.trim());
        const text = await send({ ...values, reason: values.reason.trim(), by: values.by.trim() });
        result = true;
        dialog.close();
        toast(text);
      } catch (err) {
        error.textContent = err.message;
        error.hidden = false;
        err.field?.focus();
      } finally {
        ok.disabled = false;
      }
    });
    dialog.addEventListener('close', () => {
      dialog.remove();
      done(result);
    });
    document.body.append(dialog);
    dialog.showModal();
    (fields[0]?.querySelector?.('input,textarea') ?? reason).focus();
  });
}

function refusal(message, field) {
  const err = new Error(message);
  err.field = field;
  return err;
}

const name = (call) => h('span', null, h('b', null, call.tool), ' of ', h('b', null, call.workflow), call.key ? [', key ', h('b', null, call.key)] : null);

// resolve settles a call that is in doubt.
export function resolve(call, as) {
  const about = name(call);
  if (as === 'happened') {
    const result = h('textarea', { name: 'result', rows: '3', id: 'dialog-result', spellcheck: 'false', placeholder: 'JSON, or nothing' });
    return ask({
      title: 'It happened', button: 'Record it as done', lines: [about, 'The call is recorded as succeeded and never runs again. Duplicates that replay get this result.'],
      fields: [h('label', null, h('span', null, 'Result (optional)'), result)],
      check(values) {
        if (!values.result.trim()) return;
        try {
          JSON.parse(values.result);
        } catch (err) {
          throw refusal('The result is not JSON: ' + err.message + '. Text needs quotes: "done".', result);
        }
      },
      async send({ by, reason, result: text }) {
        // As it was typed: JavaScript would round large numbers.
        await post('resolve', { id: call.id, as, by, reason }, { result: text.trim() || 'null' });
        return 'Recorded: it happened.';
      },
    });
  }
  const forget = as === 'forget';
  return ask({
    title: forget ? 'Forget the call' : 'It did not happen', kind: forget ? 'danger' : 'primary',
    button: forget ? 'Forget it' : 'Allow a retry',
    lines: [about, forget ? 'The record is removed, with its attempts. The next such call runs as if it were the first, with a new token.' : 'The call is recorded as failed without an effect. The next such call runs again. If it did happen after all, it happens twice.'],
    async send({ by, reason }) {
      await post('resolve', { id: call.id, as, by, reason });
      return forget ? 'Forgotten.' : 'Recorded: the next call runs again.';
    },
  });
}

// retry forgets the outcome of a finished call.
export function retry(call) {
  return ask({
    title: 'Let it run again', button: 'Allow another run', kind: call.status === 'succeeded' ? 'danger' : 'primary',
    lines: [name(call), call.status === 'succeeded' ? 'This call succeeded. Its outcome is forgotten, and the next such call does it once more.' : 'Its outcome is forgotten: the next such call runs.'],
    async send({ by, reason }) {
      await post('retry', { id: call.id, version: call.version, by, reason });
      return 'The next such call runs.';
    },
  });
}

// clear removes a workflow's records, after its name has been typed.
export async function clear(workflow) {
  let at;
  try {
    at = await get('clear', { workflow });
  } catch (err) {
    toast(err.message, 'bad');
    return false;
  }
  const confirm = h('input', { name: 'confirm', id: 'dialog-confirm', autocomplete: 'off', spellcheck: 'false' });
  const lines = [
    h('span', null, h('b', { class: 'num' }, num(at.count)), at.count === 1 ? ' call of ' : ' calls of ', h('b', null, workflow), at.count === 1 ? ' is removed.' : ' are removed.', ' Each of them runs again if it comes again.'),
    at.running ? `${num(at.running)} of its calls are running and stay.` : null,
  ].filter(Boolean);
  return ask({
    title: 'Clear a workflow', button: `Remove ${num(at.count)} ${at.count === 1 ? 'call' : 'calls'}`, kind: 'danger', lines,
    fields: [h('label', null, h('span', null, 'Type ', h('code', null, workflow), ' to confirm'), confirm)],
    check(values) {
      if (values.confirm !== workflow) throw refusal(`Type the workflow's name, ${workflow}, to confirm.`, confirm);
    },
    async send({ by, reason, confirm: typed }) {
      const { deleted, running_left: left } = await post('clear', { workflow, confirm: typed, count: at.count, by, reason });
      return `${num(deleted)} ${deleted === 1 ? 'call' : 'calls'} removed.` + (left ? ` ${num(left)} are still running.` : '');
    },
  });
}

const keys = [
  ['/', 'search'], ['j', 'next call'], ['k', 'previous call'], ['Enter', 'open the call'], ['Esc', 'back, or close'],
  ['o', 'overview'], ['p', 'pause or resume the feed'], ['?', 'this help'],
];

export function help() {
  if (document.querySelector('dialog[open]')) return;
  const dialog = h('dialog', { 'aria-labelledby': 'dialog-title', id: 'help-dialog' },
    h('h2', { id: 'dialog-title' }, 'Keys'),
    h('dl', { class: 'keys' }, keys.map(([key, what]) => [h('dt', null, h('kbd', null, key)), h('dd', null, what)])),
    h('div', { class: 'buttons' }, h('button', { type: 'button', class: 'primary', on: { click: () => dialog.close() } }, 'Close')));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
