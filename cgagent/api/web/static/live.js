/** All containers and watched groups, kept up to date by one stream for the whole page. */

import { useEffect, useState } from "./vendor/hooks.js";
import { follow } from "./api.js";

const KEPT = 60;

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
/** @type {{host: any, cpu: number | null, cpus: (number | null)[], state: string, error: Error | null}} */
let now = { host: {}, cpu: null, cpus: [], state: "connecting", error: null };
/** @type {Set<() => void>} */
const watching = new Set();
/** @type {(() => void) | null} */
let stop = null;

export function start() {
  stop ??= follow(() => "/v1/fleet?follow=true", take, (state, error) => {
    if (state === now.state) return;
    now = { ...now, state, error: error ?? null };
    tell();
  });
}

export function end() {
  stop?.();
  stop = null;
  rows.clear();
  now = { host: {}, cpu: null, cpus: [], state: "connecting", error: null };
}

/** The rows, what is known of the host, and whether the stream is there. Renders at each change. */
export function useFleet() {
  const [, again] = useState(0);
  useEffect(() => {
    const told = () => again((n) => n + 1);
    watching.add(told);
    return () => void watching.delete(told);
  }, []);
  return { rows, ...now };
}

function tell() {
  for (const one of watching) one();
}

/** @param {any} line */
function take(line) {
  if (line.whole) {
    columns = line.columns;
    for (const id of rows.keys()) if (!(id in line.facts)) rows.delete(id);
  }
  for (const id of line.gone ?? []) rows.delete(id);
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
  now = { ...now, cpu: busy(now.host, line.host) ?? now.cpu, host: line.host };
  push(now.cpus, now.cpu);
  tell();
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
