/** The cgroups of the host as a tree; a branch is asked for when it is opened. */

import { useEffect, useState } from "../vendor/hooks.js";
import { ask, get } from "../api.js";
import { commandLine } from "../actions.js";
import { count, inAddress, percent, shortPath, size } from "../format.js";
import { html } from "../html.js";
import { confirm } from "../parts/dialog.js";
import { Waiting } from "../parts/small.js";
import { every, isMissing, useGet } from "../parts/use.js";

/** @param {{rest: string[], may: boolean}} props */
export default function Cgroups({ rest, may }) {
  const chosen = `/${rest.filter(Boolean).join("/")}`;
  return html`<article class="cgroups"><h1>Cgroups</h1>
    <div class="split">
      <section class="card tree" aria-label="Tree"><ul role="tree" aria-label="Cgroups"><${Branch} path="/" chosen=${chosen} level=${1} /></ul></section>
      <${Group} key=${chosen} path=${chosen} may=${may} />
    </div></article>`;
}

const name = (/** @type {string} */ path) => (path === "/" ? "/" : path.slice(path.lastIndexOf("/") + 1));
const link = (/** @type {string} */ path) => `#/cgroups${inAddress(path)}`;
const isWithin = (/** @type {string} */ path, /** @type {string} */ top) => top === "/" || path === top || path.startsWith(`${top}/`);

/** @param {{path: string, chosen: string, level: number, about?: any}} props */
function Branch({ path, chosen, level, about }) {
  const [opened, setOpened] = useState(isWithin(chosen, path));
  const [groups, setGroups] = useState(/** @type {any[] | null} */ (null));
  const [error, setError] = useState("");
  useEffect(() => {
    if (!opened) return undefined;
    const load = async () => {
      try {
        const found = await get(`/v1/cgroups?path=${inAddress(path)}&depth=1`);
        setGroups(found.slice(1));
        setError("");
      } catch (e) {
        setError(/** @type {Error} */ (e).message);
      }
    };
    return every(load, 5000);
  }, [opened, path]);
  useEffect(() => {
    if (isWithin(chosen, path) && chosen !== path) setOpened(true);
  }, [chosen]);
  const isLeaf = groups?.length === 0;
  const label = about?.container ?? name(path);
  const fold = (/** @type {Event} */ event) => {
    event.preventDefault();
    setOpened(!opened);
  };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    const wanted = { ArrowRight: true, ArrowLeft: false }[event.key];
    if (wanted === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    setOpened(wanted);
  };
  return html`<li role="treeitem" aria-expanded=${isLeaf ? undefined : opened} aria-level=${level} aria-selected=${chosen === path} onKeyDown=${pressed}>
    <div class=${`node ${chosen === path ? "active" : ""}`}>
      <button class="quiet fold" onClick=${fold} tabindex="-1" aria-label=${`${opened ? "Close" : "Open"} ${label}`}>${isLeaf ? "·" : opened ? "▾" : "▸"}</button>
      <a href=${link(path)}>${shortPath(label)}</a>
      ${about?.container && html`<small class="tag">container</small>`}
      ${about?.state === "frozen" && html`<small class="state-frozen">❄ frozen</small>`}
      <span class="soft number">${about ? `${size(about.memory_bytes)} · ${count(about.tasks)}` : ""}</span>
    </div>
    ${error && html`<p class="problem">${error}</p>`}
    ${opened && groups && groups.length > 0 && html`<ul role="group">${groups.map((one) => html`<${Branch} key=${one.path} path=${one.path} about=${one} chosen=${chosen} level=${level + 1} />`)}</ul>`}
  </li>`;
}

/** @param {{path: string, may: boolean}} props */
function Group({ path, may }) {
  const { data, error, reload } = useGet(`/v1/cgroups${path === "/" ? "/" : link(path).slice("#/cgroups".length)}`, 3000);
  if (!data) return html`<section class="card"><h2 class="mono">${path}</h2><${Waiting} error=${error} what="the group" /></section>`;
  if (isMissing(error)) return html`<section class="card"><h2 class="mono">${path}</h2><p role="status">This group is not there any more.</p></section>`;
  const { usage, limits_held: held } = data;
  const act = (/** @type {string} */ action, /** @type {string} */ text) => confirm({
    title: `${action} ${path}`,
    text,
    command: commandLine("cgroup", action, ...(data.container ? [] : ["--force"]), path),
    label: action,
    danger: true,
    run: async () => {
      await ask("POST", `/v1/cgroups${link(path).slice("#/cgroups".length)}`, { action, force: true });
      reload();
    },
  });
  return html`<section class="card"><h2 class="mono">${path}</h2>
    ${data.container && html`<p>It is container <a href=${`#/containers/${data.container}`}>${data.container}</a>'s.</p>`}
    <dl>
      <dt>State</dt><dd>${data.state}</dd>
      <dt>Memory</dt><dd>${size(usage.memory.current_bytes)}<small> working set ${size(usage.memory.working_set_bytes)}</small></dd>
      <dt>CPU</dt><dd>${usage.cpu.usage_ns == null ? "–" : `${(usage.cpu.usage_ns / 1e9).toFixed(1)} s`}</dd>
      <dt>Tasks</dt><dd>${count(usage.pids.current)}</dd>
      <dt>Pressure</dt><dd>${["cpu", "memory", "io"].map((kind) => usage.pressure[kind] && html`<span key=${kind}>${kind} ${percent(usage.pressure[kind].some.avg10 / 100)} </span>`)}</dd>
    </dl>
    ${may && path !== "/" && html`<div class="tools">
      ${data.state === "frozen" ? html`<button onClick=${() => act("thaw", "Its tasks go on.")}>Thaw</button>` : html`<button onClick=${() => act("freeze", "All of its tasks, and those of groups below it, stop where they are.")}>Freeze</button>`}
    </div>`}
    <h3>Limits held</h3><pre class="json" tabindex="0" aria-label="Limits held">${JSON.stringify(held, null, 2)}</pre>
  </section>`;
}
