/** What a build tells, as lines that grow: of one that this page has begun, or of any by its job's number. */

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { follow } from "../api.js";
import { percent, size } from "../format.js";
import { html } from "../html.js";
import { ESCAPES } from "./logs.js";

const MOST = 3000;

/**
 * @typedef {object} Entry
 * @property {string} key
 * @property {string} text
 * @property {string} [kind] a class
 */

/** What a line of the API says, if it is anything to show. @param {any} line @param {number} number @returns {Entry | null} */
function entryOf(line, number) {
  const key = String(number);
  const { begun, output, pull, note, done, image, error, missed } = line;
  if (begun) return { key, kind: "step", text: `Step ${begun.number}/${begun.total}: ${begun.instruction}` };
  if (output) return { key, kind: output.stream, text: output.text.replace(ESCAPES, "").replace(/\n$/, "") };
  if (pull) return pullOf(pull);
  if (note) return { key, kind: "soft", text: note.text };
  if (done) return { key, kind: "soft", text: `  ${done.cached ? "as before" : "done"}${done.account ? `, ${used(done.account)}` : ""}` };
  if (image) return { key, kind: "good", text: `Built ${image.names.join(", ") || image.id}` };
  if (error) return { key, kind: "stderr", text: error.detail };
  return missed ? { key, kind: "soft", text: `${missed} lines before these are not kept any more` } : null;
}

/** One line for each layer, in the place of its last one. @param {any} pull */
function pullOf({ tag, progress }) {
  const { layer, status, current_bytes: current, total_bytes: total } = progress;
  return { key: `${tag} ${layer}`, kind: "soft", text: `  ${layer || tag} ${status}${total ? ` ${percent(Math.min(1, current / total))}` : ""}` };
}

/** @param {any} account */
function used({ wall_s: wall, cpu_ns: cpu, memory_peak_bytes: peak }) {
  return [`${wall.toFixed(1)} s`, cpu != null && `${(cpu / 1e9).toFixed(1)} s of CPU`, peak && `${size(peak)} at most`].filter(Boolean).join(", ");
}

/** Takes lines, and renders a few times a second what has come. */
export function useLines() {
  const [entries, setEntries] = useState(/** @type {Entry[]} */ ([]));
  const state = useRef({ kept: /** @type {Map<string, Entry>} */ (new Map()), number: 0, timer: 0 });
  useEffect(() => () => clearTimeout(state.current.timer), []);
  const show = () => {
    const { kept } = state.current;
    state.current.timer = 0;
    for (const key of kept.keys()) {
      if (kept.size <= MOST) break;
      kept.delete(key);
    }
    setEntries([...kept.values()]);
  };
  const take = (/** @type {any} */ line) => {
    const entry = entryOf(line, (state.current.number += 1));
    if (!entry) return;
    state.current.kept.set(entry.key, entry);
    state.current.timer ||= setTimeout(show, 150);
  };
  const clear = () => {
    state.current.kept.clear();
    setEntries([]);
  };
  return { entries, take, clear };
}

/** @param {{entries: Entry[], label: string}} props */
export function Lines({ entries, label }) {
  const box = useRef(/** @type {any} */ (null));
  const isAtEnd = useRef(true);
  useEffect(() => {
    if (isAtEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [entries]);
  const scrolled = (/** @type {any} */ event) => {
    const { scrollTop, scrollHeight, clientHeight } = event.currentTarget; // the view may be gone by now
    isAtEnd.current = scrollTop + clientHeight > scrollHeight - 24;
  };
  return html`<pre ref=${box} class="log wraps built" tabindex="0" role="log" aria-label=${label} aria-live="off" onScroll=${scrolled}>${entries.map((one) => html`<div
    key=${one.key} class=${one.kind}>${one.text || " "}</div>`)}</pre>`;
}

/** The output of a build that runs or has just ended. @param {{job: any}} props */
export function BuildOutput({ job }) {
  const { entries, take, clear } = useLines();
  const [error, setError] = useState("");
  useEffect(() => {
    const path = () => {
      clear(); // it is told from its beginning
      return `/v1/build/${job.id}/output?follow=true`;
    };
    const changed = (/** @type {string} */ _, /** @type {Error | undefined} */ problem) => setError(problem?.message ?? "");
    return follow(path, take, { changed, isOver: () => true });
  }, [job.id]);
  return html`${error && html`<p class="soft" role="status">${error}</p>`}<${Lines} entries=${entries} label=${`Output of build ${job.id}`} />
    ${job.error && html`<p class="problem">${job.error}</p>`}`;
}
