/** A container's figures over 10 minutes or 6 hours, with what happened to it on the time axis. */

import { useEffect, useMemo, useRef, useState } from "../vendor/hooks.js";
import { isUp } from "../actions.js";
import { get } from "../api.js";
import { cores, count, percent, rate, size } from "../format.js";
import { html } from "../html.js";
import { useFleet } from "../live.js";
import { Chart } from "../parts/chart.js";
import { Waiting } from "../parts/small.js";
import { every, useGet } from "../parts/use.js";
import { Happened, useEvents, useReclaimed } from "./events.js";
import { followed, joined } from "./history.js";

/** @typedef {import("./history.js").History} History */

/** As far back as each sample is kept. */
const FINE_S = 600;
const RANGES = { "10 minutes": FINE_S, "6 hours": 21600 };

const IO = [{ label: "read", color: "cpu" }, { label: "written", color: "memory" }];

/** @param {{container: any, row: any, facts: any}} props */
export function Charts({ container, row, facts }) {
  const [range, setRange] = useState(FINE_S);
  const run = `${facts.status} ${facts.started_ns}`;
  const { kept, shown: history, error } = useHistory(container.id, range, run, isUp(facts), row);
  const stats = useGet(isUp(facts) ? `/v1/containers/${container.id}/stats` : null, 30000).data;
  const events = useEvents(container, run, row?.facts);
  const reclaim = useReclaimed(stats);
  const marks = useMemo(() => [...events, ...reclaim.marks].sort((a, b) => a.at - b.at), [events, reclaim]);
  const shown = useMemo(() => marks.filter((one) => one.at > Date.now() / 1000 - range), [marks, range, history]);
  if (!history || !kept) return html`<${Waiting} error=${error} what="its figures" />`;
  const of = (/** @type {string[]} */ ...names) => [history.at_s, ...names.map((name) => history.columns[name])];
  const held = row?.facts.held ?? {};
  const line = (/** @type {number | undefined} */ value) => (value ? [history.at_s.map(() => value)] : []);
  const limit = (/** @type {string} */ label, /** @type {any} */ value) => (value ? [{ label, color: "bad", dashed: true }] : []);
  return html`
    <div class="tools"><div class="chips" role="group" aria-label="How far back">${Object.entries(RANGES).map(([label, seconds]) => html`<button
      key=${label} class="chip" aria-pressed=${range === seconds} onClick=${() => setRange(seconds)}>${label}</button>`)}</div>
      ${error && html`<span class="soft">${error.message}</span>`}</div>
    ${!history.at_s.length && html`<p class="soft">Nothing is kept of that time: it did not run, or the agent was started after it.</p>`}
    <div class="charts" hidden=${!history.at_s.length}>
      <${Chart} title="CPU" note="cores" format=${cores} events=${shown}
        series=${[{ label: "used", color: "cpu", fill: true }, ...limit("limit", held.cpus)]}
        data=${[...of("cpu_cores"), ...line(held.cpus)]} />
      <${Chart} title="Memory" note=${reclaim.total ? `${size(reclaim.total)} taken back so far` : ""} format=${size} events=${shown}
        series=${[{ label: "working set", color: "memory", fill: true }, { label: "with cache", color: "third" }, ...limit("limit", held.memory_max_bytes), ...(held.memory_high_bytes ? [{ label: "high", color: "warn", dashed: true }] : [])]}
        data=${[...of("working_set_bytes", "memory_bytes"), ...line(held.memory_max_bytes), ...line(held.memory_high_bytes)]} />
      <${Chart} title="Pressure" note="of the time some task waited; throttled: periods cut short" format=${percent} top=${0.05} events=${shown}
        series=${[{ label: "cpu", color: "cpu" }, { label: "memory", color: "memory" }, { label: "io", color: "third" }, { label: "throttled", color: "bad" }]}
        data=${of("cpu_stalled_ratio", "memory_stalled_ratio", "io_stalled_ratio", "throttled_ratio")} />
      <${Chart} title="Network" format=${rate} top=${1024} events=${shown}
        series=${[{ label: "received", color: "cpu" }, { label: "sent", color: "memory" }]}
        data=${of("receive_bytes_per_s", "transmit_bytes_per_s")} />
      <${Chart} title="Disks" note=${kept.devices.length > 1 ? "all together" : ""} format=${rate} top=${1024} events=${shown}
        series=${IO} data=${of("read_bytes_per_s", "write_bytes_per_s")} />
      <${Chart} title="Tasks" format=${count} top=${4} events=${shown}
        series=${[{ label: "tasks", color: "third", fill: true }, ...limit("limit", held.pids_max)]}
        data=${[...of("pids"), ...line(held.pids_max)]} />
      ${kept.devices.length > 1 && kept.devices.map((/** @type {any} */ one) => html`<${Chart} key=${one.device} title=${one.name} note=${one.device} format=${rate} top=${1024} events=${shown}
        series=${IO} data=${[kept.at_s, one.read_bytes_per_s, one.write_bytes_per_s]} />`)}
    </div>
    <${Devices} io=${stats?.usage.io} />
    <${Happened} marks=${marks} />`;
}

/** @param {{io: any[] | undefined}} props */
function Devices({ io }) {
  if (!io?.length) return null;
  return html`<section class="card"><h2>By device, so far</h2><div class="scroll" tabindex="0"><table><thead><tr><th>Device</th><th class="number">Read</th><th class="number">Written</th><th class="number">Reads</th><th class="number">Writes</th></tr></thead>
    <tbody>${io.map((/** @type {any} */ one) => html`<tr key=${one.device}><td class="mono">${one.device}</td><td class="number">${size(one.rbytes)}</td><td class="number">${size(one.wbytes)}</td><td class="number">${one.rios}</td><td class="number">${one.wios}</td></tr>`)}</tbody></table></div></section>`;
}

/**
 * What is kept, by column and by device: asked for once, and again after the last time that is known while
 * it runs. Between that, what the stream of all containers tells goes on at the end, which costs the agent nothing.
 * @param {string} id @param {number} range @param {string} run which one of its runs @param {boolean} isAlive @param {any} row
 */
function useHistory(id, range, run, isAlive, row) {
  const [found, setFound] = useState(/** @type {{kept: History | null, shown: History | null, error: Error | null}} */ ({ kept: null, shown: null, error: null }));
  const { at_s } = useFleet();
  const everyMs = !isAlive ? 0 : range === FINE_S && (found.kept?.devices.length ?? 0) > 1 ? 5000 : 15000;
  const kept = useRef(/** @type {History | null} */ (null));
  useEffect(() => {
    kept.current = null;
  }, [id, range, run]);
  useEffect(() => {
    let isOver = false;
    const load = async () => {
      const begin = Date.now() / 1000 - range;
      try {
        const answer = await get(`/v1/containers/${id}/stats?since=${kept.current?.at_s.at(-1) ?? begin}`);
        if (isOver) return;
        kept.current = joined(kept.current, answer, begin);
        setFound({ kept: kept.current, shown: kept.current, error: null });
      } catch (e) {
        if (!isOver) setFound((before) => ({ ...before, error: /** @type {Error} */ (e) }));
      }
    };
    const end = every(load, everyMs);
    return () => {
      isOver = true;
      end();
    };
  }, [id, range, run, everyMs]);
  useEffect(() => {
    if (range !== FINE_S || !isAlive || !kept.current || !Object.keys(row?.figures ?? {}).length) return;
    setFound((before) => (before.shown ? { ...before, shown: followed(before.shown, at_s, row.figures, at_s - range) } : before));
  }, [at_s]);
  return found;
}
