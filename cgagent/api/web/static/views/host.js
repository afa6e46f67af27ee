/** The host: what there is, what is promised and used, and what it can do for containers. */

import { cores, percent, size, span } from "../format.js";
import { html } from "../html.js";
import { Command } from "../parts/dialog.js";
import { Bar, Waiting } from "../parts/small.js";
import { useGet } from "../parts/use.js";

export default function Host() {
  const info = useGet("/v1/info", 10000);
  const capacity = useGet("/v1/capacity", 5000);
  const abilities = useGet("/v1/system/abilities");
  const disk = useGet("/v1/system/df", 60000);
  const findings = useGet("/v1/networks/findings");
  return html`<article>
    <h1>Host</h1>
    <div class="cards">
      <section class="card wide"><h2>Capacity</h2>${capacity.data ? html`<${Capacity} scopes=${capacity.data.scopes} />` : html`<${Waiting} error=${capacity.error} what="the capacity" />`}</section>
      <section class="card"><h2>Agent</h2>${info.data ? html`<${Agent} info=${info.data} />` : html`<${Waiting} error=${info.error} what="the agent" />`}</section>
      <section class="card"><h2>Disk</h2>${disk.data ? html`<${Disk} disk=${disk.data} info=${info.data} />` : html`<${Waiting} error=${disk.error} what="the disk" />`}</section>
      <section class="card wide"><h2>What this host can do</h2>${abilities.data ? html`<${Abilities} list=${abilities.data} />` : html`<${Waiting} error=${abilities.error} what="the doctor" />`}</section>
      ${findings.data?.length > 0 && html`<section class="card wide"><h2>What stands in the way of containers' traffic</h2><${Findings} list=${findings.data} /></section>`}
    </div>
  </article>`;
}

/** @type {Record<string, [string, (value: any) => string]>} */
const WORDS = { memory: ["Memory", size], cpus: ["CPU", cores] };

/** @param {{scopes: any[]}} props */
function Capacity({ scopes }) {
  return scopes.map((scope) => html`<div key=${scope.path} class="scope"><h3 class="mono">${scope.path === "/" ? "the host" : scope.path}</h3>
    ${scope.rooms.map((/** @type {any} */ room) => {
      const [label, show] = WORDS[room.resource] ?? [room.resource, String];
      return html`<div key=${room.resource} class="room"><b>${label}</b><div>
        ${["promised", "held"].map((kind) => html`<p key=${kind}><span>${kind === "held" ? "limits held" : "promised"} ${show(room[kind])}${room.total ? html`<small> of ${show(room.total)}, ${percent(room[kind] / room.total)}</small>` : ""}</span><${Bar} used=${room[kind]} limit=${room.total} label=${`${label} ${kind}`} /></p>`)}
        ${room.used.most == null ? html`<p class="soft">Nothing has run in it so far as figures are kept.</p>` : html`<p><span>${room.used.now == null ? "used nothing" : `used ${show(room.used.now)}`}<small> now; half of the time ${show(room.used.p50)}, 95 % of it ${show(room.used.p95)}, at most ${show(room.used.most)} in ${span(room.used.span_s)}</small></span><${Bar} used=${room.used.now} limit=${room.total} label=${`${label} used`} /></p>`}
        <small>${room.limited} with a limit, ${room.unlimited} without one</small></div></div>`;
    })}</div>`);
}

/** @param {{info: any}} props */
function Agent({ info }) {
  return html`<dl>
    <dt>Version</dt><dd>${info.version}, up ${span(info.time - info.started_at)}</dd>
    <dt>Kernel</dt><dd>${info.kernel}, ${info.machine}</dd>
    <dt>Cgroups</dt><dd>${info.cgroup_layout}, containers in <span class="mono">${info.cgroup_parent}</span></dd>
    <dt>Controllers</dt><dd>${Object.entries(info.controllers).map(([name, version]) => html`<span key=${name} class="tag">${name} <small>${version}</small></span>`)}</dd>
    <dt>Storage</dt><dd>${info.storage_driver}<small> ${info.storage_limits}</small></dd>
    <dt>Metrics</dt><dd class="mono">${info.metrics_listen || "off"}</dd>
  </dl>`;
}

/** @param {{disk: any, info: any}} props */
function Disk({ disk, info }) {
  const written = disk.containers.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + (one.size_rw_bytes ?? 0), 0);
  const volumes = disk.volumes.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + (one.size_bytes ?? 0), 0);
  return html`<dl>
    <dt>Images</dt><dd>${size(disk.layers_bytes)}<small> unpacked, ${size(disk.blobs_bytes)} as fetched, ${size(disk.reclaimable_bytes)} used by nothing</small></dd>
    <dt>Containers</dt><dd>${size(written)}<small> written by ${disk.containers.length}</small></dd>
    <dt>Volumes</dt><dd>${size(volumes)}<small> in ${disk.volumes.length}</small></dd>
    <dt>Free</dt><dd>${size(info?.data_root_free_bytes)}<small> at ${info?.data_root}</small></dd>
  </dl>
  <${Command} text="cgagent system prune" />`;
}

/** @param {{list: any[]}} props */
function Abilities({ list }) {
  const order = [...list].sort((a, b) => Number(a.there) - Number(b.there) || Number(b.needed) - Number(a.needed));
  return html`<div class="scroll" tabindex="0"><table><thead><tr><th>Ability</th><th>Here</th><th>What it is for</th><th>How to have it</th></tr></thead>
    <tbody>${order.map((one) => html`<tr key=${one.name}><td>${one.name}</td><td class=${one.there ? "good" : one.needed ? "bad" : "soft"}>${one.there ? "✓ yes" : one.needed ? "✖ missing" : "○ no"}</td>
      <td>${one.detail}</td><td>${one.remedy ? html`<code>${one.remedy}</code>` : ""}</td></tr>`)}</tbody></table></div>`;
}

/** @param {{list: any[]}} props */
function Findings({ list }) {
  return list.map((one, i) => html`<div key=${i}><p><b>${one.object}</b>: ${one.cause}</p>
    ${one.commands.map((/** @type {string} */ text) => html`<${Command} key=${text} text=${text} />`)}</div>`);
}
