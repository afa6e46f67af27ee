/** What is typed into the search: words, and bounds of figures such as cpu>0.5 or mem>100m. */

import { parseSize } from "../format.js";

/** @type {Record<string, [string, (text: string) => any]>} */
const FIGURES = {
  cpu: ["cpu_cores", Number],
  mem: ["working_set_bytes", parseSize],
  tasks: ["pids", Number],
};

/** Says of a row whether all words fit. @param {string} text @returns {(row: any) => boolean} */
export function matcher(text) {
  const tests = text.toLowerCase().split(/\s+/).filter(Boolean).map(test);
  return (row) => tests.every((fits) => fits(row));
}

/** @param {string} word @returns {(row: any) => boolean} */
function test(word) {
  const bound = /^(cpu|mem|tasks)([<>])(.+)$/.exec(word);
  if (!bound) return (row) => said(row).includes(word);
  const [column, parse] = FIGURES[bound[1]];
  let value = NaN;
  try {
    value = parse(bound[3]);
  } catch {
    // it is being typed
  }
  if (Number.isNaN(value)) return () => true;
  return (row) => {
    const figure = row.figures[column];
    return figure != null && (bound[2] === ">" ? figure > value : figure < value);
  };
}

/** @param {any} row */
function said(row) {
  const { name, image, status, cgroup, health, overrides } = row.facts;
  const held = overrides ? `held ${Object.entries(overrides).join(" ")}` : "";
  return `${name} ${image} ${status} ${cgroup} ${health ?? ""} ${held} ${row.id}`.toLowerCase();
}
