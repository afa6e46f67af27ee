/** A container's output as it comes: text, never anything else. */

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { isUp } from "../actions.js";
import { follow } from "../api.js";
import { html } from "../html.js";

const TAIL = 500;
const MOST = 5000;
/** What a terminal would do something at. */
export const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])|[\u0000-\u0008\u000b-\u001f\u007f]/g;

/** @type {Record<string, string>} */
const STATES = { live: ", following", over: ", it does not run" };

/** @param {{container: any, facts: any}} props */
export function Logs({ container, facts }) {
  const [entries, setEntries] = useState(/** @type {any[]} */ ([]));
  const [text, setText] = useState("");
  const [wraps, setWraps] = useState(true);
  const [times, setTimes] = useState(false);
  const [state, setState] = useState("connecting");
  const [error, setError] = useState("");
  const box = useRef(/** @type {any} */ (null));
  const atEnd = useRef(true);
  const isAlive = useRef(true);
  isAlive.current = isUp(facts);

  useEffect(() => {
    /** @type {any[]} */
    let waiting = [];
    let number = 0;
    let last = "";
    const take = (/** @type {any} */ entry) => {
      last = entry.time;
      waiting.push({ ...entry, number: (number += 1), log: entry.log.replace(ESCAPES, "").replace(/\n$/, "") });
    };
    setEntries([]); // of a run before: they come again
    const timer = setInterval(() => {
      if (!waiting.length) return;
      const news = waiting;
      waiting = [];
      setEntries((before) => [...before, ...news].slice(-MOST));
    }, 150);
    const path = () => `/v1/containers/${container.id}/logs?follow=true&${last ? `since_ns=${nanoseconds(last) + 1n}` : `tail=${TAIL}`}`;
    const changed = (/** @type {string} */ now, /** @type {Error | undefined} */ problem) => {
      setState(now);
      setError(problem?.message ?? "");
    };
    const end = follow(path, take, { changed, isOver: () => !isAlive.current });
    return () => {
      clearInterval(timer);
      end();
    };
  }, [container.id, container.state.started_ns]);
  useEffect(() => {
    if (atEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [entries, text, wraps]);

  const wanted = text.toLowerCase();
  const shown = wanted ? entries.filter((entry) => entry.log.toLowerCase().includes(wanted)) : entries;
  const scrolled = (/** @type {any} */ event) => {
    const { scrollTop, scrollHeight, clientHeight } = event.currentTarget; // the view may be gone by now
    atEnd.current = scrollTop + clientHeight > scrollHeight - 24;
  };
  return html`<section class="logs">
    <div class="tools">
      <label class="search"><span class="hidden">Search the log</span><input type="search" placeholder="Search the log" value=${text} onInput=${(/** @type {any} */ e) => setText(e.target.value)} /></label>
      <label class="check"><input type="checkbox" checked=${wraps} onChange=${() => setWraps(!wraps)} /> wrap</label>
      <label class="check"><input type="checkbox" checked=${times} onChange=${() => setTimes(!times)} /> times</label>
      <span class="soft">${wanted ? `${shown.length} of ${entries.length}` : `${entries.length} ${entries.length === 1 ? "line" : "lines"}`}${STATES[state] ?? ""}</span>
    </div>
    ${error && html`<p class="soft" role="status">${error}</p>`}
    <pre ref=${box} class=${`log ${wraps ? "wraps" : ""}`} tabindex="0" role="log" aria-label="Output" aria-live="off" onScroll=${scrolled}>${shown.slice(-2000).map((entry) => html`<div
      key=${entry.number} class=${entry.stream}>${times && html`<time>${entry.time.slice(11, 23)} </time>`}${entry.log || " "}</div>`)}</pre>
  </section>`;
}

/** Of RFC 3339 with nine digits. @param {string} time */
function nanoseconds(time) {
  const digits = (/\.(\d+)/.exec(time)?.[1] ?? "").padEnd(9, "0").slice(0, 9);
  return BigInt(Math.floor(Date.parse(time) / 1000)) * 1000000000n + BigInt(digits);
}
