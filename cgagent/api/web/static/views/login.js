/** Asked for where the page comes over TCP: a token. */

import { useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { keepToken, token } from "../api.js";

/** @param {{problem: any, enter: () => Promise<void>}} props */
export function Login({ problem, enter }) {
  const [text, setText] = useState("");
  const [isBusy, setBusy] = useState(false);
  const go = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setBusy(true);
    keepToken(text.trim());
    await enter();
    setBusy(false);
  };
  const isRefused = problem.status === 401 || problem.status === 403;
  const wasGiven = token() || problem.status !== 401;
  return html`<main class="login">
    <form onSubmit=${go}>
      <h1><img src="icon.svg" alt="" width="36" height="36" /> cgagent</h1>
      ${isRefused ? "" : html`<p class="problem" role="alert">The agent cannot be asked: ${problem.message}</p>`}
      ${isRefused && wasGiven ? html`<p class="problem" role="alert">${problem.message}</p>` : ""}
      <label for="token">Token</label>
      <input id="token" type="password" autocomplete="current-password" required autofocus value=${text} onInput=${(/** @type {any} */ e) => setText(e.target.value)} />
      <button class="primary" disabled=${isBusy}>${isBusy ? "Signing in…" : "Sign in"}</button>
      <p class="hint">On the agent's host <code>cgagent ui</code> prints a link that signs you in, and <code>cgagent token create NAME</code> makes a token. It stays in this tab, and is forgotten with it.</p>
    </form>
  </main>`;
}
