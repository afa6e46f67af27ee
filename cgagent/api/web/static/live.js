/** All containers and watched groups, kept up to date by one stream for the whole page. */

import { useEffect, useState } from "./vendor/hooks.js";
import { follow, get } from "./api.js";
import { shortId } from "./format.js";

const KEPT = 60;
const INTERVAL_S = 2;
const SILENT_S = 15;
/** Rows that are in sight at once, at most, and how long nothing new comes into sight before they are filled. */
const SEEN = 60;
const QUIET_MS = 250;

/**
 * @typedef {object} Row
 * @property {string} id
 * @property {any} facts
 * @property {Record<string, number | null>} figures empty of what does not run
 * @property {(number | null)[]} cpu the last figures, oldest first
 * @property {(number | null)[]} memory
 */

/** @type {Map<string, Row>} */
const rows = new Map();
/** @type {string[]} */
let columns = [];
/** @type {{host: any, cpu: number | null, cpus: (number | null)[], state: string, error: Error | null, round: number, at_s: number, lastEvent: number}} */
let now = { host: {}, cpu: null, cpus: [], state: "connecting", error: null, round: 0, at_s: 0, lastEvent: 0 };
/** @type {Set<() => void>} */
const watching = new Set();
/** @type {(() => void) | null} */
let stop = null;

export function start() {
  const changed = (/** @type {string} */ state, /** @type {Error | undefined} */ error) => {
    if (state === now.state) return;
    now = { ...now, state, error: error ?? null };
    tell();
  };
  stop ??= follow(() => "/v1/fleet?follow=true", take, { changed, silentS: SILENT_S });
}

export function end() {
  stop?.();
  stop = null;
  rows.clear();
  asked.clear();
  waiting.clear();
  now = { ...now, host: {}, cpu: null, cpus: [], state: "connecting", error: null, round: now.round + 1 };
}

/** The rows and when they were told, what is known of the host, the last event's number, and whether the stream is there. Renders at each change. */
export function useFleet() {
  const [, again] = useState(0);
  useEffect(() => {
    const told = () => again((n) => n + 1);
    watching.add(told);
    return () => void watching.delete(told);
  }, []);
  return { rows, ...now };
}

/** A container's name, as far as it is known, or its id. @param {string} id */
export function nameOf(id) {
  return rows.get(id)?.facts.name ?? shortId(id);
}

function tell() {
  for (const one of watching) one();
}

/** @param {any} line */
function take(line) {
  if (line.whole) {
    columns = line.columns;
    for (const [id, row] of rows) {
      row.figures = {}; // of what has ended meanwhile nothing is told
      if (!Object.hasOwn(line.facts, id)) rows.delete(id);
    }
  }
  for (const id of line.gone ?? []) {
    rows.delete(id);
    asked.delete(id);
  }
  for (const [id, facts] of Object.entries(line.facts)) {
    const row = rows.get(id);
    if (row) row.facts = facts;
    else rows.set(id, { id, facts, figures: {}, cpu: [], memory: [] });
  }
  for (const [id, values] of Object.entries(/** @type {Record<string, number[]>} */ (line.figures))) {
    const row = rows.get(id);
    if (row) row.figures = Object.fromEntries(values.map((value, i) => [columns[i], value]));
  }
  for (const row of rows.values()) {
    push(row.cpu, row.figures.cpu_cores ?? null);
    push(row.memory, row.figures.working_set_bytes ?? null);
  }
  now = { ...now, cpu: busy(now.host, line.host) ?? now.cpu, host: line.host, round: now.round + 1, at_s: line.at_s, lastEvent: line.last_event ?? 0 };
  push(now.cpus, now.cpu);
  tell();
}

/** @type {Set<string>} */
const asked = new Set();
/** @type {Map<string, Row>} */
const waiting = new Map();
let isFilling = false;
let seenAt = 0;
let timer = 0;

/**
 * Have the figures of before this page was opened, for a row that somebody sees; what is scrolled
 * past is not asked for.
 * @param {Row} row
 */
export function fill(row) {
  if (asked.has(row.id) || row.facts.kind !== "container" || !("cpu_cores" in row.figures)) return;
  asked.add(row.id);
  waiting.set(row.id, row);
  for (const id of waiting.keys()) {
    if (waiting.size <= SEEN) break;
    waiting.delete(id);
    asked.delete(id);
  }
  seenAt = Date.now();
  timer ||= setTimeout(look, QUIET_MS);
}

/** Begin when nothing new has come into sight for a while. */
function look() {
  const left = seenAt + QUIET_MS - Date.now();
  timer = left > 0 ? setTimeout(look, left) : 0;
  if (!timer) fillAll();
}

async function fillAll() {
  if (isFilling) return;
  isFilling = true;
  for (const [id, row] of waiting) {
    waiting.delete(id);
    await filled(row);
  }
  isFilling = false;
}

/** @param {Row} row */
async function filled(row) {
  if (row.cpu.length >= KEPT || !stop) return;
  const since = Date.now() / 1000 - KEPT * INTERVAL_S;
  const found = await get(`/v1/containers/${row.id}/stats?since=${since}`).catch(() => null);
  if (!found) return;
  const earlier = found.rows.filter((/** @type {any} */ _, /** @type {number} */ i) => i % INTERVAL_S === 0);
  const column = (/** @type {string} */ name) => earlier.map((/** @type {any[]} */ one) => one[found.columns.indexOf(name)]);
  row.cpu = [...column("cpu_cores"), ...row.cpu].slice(-KEPT);
  row.memory = [...column("working_set_bytes"), ...row.memory].slice(-KEPT);
}

/** @template T @param {T[]} list @param {T} value */
function push(list, value) {
  list.push(value);
  if (list.length > KEPT) list.shift();
}

/** CPUs that are busy. @param {any} before @param {any} after */
function busy(before, after) {
  const seconds = after.at_s - before.at_s;
  return seconds > 0.5 ? Math.max(0, (after.busy_s - before.busy_s) / seconds) : null;
}
