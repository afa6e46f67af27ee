/** One container: what it is, what can be done to it, and a tab for each way to look at it. */

import { useEffect } from "../vendor/hooks.js";
import { html } from "../html.js";
import { ACTIONS } from "../actions.js";
import { age, shortId } from "../format.js";
import { useFleet } from "../live.js";
import { Marks, State, Waiting } from "../parts/small.js";
import { isMissing, useGet } from "../parts/use.js";
import { Charts } from "./charts.js";
import { Configuration, Processes } from "./details.js";
import { perform } from "./fleet.js";
import { Held } from "./held.js";
import { LimitsEditor } from "./limits.js";
import { Logs } from "./logs.js";
import { Terminal } from "./terminal.js";
import { Why } from "./why.js";

/** @type {Record<string, [string, any]>} */
const TABS = {
  charts: ["Charts", Charts],
  why: ["Why", Why],
  logs: ["Logs", Logs],
  limits: ["Limits", LimitsEditor],
  held: ["Automatic", Held],
  terminal: ["Terminal", Terminal],
  processes: ["Processes", Processes],
  configuration: ["Configuration", Configuration],
};

/** Those that show what the fleet does not tell: how much of a budget is used, what the kernel holds. */
const TELLS_ALL = new Set([LimitsEditor, Held, Configuration]);

/** How often its state is asked for. What has come and gone between two rounds of the fleet was never in it. @param {any} row @param {any} View */
function everyMs(row, View) {
  if (!row) return 3000;
  return TELLS_ALL.has(View) ? 10000 : 30000;
}

/** @param {{rest: string[], may: boolean}} props */
export default function Container({ rest, may }) {
  const [reference, tab = "charts"] = rest;
  const fleet = useFleet();
  const row = [...fleet.rows.values()].find((one) => one.id.startsWith(reference) || one.facts.name === reference);
  const [, View] = Object.hasOwn(TABS, tab) ? TABS[tab] : TABS.charts;
  const { data, error, reload } = useGet(`/v1/containers/${encodeURIComponent(reference)}`, everyMs(row, View));
  useEffect(() => {
    if (data) reload(); // it has begun, ended, is gone, or has other limits
  }, [row?.facts]);
  if (!data) return html`<${Waiting} error=${error} what="the container" />`;
  if (isMissing(error)) return html`<${Gone} name=${data.name} />`;
  const facts = row ? { ...row.facts, name: data.name } : { ...data.state, kind: "container", name: data.name };
  const act = async (/** @type {import("../actions.js").Action} */ action) => {
    await perform(action, data.id, facts);
    reload();
  };
  return html`<article class="container">
    <div class="title">
      <h1>${data.name}</h1><${State} facts=${facts} /><${Marks} facts=${facts} />
      <span class="soft"><span class="mono">${shortId(data.id)}</span> · ${data.image} · ${data.state.started_ns ? `started ${age(data.state.started_ns)} ago` : `created ${age(data.created_ns)} ago`}${data.restart_count ? ` · restarted ${data.restart_count} times` : ""}</span>
      ${may && html`<div class="buttons">${Object.values(ACTIONS)
        .filter((one) => one.fits(facts))
        .map((one) => html`<button key=${one.label} class=${one.warning ? "warns" : ""} onClick=${() => act(one)}>${one.label}</button>`)}</div>`}
    </div>
    ${error && html`<p class="problem" role="alert">${error.message}</p>`}
    ${data.state.error && html`<p class="problem">${data.state.error}</p>`}
    <nav class="tabs" aria-label="Views of the container">${Object.entries(TABS).map(([key, [title]]) => html`<a key=${key}
      href=${`#/containers/${encodeURIComponent(reference)}/${key}`} aria-current=${TABS[key][1] === View ? "page" : undefined}>${title}</a>`)}</nav>
    <${View} container=${data} row=${row} facts=${facts} may=${may} reload=${reload} />
  </article>`;
}

/** @param {{name: string}} props */
function Gone({ name }) {
  return html`<article class="container"><div class="title"><h1>${name}</h1><span class="state state-exited"><span aria-hidden="true">✕</span> removed</span></div>
    <p role="status">This container is not there any more. <a href="#/">All containers</a></p></article>`;
}
