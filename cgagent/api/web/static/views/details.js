/** Processes, mounts, networks and configuration of a container. */

import { inAddress } from "../format.js";
import { html } from "../html.js";
import { Waiting } from "../parts/small.js";
import { useGet } from "../parts/use.js";

/** @param {{container: any, facts: any}} props */
export function Processes({ container, facts }) {
  const isThere = ["running", "frozen", "hibernating"].includes(facts.status);
  const { data, error } = useGet(isThere ? `/v1/containers/${container.id}/processes` : null, 3000);
  if (!isThere) return html`<p class="soft">It does not run.</p>`;
  if (!data) return html`<${Waiting} error=${error} what="its processes" />`;
  return html`<div class="card scroll" tabindex="0"><table><thead><tr>${data.titles.map((/** @type {string} */ title) => html`<th key=${title}>${title}</th>`)}</tr></thead>
    <tbody>${data.processes.map((/** @type {string[]} */ one) => html`<tr key=${one[1]}>${one.map((text, i) => html`<td key=${i} class=${i === one.length - 1 ? "mono" : ""}>${text}</td>`)}</tr>`)}</tbody></table></div>`;
}

/** @param {{container: any}} props */
export function Configuration({ container }) {
  const { config, resolved, limits, limits_held: held, overrides, mounts, networks, published_ports: ports } = container;
  return html`<div class="cards">
    <section class="card"><h2>Command</h2><pre class="wraps" tabindex="0">${container.args.join(" ")}</pre>
      <dl>
        <dt>Image</dt><dd>${container.image}</dd>
        <dt>Cgroup</dt><dd class="mono"><a href=${`#/cgroups${inAddress(container.cgroup_path)}`}>${container.cgroup_path}</a></dd>
        <dt>User</dt><dd>${resolved.user || "root"}</dd>
        <dt>Working directory</dt><dd class="mono">${resolved.working_dir}</dd>
        <dt>Restart</dt><dd>${container.restart_policy}</dd>
        <dt>Log</dt><dd class="mono">${container.log_path}</dd>
      </dl></section>
    <section class="card"><h2>Mounts</h2>${mounts.length ? html`<div class="scroll" tabindex="0"><table><tbody>${mounts.map((/** @type {any} */ one) => html`<tr key=${one.destination}>
      <td>${one.type}</td><td class="mono">${one.source}</td><td class="mono">${one.destination}</td><td>${one.read_only ? "read only" : ""}</td></tr>`)}</tbody></table></div>` : html`<p class="soft">None.</p>`}
      <h2>Networks</h2>${networks.length ? html`<div class="scroll" tabindex="0"><table><tbody>${networks.map((/** @type {any} */ one) => html`<tr key=${one.network}>
      <td>${one.network}</td><td class="mono">${(one.addresses ?? []).map((/** @type {any} */ a) => a.address).join(" ")}</td><td class="mono">${one.mac}</td></tr>`)}</tbody></table></div>` : html`<p class="soft">None.</p>`}
      ${ports?.length > 0 && html`<h2>Ports</h2><pre class="wraps" tabindex="0">${JSON.stringify(ports, null, 2)}</pre>`}</section>
    <${Json} title="Limits: asked, overrides, held" value=${{ asked: limits, overrides, held }} />
    <${Json} title="Configuration as asked" value=${config} />
  </div>`;
}

/** @param {{title: string, value: any}} props */
function Json({ title, value }) {
  return html`<section class="card"><h2>${title}</h2><pre class="json" tabindex="0" aria-label=${title}>${JSON.stringify(value, null, 2)}</pre></section>`;
}
