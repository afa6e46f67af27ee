/** Images: listed, pulled with progress, removed; and the steps that builds have kept. */

import { useRef, useState } from "../vendor/hooks.js";
import { ask, lines } from "../api.js";
import { commandLine } from "../actions.js";
import { percent, shortId, size, span } from "../format.js";
import { html } from "../html.js";
import { Bar } from "../parts/small.js";
import { useGet } from "../parts/use.js";
import { List } from "./list.js";

const BUILT_IN = "host";

/** @type {import("./list.js").Kind} */
const KIND = {
  title: "Images",
  path: "/v1/images",
  id: (row) => row.id,
  name: (row) => row.names[0] ?? shortId(row.id),
  empty: "No image yet: pull one above.",
  columns: [
    { title: "Name", width: "minmax(150px, 3fr)", value: (row) => row.names[0] ?? "", cell: (row) => row.names.join(", ") || html`<span class="soft">no name</span>` },
    { title: "Size", width: "minmax(80px, 0.7fr)", isNumber: true, value: (row) => row.size_bytes, cell: (row) => size(row.size_bytes) },
    { title: "Id", width: "minmax(110px, 1fr)", value: (row) => row.id, cell: (row) => html`<span class="mono">${shortId(row.id)}</span>` },
    { title: "Layers", width: "minmax(60px, 0.5fr)", isNumber: true, value: (row) => row.layers.length, cell: (row) => row.layers.length },
    { title: "Made", width: "minmax(90px, 0.8fr)", isNumber: true, value: (row) => (row.created ? -Date.parse(row.created) : null), cell: (row) => (row.created ? `${span((Date.now() - Date.parse(row.created)) / 1000)} ago` : "–") },
    { title: "Command", width: "minmax(140px, 2fr)", value: (row) => [...row.config.entrypoint, ...row.config.cmd].join(" "), cell: (row) => html`<span class="mono">${[...row.config.entrypoint, ...row.config.cmd].join(" ")}</span>` },
  ],
  actions: [
    {
      label: "Remove",
      fits: (row) => row.names[0] !== BUILT_IN,
      warning: "Its names go, and its layers if nothing else has them.",
      command: (row) => commandLine("rmi", row.names[0] ?? row.id),
      run: (row) => ask("DELETE", `/v1/images/${encodeURI(row.names[0] ?? row.id)}`),
    },
  ],
  Above: Pull,
};

/** @param {{may: boolean, reload: () => void}} props */
function Pull({ may, reload }) {
  const [name, setName] = useState("");
  const [parts, setParts] = useState(/** @type {Map<string, any>} */ (new Map()));
  const [state, setState] = useState({ isBusy: false, says: "", isError: false });
  const life = useRef(/** @type {AbortController | null} */ (null));
  if (!may) return null;
  const go = async (/** @type {Event} */ event) => {
    event.preventDefault();
    life.current = new AbortController();
    const found = new Map();
    setParts(found);
    setState({ isBusy: true, says: "Asking the registry…", isError: false });
    try {
      for await (const line of lines("POST", "/v1/images/pull", { name: name.trim() }, life.current.signal)) {
        if (line.error) throw new Error(line.error.detail);
        if (!line.progress) continue;
        const { layer, status } = line.progress;
        if (layer) found.set(layer, line.progress);
        else setState({ isBusy: true, says: status, isError: false });
        setParts(new Map(found));
      }
      setState({ isBusy: false, says: `Pulled ${name}`, isError: false });
      reload();
    } catch (e) {
      const isCancelled = life.current.signal.aborted;
      setState({ isBusy: false, says: isCancelled ? "Cancelled." : /** @type {Error} */ (e).message, isError: !isCancelled });
    }
  };
  return html`<form class="pull" onSubmit=${go}>
    <div class="tools"><label class="search"><span class="hidden">Image to pull</span><input required placeholder="Image to pull: alpine:3.23" spellcheck="false" value=${name} onInput=${(/** @type {any} */ e) => setName(e.target.value)} /></label>
      ${state.isBusy ? html`<button type="button" onClick=${() => life.current?.abort()}>Cancel</button>` : html`<button class="primary">Pull</button>`}
      <span role="status" class=${state.isError ? "problem" : "soft"}>${state.says}</span></div>
    ${parts.size > 0 && html`<ul class="progress" aria-label="Progress">${[...parts].map(([layer, part]) => html`<${Part} key=${layer} part=${part} />`)}</ul>`}
    ${!state.isBusy && html`<${Others} />`}
  </form>`;
}

/** What others pull: the command line, a run, another page. */
function Others() {
  const { data } = useGet("/v1/jobs?filter=name=pull&filter=status=running", 2000);
  if (!data?.length) return null;
  return html`<ul class="progress" aria-label="Pulls by others">${data.map((/** @type {any} */ job) => html`<li key=${job.id}>${job.arguments.image} <span class="soft">${job.progress || "begun"}</span></li>`)}</ul>`;
}

/** @param {{part: any}} props */
function Part({ part }) {
  const { layer, status, current_bytes: current, total_bytes: total } = part;
  return html`<li><span class="mono">${layer}</span> ${status} ${total ? percent(Math.min(1, current / total)) : ""}
    <${Bar} used=${current} limit=${total} label=${`Progress of ${layer}`} /></li>`;
}

/** @param {{may: boolean}} props */
export default function Images({ may }) {
  return html`<${List} kind=${KIND} may=${may} />`;
}
