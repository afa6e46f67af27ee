/** What happened to a container, as marks on the time axis of its charts and as a list. */

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { lines } from "../api.js";
import { moment, size } from "../format.js";
import { html } from "../html.js";
import { useFleet } from "../live.js";
import { every } from "../parts/use.js";

/**
 * @typedef {object} Mark
 * @property {number | string} number one of its own
 * @property {number} at Unix seconds
 * @property {string} label
 * @property {string} text
 * @property {string} kind name of a variable of variables.css
 * @property {string} [owner] of the override that has begun or ended
 * @property {string} [decides] the owner of the override that this decision has made or ended, if it has any
 */

const KEPT = 200;
const LISTED = 30;
const SHOWN = { create: 1, start: 1, die: 1, oom: 1, pause: 1, unpause: 1, update: 1, restart: 1, kill: 1, hibernate: 1, wake: 1 };
/** @type {Record<string, string>} */
const NAMES = { pause: "freeze", unpause: "thaw", die: "end" };
/** Policies that are the agent's own, which are the owners of their overrides under the same name. */
const OWN = new Set(["auto-size", "boost", "budget"]);
/** Those that do one thing alone. */
const SIMPLE = new Set(["auto-size", "boost"]);
/** A decision is told so soon after the override that it has made or ended. */
const SOON_S = 5;

/** @param {{marks: Mark[]}} props */
export function Happened({ marks }) {
  return html`<section class="card"><h2>What happened</h2>
    ${marks.length ? html`<ol class="events">${[...marks].reverse().slice(0, LISTED).map((one) => html`<li key=${one.number}>
      <time>${moment(one.at)}</time> <b class=${`kind-${one.kind}`}>${one.label}</b> <span class="soft">${one.text}</span></li>`)}</ol>` : html`<p class="soft">Nothing that is kept.</p>`}
  </section>`;
}

/**
 * Events are asked for soon when there are new ones of anything, and at once when what the fleet tells of it has changed.
 * @param {any} container @param {string} run which one of its runs @param {any} facts
 * @returns {Mark[]} the oldest first
 */
export function useEvents(container, run, facts) {
  const { id, labels } = container;
  const [marks, setMarks] = useState(/** @type {Mark[]} */ ([]));
  const { lastEvent } = useFleet();
  const newest = useRef(lastEvent);
  newest.current = lastEvent;
  /** All up to this number have been looked at. */
  const seen = useRef(0);
  useEffect(() => {
    const life = new AbortController();
    let isBusy = false;
    const load = async () => {
      const upTo = newest.current;
      if (isBusy || (seen.current && upTo <= seen.current)) return;
      isBusy = true;
      /** @type {Mark[]} */
      const news = [];
      try {
        for await (const one of lines("GET", `/v1/events?filter=container=${id}`, undefined, life.signal, seen.current ? { "last-event-id": String(seen.current) } : {})) {
          seen.current = one.number;
          if (one.type === "policy") news.push(ofDecision(one));
          else if (one.action in SHOWN) news.push(ofEvent(one, labels));
        }
        seen.current = Math.max(seen.current, upTo);
      } catch {
        // asked for again soon, from the last that came on
      }
      isBusy = false;
      if (news.length) setMarks((before) => toldOnce([...before, ...news]).slice(-KEPT));
    };
    const end = every(load, 10000);
    return () => {
      life.abort();
      end();
    };
  }, [id, run, facts]);
  return marks;
}

/** @param {any} event @param {Record<string, string>} labels of the container, which each of its events has @returns {Mark} */
function ofEvent({ number, time_ns, action, attributes }, labels) {
  const { name: _, image: __, owner, reason, ...about } = attributes;
  const found = { number, at: time_ns / 1e9, owner };
  if (owner) return { ...found, label: `override by ${owner}`, text: reason, kind: "warn" };
  const text = Object.entries(about).filter(([key, value]) => labels[key] !== value).map(([key, value]) => `${key} ${value}`).join(", ");
  return { ...found, label: NAMES[action] ?? action, text, kind: action === "oom" ? "bad" : action === "update" ? "third" : "accent" };
}

/** @param {any} event of the type policy @returns {Mark} */
function ofDecision({ number, time_ns, action, attributes }) {
  const { name, outcome, reason } = attributes;
  const what = SIMPLE.has(name) ? name : `${name}: ${action}`;
  const label = outcome === "done" ? what : `${what}, ${outcome}`;
  return { number, at: time_ns / 1e9, label, text: reason, kind: outcome === "failed" ? "bad" : "warn", decides: OWN.has(name) ? name : `policy.${name}` };
}

/** Without the overrides that a decision right behind them tells of in more words. @param {Mark[]} marks */
function toldOnce(marks) {
  const isTold = (/** @type {Mark} */ one) => one.owner && marks.some(({ decides, at }) => decides === one.owner && at >= one.at && at - one.at < SOON_S);
  return marks.filter((one) => !isTold(one));
}

/**
 * @typedef {object} Taken what `--reclaim` has taken while one looks
 * @property {number | null} total since the agent's start, in the last answer
 * @property {boolean} isTaking it has taken some since the answer before
 * @property {(Mark & {bytes: number})[]} marks
 */

/** @param {any} stats answers, one after the other */
export function useReclaimed(stats) {
  const [taken, setTaken] = useState(/** @type {Taken} */ ({ total: null, isTaking: false, marks: [] }));
  useEffect(() => {
    if (stats?.reclaim) setTaken((before) => reclaimed(before, stats.at_s, stats.reclaim.reclaimed_bytes));
  }, [stats]);
  return taken;
}

/**
 * With one more answer: a mark stands where it begins to take some, and counts on until there is an answer without more.
 * @param {Taken} before @param {number} at_s @param {number} total @returns {Taken}
 */
export function reclaimed({ total: known, isTaking, marks }, at_s, total) {
  const more = total - (known ?? total);
  if (more <= 0) return { total, isTaking: false, marks };
  const last = isTaking ? marks.at(-1) : undefined;
  const bytes = more + (last?.bytes ?? 0);
  const mark = { number: `reclaim ${last?.at ?? at_s}`, at: last?.at ?? at_s, bytes, label: "reclaim", text: `${size(bytes)} that nobody needed`, kind: "memory" };
  return { total, isTaking: true, marks: [...(last ? marks.slice(0, -1) : marks), mark] };
}
