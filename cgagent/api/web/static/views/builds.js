/** Builds: one that is begun here, those that run and have just ended with what they tell, the steps that are kept. */

import { useRef, useState } from "../vendor/hooks.js";
import { ask, lines } from "../api.js";
import { commandLine } from "../actions.js";
import { count, moment, shortId, size, span } from "../format.js";
import { html } from "../html.js";
import { confirm } from "../parts/dialog.js";
import { useGet } from "../parts/use.js";
import { BuildOutput, Lines, useLines } from "./buildoutput.js";
import { figure, List, text } from "./list.js";
import { tarOf } from "./tar.js";

const FIRST = "FROM alpine\nRUN echo hello\n";

/** @type {import("./list.js").Kind} */
const STEPS = {
  title: "Builds",
  path: "/v1/build/cache",
  id: (row) => row.id,
  name: (row) => row.description || shortId(row.id),
  empty: html`No build has left a step: <code>cgagent build -t app .</code>`,
  sorted: ["Used", 1],
  columns: [
    text("Step", "minmax(180px, 3fr)", (row) => row.description),
    figure("Size", "minmax(80px, 0.6fr)", (row) => row.size_bytes, size),
    figure("Uses", "minmax(56px, 0.4fr)", (row) => row.uses, count),
    text("Kind", "minmax(90px, 0.7fr)", (row) => row.kind + (row.shared ? ", in an image" : "")),
    figure("Used", "minmax(84px, 0.6fr)", (row) => Date.now() / 1000 - row.used_s, (s) => `${span(s)} ago`),
  ],
  Above,
};

/** @param {{may: boolean, reload: () => void, rows: any[]}} props */
function Above({ may, reload, rows }) {
  return html`<div class="builds">${may && html`<${Build} reload=${reload} />`}<${Going} />
    ${may && rows.length > 0 && html`<${BuildCache} rows=${rows} reload=${reload} />`}</div>`;
}

/** @param {{reload: () => void}} props */
function Build({ reload }) {
  const [name, setName] = useState("");
  const [source, setSource] = useState(FIRST);
  const [context, setContext] = useState(/** @type {File | null} */ (null));
  const [state, setState] = useState({ isBusy: false, says: "", isError: false });
  const { entries, take, clear } = useLines();
  const life = useRef(/** @type {AbortController | null} */ (null));
  const go = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const running = (life.current = new AbortController());
    const asked = JSON.stringify({ names: name.trim() ? [name.trim()] : [] });
    const body = new Blob([`${asked}\n`, context ?? tarOf("Dockerfile", source)]);
    clear();
    setState({ isBusy: true, says: "Building…", isError: false });
    try {
      let error = "The agent hung up before the build had ended.";
      for await (const line of lines("POST", "/v1/build", body, running.signal)) {
        take(line);
        if (line.image || line.error) error = line.error?.detail ?? "";
      }
      setState({ isBusy: false, says: error || "Built.", isError: Boolean(error) });
      reload();
    } catch (e) {
      const isCancelled = running.signal.aborted;
      setState({ isBusy: false, says: isCancelled ? "Cancelled." : /** @type {Error} */ (e).message, isError: !isCancelled });
    }
  };
  return html`<details class="card"><summary>Build an image</summary><form class="build" onSubmit=${go}>
    <label>Name<input placeholder="app:1" spellcheck="false" value=${name} onInput=${(/** @type {any} */ e) => setName(e.target.value)} /></label>
    <label>Context: a tar from this machine; without one the Dockerfile alone<input type="file" accept=".tar,.gz,.tgz,.xz,.zst" onChange=${(/** @type {any} */ e) => setContext(e.target.files[0] ?? null)} /></label>
    ${!context && html`<label>Dockerfile<textarea rows="6" spellcheck="false" value=${source} onInput=${(/** @type {any} */ e) => setSource(e.target.value)}></textarea></label>`}
    <div class="tools">${state.isBusy ? html`<button type="button" onClick=${() => life.current?.abort()}>Cancel</button>` : html`<button class="primary">Build</button>`}
      <span role="status" class=${state.isError ? "problem" : "soft"}>${state.says}</span></div>
    ${entries.length > 0 && html`<${Lines} entries=${entries} label="Output of the build" />`}
  </form></details>`;
}

/** Builds of whoever: those that run, and the last that have ended. */
function Going() {
  const { data } = useGet("/v1/jobs?filter=name=build", 2000);
  const [opened, setOpened] = useState(0);
  if (!data?.length) return null;
  const job = data.find((/** @type {any} */ one) => one.id === opened);
  return html`<section class="card"><h2>Going on, and just ended</h2>
    <div class="scroll last" tabindex="0"><table><thead><tr><th>Build</th><th>Status</th><th class="number">Began</th><th class="number">Took</th><th>Output</th></tr></thead>
      <tbody>${data.slice(0, 8).map((/** @type {any} */ one) => html`<tr key=${one.id}><td>${one.arguments.image || `build ${one.id}`}</td><td class=${one.status === "failed" ? "bad" : ""}>${one.status}</td>
        <td class="number">${moment(one.started_at)}</td><td class="number">${one.duration_s == null ? "…" : span(one.duration_s)}</td>
        <td><button class="small" aria-expanded=${one.id === opened} onClick=${() => setOpened(one.id === opened ? 0 : one.id)}>${one.id === opened ? "Close" : "Show"}</button></td></tr>`)}</tbody></table></div>
    ${job && html`<${BuildOutput} key=${job.id} job=${job} />`}</section>`;
}

/** @param {{reload: () => void, rows: any[]}} props */
function BuildCache({ reload, rows }) {
  const prune = () => confirm({
    title: "Prune the build cache",
    text: "Steps that no build uses now are deleted; later builds make them anew.",
    command: commandLine("builder", "prune"),
    label: "Prune",
    danger: true,
    run: async () => {
      await ask("POST", "/v1/build/prune");
      reload();
    },
  });
  return html`<div class="tools"><span>${size(rows.reduce((sum, row) => sum + row.size_bytes, 0))} in ${rows.length} steps that are kept</span><button onClick=${prune}>Prune</button></div>`;
}

/** @param {{may: boolean}} props */
export default function Builds({ may }) {
  return html`<${List} kind=${STEPS} may=${may} />`;
}
