// The page that asks for the token. The answer to a right one is a cookie that no script can read.
const form = document.getElementById('login');
const error = document.getElementById('error');
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  error.textContent = '';
  const button = form.querySelector('button');
  button.disabled = true;
  try {
    const response = await fetch('api/login', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ token: document.getElementById('token').value }),
    });
    if (response.ok) {
      location.reload();
      return;
    }
    error.textContent = (await response.json()).error;
  } catch {
    error.textContent = 'The dashboard does not answer; see that it runs.';
  }
  button.disabled = false;
});
