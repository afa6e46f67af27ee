/** All containers and watched groups. */

import { useEffect, useMemo, useRef, useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { ACTIONS, commandLine } from "../actions.js";
import { age, cores, count, inAddress, percent, rate, shortId, size } from "../format.js";
import { fill, useFleet } from "../live.js";
import { attempt, confirm } from "../parts/dialog.js";
import { Bar, Marks, Spark, State } from "../parts/small.js";
import { Table } from "../parts/table.js";
import { useMedia } from "../parts/use.js";
import { matcher } from "./filter.js";

const KEYS = [
  ["/", "search"],
  ["↑ ↓", "move"],
  ["Enter", "open"],
  ["f", "freeze or thaw"],
  ["s", "stop"],
  ["r", "restart"],
  ["t", "start"],
];

/** @param {{may: boolean}} props */
export function Fleet({ may }) {
  const fleet = useFleet();
  const [text, setText] = useState("");
  const [status, setStatus] = useState("");
  const search = useRef(/** @type {any} */ (null));
  const isPhone = useMedia("(max-width: 700px)");
  const isNarrow = useMedia("(max-width: 1180px)");
  const all = [...fleet.rows.values()];
  const rows = useMemo(() => {
    const fits = matcher(text);
    return [...fleet.rows.values()].filter((row) => fits(row) && (!status || row.facts.status === status));
  }, [fleet, text, status]);
  const isVast = useMedia("(min-width: 1560px)");
  const columns = useMemo(() => (isPhone ? PHONE : wide(may, isNarrow, isVast)), [isPhone, isNarrow, isVast, may]);

  useEffect(() => {
    const pressed = (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "/" || /** @type {Element} */ (event.target).closest("input, textarea, dialog")) return;
      event.preventDefault();
      search.current.focus();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);

  const act = (/** @type {string} */ key, /** @type {any} */ row) => {
    const found = Object.values(ACTIONS).find((one) => one.key === key && one.fits(row.facts));
    if (!found || !may || row.facts.kind !== "container") return false;
    perform(found, row.id, row.facts);
    return true;
  };
  return html`<section class="fleet">
    <h1 class="hidden">Containers</h1>
    <div class="tools">
      <label class="search"><span class="hidden">Search</span>
        <input ref=${search} type="search" value=${text} placeholder="Search: name, image, cpu>0.5, mem>100m" spellcheck="false"
          onInput=${(/** @type {any} */ e) => setText(e.target.value)}
          onKeyDown=${(/** @type {KeyboardEvent} */ e) => e.key === "Escape" && (setText(""), search.current.blur())} />
      </label>
      <${Statuses} rows=${all} chosen=${status} choose=${setStatus} />
    </div>
    <${Table} label="Containers" columns=${columns} rows=${rows} id=${idOf} version=${fleet.round} height=${isPhone ? 74 : 40}
      onOpen=${open} onKey=${act} sorted=${["CPU", -1]}
      empty=${fleet.state === "connecting" ? "Asking the agent…" : all.length ? "Nothing here is like that." : html`No container yet: <code>cgagent run -d --name web --memory 64m alpine sleep 1h</code>`} />
    <p class="keys" aria-label="Keys">${KEYS.map(([key, what]) => html`<span key=${key}><kbd>${key}</kbd> ${what}</span>`)}</p>
  </section>`;
}

const idOf = (/** @type {any} */ row) => row.id;

/** @param {any} row */
function open(row) {
  const place = row.facts.kind === "container" ? `containers/${row.id.slice(0, 12)}` : `cgroups${inAddress(row.facts.cgroup)}`;
  location.hash = `#/${place}`;
}

/** Ask first where something is lost. @param {import("../actions.js").Action} action @param {string} id @param {any} facts */
export function perform(action, id, facts) {
  const run = () => action.run(id);
  if (!action.warning) return attempt(`${action.label}: ${facts.name}`, run);
  return confirm({
    title: `${action.label} ${facts.name}`,
    text: action.warning,
    command: commandLine(action.command, facts.name),
    label: action.label,
    danger: true,
    run,
  });
}

/** @param {{rows: any[], chosen: string, choose: (status: string) => void}} props */
function Statuses({ rows, chosen, choose }) {
  const counts = new Map();
  for (const row of rows) counts.set(row.facts.status, (counts.get(row.facts.status) ?? 0) + 1);
  const chip = (/** @type {string} */ status, /** @type {string} */ label, /** @type {number} */ n) => html`<button key=${status} class="chip" aria-pressed=${chosen === status} onClick=${() => choose(chosen === status ? "" : status)}>${label} <b>${n}</b></button>`;
  return html`<div class="chips" role="group" aria-label="By state">
    ${chip("", "all", rows.length)}
    ${[...counts].sort().map(([status, n]) => chip(status, status, n))}
  </div>`;
}

const cpu = (/** @type {any} */ row) => row.figures.cpu_cores;
const memory = (/** @type {any} */ row) => row.figures.working_set_bytes;
const io = (/** @type {any} */ row) => (row.figures.read_bytes_per_s == null ? null : row.figures.read_bytes_per_s + row.figures.write_bytes_per_s);
const network = (/** @type {any} */ row) => (row.figures.receive_bytes_per_s == null ? null : row.figures.receive_bytes_per_s + row.figures.transmit_bytes_per_s);
/** Less than nothing: the oldest has the most age. @param {any} row */
const began = (row) => (row.facts.kind === "container" ? -(row.facts.started_ns ?? row.facts.created_ns) : null);
const pressure = (/** @type {any} */ row) => {
  const found = ["cpu", "memory", "io"].map((kind) => /** @type {[number, string]} */ ([row.figures[`${kind}_stalled_ratio`] ?? -1, kind]));
  return found.sort(([a], [b]) => b - a)[0];
};

/** @param {any} row */
function Name(row) {
  return html`<b>${row.facts.name}</b><${Marks} facts=${row.facts} /><small>${row.facts.kind === "group" ? "cgroup" : shortId(row.id)}</small>`;
}

/** @param {any} row */
function CpuCell(row) {
  fill(row);
  const limit = row.facts.held?.cpus;
  return html`<${Spark} values=${row.cpu} limit=${limit} kind="cpu" />
    <span class="used">${cores(cpu(row))}${limit ? html`<small> / ${limit}</small>` : ""}
    <${Bar} used=${cpu(row)} limit=${limit} label=${`CPU of ${row.facts.name}`} /></span>
    ${row.figures.throttled_ratio ? html`<small class="throttled" title="Periods that ended throttled">${percent(row.figures.throttled_ratio)}</small>` : ""}`;
}

/** @param {any} row */
function MemoryCell(row) {
  const { memory_max_bytes: limit, memory_high_bytes: high } = row.facts.held ?? {};
  return html`<${Spark} values=${row.memory} limit=${limit} kind="memory" />
    <span class="used">${size(memory(row))}${limit ? html`<small> / ${size(limit)}</small>` : ""}
    <${Bar} used=${memory(row)} limit=${limit ?? high} mark=${high} label=${`Memory of ${row.facts.name}`} /></span>`;
}

/** @param {any} row */
function PressureCell(row) {
  const [ratio, kind] = pressure(row);
  if (ratio < 0.0005) return html`<span class="calm">${ratio < 0 ? "–" : "0"}</span>`;
  return html`<span class=${ratio > 0.1 ? "strained" : ""}>${percent(ratio)} <small>${kind}</small></span>`;
}

/** @param {boolean} may @param {boolean} isNarrow @param {boolean} isVast @returns {import("../parts/table.js").Column[]} */
function wide(may, isNarrow, isVast) {
  const acts = (/** @type {any} */ row) =>
    row.facts.kind === "container" &&
    [ACTIONS.freeze, ACTIONS.thaw, ACTIONS.start, ACTIONS.stop]
      .filter((one) => one.fits(row.facts))
      .map((one) => html`<button key=${one.label} class="small" tabindex="-1" onClick=${() => perform(one, row.id, row.facts)} aria-label=${`${one.label} ${row.facts.name}`}>${one.label}</button>`);
  /** @type {(import("../parts/table.js").Column | false)[]} */
  const found = [
    { title: "State", width: "minmax(104px, 0.8fr)", cell: (row) => html`<${State} facts=${row.facts} />`, value: (row) => row.facts.status },
    { title: "Name", width: "minmax(150px, 2fr)", cell: Name, value: (row) => row.facts.name, className: "name" },
    !isNarrow && { title: "Image", width: "minmax(80px, 1.2fr)", cell: (row) => row.facts.image, value: (row) => row.facts.image },
    { title: "CPU", width: "minmax(190px, 1.4fr)", cell: CpuCell, value: cpu, isNumber: true, className: "left figure" },
    { title: "Memory", width: "minmax(220px, 1.6fr)", cell: MemoryCell, value: memory, isNumber: true, className: "left figure" },
    { title: "Pressure", width: "minmax(96px, 0.7fr)", cell: PressureCell, value: (row) => pressure(row)[0], isNumber: true },
    !isNarrow && { title: "I/O", width: "minmax(76px, 0.6fr)", cell: (row) => rate(io(row)), value: io, isNumber: true },
    isVast && { title: "Network", width: "minmax(84px, 0.6fr)", cell: (row) => rate(network(row)), value: network, isNumber: true },
    { title: "Tasks", width: "minmax(58px, 0.4fr)", cell: (row) => count(row.figures.pids), value: (row) => row.figures.pids, isNumber: true },
    !isNarrow && { title: "Age", width: "minmax(72px, 0.5fr)", cell: (row) => age(-(began(row) ?? 0)), value: began, isNumber: true },
    may && { title: "Actions", width: "132px", cell: acts, className: "acts" },
  ];
  return /** @type {import("../parts/table.js").Column[]} */ (found.filter(Boolean));
}

/** @type {import("../parts/table.js").Column[]} */
const PHONE = [
  {
    title: "Name",
    width: "minmax(0, 1fr)",
    cell: (row) => html`<span class="stacked"><span class="name">${Name(row)}</span><${State} facts=${row.facts} /></span>`,
    value: (row) => row.facts.name,
  },
  { title: "CPU", width: "108px", cell: CpuCell, value: cpu, isNumber: true, className: "left figure" },
  { title: "Memory", width: "116px", cell: MemoryCell, value: memory, isNumber: true, className: "left figure" },
];
