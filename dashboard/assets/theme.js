// Light or dark: as the system says, unless a person chose.

const names = { '': 'Auto', light: 'Light', dark: 'Dark' };
const next = { '': 'light', light: 'dark', dark: '' };

function stored() {
  try {
    const t = localStorage.getItem('ledger-theme');
    return t in names ? t : '';
  } catch {
    return ''; // storage is switched off
  }
}

// theme makes button go through auto, light and dark; changed is called when colours are others.
export function theme(button, changed) {
  let now = stored();
  function apply() {
    if (now) document.documentElement.dataset.theme = now;
    else delete document.documentElement.dataset.theme;
    button.textContent = names[now];
    button.setAttribute('aria-label', 'Theme: ' + (now || 'as the system'));
  }
  button.addEventListener('click', () => {
    now = next[now];
    try {
      localStorage.setItem('ledger-theme', now);
    } catch {
      // then it holds until the page is closed
    }
    apply();
    changed();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', changed);
  apply();
}
