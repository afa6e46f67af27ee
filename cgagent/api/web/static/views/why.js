/** Why it is slow, in words, with the evidence. */

import { useState } from "../vendor/hooks.js";
import { get } from "../api.js";
import { cores, percent, rate, shortPath, size, span } from "../format.js";
import { html } from "../html.js";
import { Command } from "../parts/dialog.js";

const WINDOWS = { "the next second": "window_s=1", "the next 10 seconds": "window_s=10", "the last 10 minutes": "since=" };

/** @param {{container: any}} props */
export function Why({ container }) {
  const [found, setFound] = useState(/** @type {any} */ (null));
  const [error, setError] = useState("");
  const [asking, setAsking] = useState("");
  const ask = async (/** @type {string} */ label, /** @type {string} */ query) => {
    setAsking(label);
    setError("");
    try {
      const exact = query.endsWith("=") ? `${query}${Date.now() / 1000 - 600}` : query;
      setFound(await get(`/v1/containers/${container.id}/why?${exact}`));
    } catch (e) {
      setError(/** @type {Error} */ (e).message);
    }
    setAsking("");
  };
  return html`<section>
    <div class="tools"><span>What holds it back in</span>${Object.entries(WINDOWS).map(([label, query]) => html`<button key=${label}
      disabled=${asking} onClick=${() => ask(label, query)}>${asking === label ? "Looking…" : label}</button>`)}</div>
    ${error && html`<p class="problem" role="alert">${error}</p>`}
    <div aria-live="polite">${found && html`<${Explanation} found=${found} />`}</div>
    ${!found && !asking && html`<p class="soft">The agent looks at what its tasks waited for, and says whose fault that was.</p>`}
  </section>`;
}

/** @param {{found: any}} props */
function Explanation({ found }) {
  return html`<p class="verdict">${found.verdict}</p>
    <p class="soft">Looked at for ${span(found.span_s)}. Lost to waiting: CPU ${percent(found.lost?.cpu)}, memory ${percent(found.lost?.memory)}, I/O ${percent(found.lost?.io)}.</p>
    ${found.causes.map((/** @type {any} */ cause, /** @type {number} */ i) => html`<section class="card" key=${i}>
      <h2>${percent(cause.share)} · ${cause.says}</h2>
      <div class="scroll evidence" tabindex="0"><table><tbody>${cause.evidence.map((/** @type {any} */ one, /** @type {number} */ n) => html`<tr key=${n}>
        <td>${one.what}</td><td class="number">${one.value} ${one.unit}</td><td class="mono soft" title=${one.file}>${shortPath(one.file)}</td></tr>`)}</tbody></table></div>
      ${cause.commands.map((/** @type {string} */ text) => html`<${Command} key=${text} text=${text} />`)}
    </section>`)}
    ${found.neighbours.length > 0 && html`<section class="card"><h2>Neighbours</h2><div class="scroll" tabindex="0"><table>
      <thead><tr><th>Group</th><th class="number">CPU</th><th class="number">Memory</th><th class="number">I/O</th></tr></thead>
      <tbody>${found.neighbours.map((/** @type {any} */ one) => html`<tr key=${one.cgroup}><td>${one.container ?? html`<span class="mono">${one.cgroup}</span>`}</td>
        <td class="number">${cores(one.cpu_cores)}</td><td class="number">${size(one.memory_bytes)}</td><td class="number">${rate(one.io_bytes_per_s)}</td></tr>`)}</tbody></table></div></section>`}`;
}
