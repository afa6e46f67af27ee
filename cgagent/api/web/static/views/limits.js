/** Limits: what was asked, what the kernel holds, and a preview of what it would hold. */

import { useEffect, useState } from "../vendor/hooks.js";
import { ask } from "../api.js";
import { commandLine } from "../actions.js";
import { flagSize, parseSize, size } from "../format.js";
import { html } from "../html.js";
import { Command, confirm } from "../parts/dialog.js";

/**
 * @typedef {object} Field
 * @property {string} name as the API has it
 * @property {string} label
 * @property {string} flag of `cgagent update`
 * @property {"size" | "number" | "cpus"} kind
 * @property {string} hint
 */

/** @type {Field[]} */
const FIELDS = [
  { name: "memory_max_bytes", label: "Memory", flag: "--memory", kind: "size", hint: "killed above it" },
  { name: "memory_high_bytes", label: "Memory, high", flag: "--memory-high", kind: "size", hint: "slowed above it, v2" },
  { name: "memory_low_bytes", label: "Memory, low", flag: "--memory-low", kind: "size", hint: "protected below it" },
  { name: "memory_swap_max_bytes", label: "Swap", flag: "--memory-swap-max", kind: "size", hint: "swap alone" },
  { name: "cpus", label: "CPUs", flag: "--cpus", kind: "cpus", hint: "such as 0.5" },
  { name: "cpu_weight", label: "CPU weight", flag: "--cpu-weight", kind: "number", hint: "1 to 10000, usual 100" },
  { name: "pids_max", label: "Tasks", flag: "--pids-limit", kind: "number", hint: "processes and threads" },
  { name: "io_weight", label: "I/O weight", flag: "--io-weight", kind: "number", hint: "1 to 10000, usual 100" },
];

const CPUS = /** @type {Field} */ (FIELDS.find((one) => one.name === "cpus"));

/** @param {{container: any, row: any, may: boolean, reload: () => void}} props */
export function LimitsEditor({ container, row, may, reload }) {
  const [texts, setTexts] = useState(/** @type {Record<string, string>} */ ({}));
  const [preview, setPreview] = useState(/** @type {any} */ (null));
  const [error, setError] = useState("");
  const { asked, problem } = changes(texts, container);
  const key = JSON.stringify(asked);
  const isChanged = key !== "{}";
  useEffect(() => {
    setPreview(null);
    setError("");
    if (!isChanged || problem) return undefined;
    let isOver = false;
    const timer = setTimeout(async () => {
      try {
        const found = await ask("POST", `/v1/containers/${container.id}/update?preview=true`, asked);
        if (!isOver) setPreview(found);
      } catch (e) {
        if (!isOver) setError(/** @type {Error} */ (e).message);
      }
    }, 250);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [key, problem]);
  const flags = FIELDS.filter((one) => one.name in asked).flatMap((one) => [one.flag, one.kind === "size" ? flagSize(asked[one.name]) : flagNumber(asked[one.name])]);
  const line = commandLine("update", ...flags, container.name);
  const used = row?.figures.memory_bytes;
  const shrinks = typeof asked.memory_max_bytes === "number" && used > asked.memory_max_bytes;
  const apply = (/** @type {Event} */ event) => {
    event.preventDefault();
    confirm({
      title: `Change the limits of ${container.name}`,
      text: shrinks ? `It uses ${size(used)}: memory is taken back in steps until it fits.` : "They hold at once.",
      command: line,
      label: "Apply",
      run: async () => {
        await ask("POST", `/v1/containers/${container.id}/update`, asked);
        setTexts({});
        reload();
      },
    });
  };
  const drift = container.drift ?? [];
  return html`<form class="limits" onSubmit=${apply}>
    ${container.overrides.map((/** @type {any} */ one) => html`<p key=${one.owner} class="held"><b>${one.owner}</b> holds it to other limits: ${one.reason}</p>`)}
    ${drift.map((/** @type {any} */ one) => html`<p key=${one.name} class="held">The kernel holds <b>${one.name}</b> at ${ofName(one.name, one.held)}, not at ${ofName(one.name, one.asked)}.</p>`)}
    <div class="card scroll" tabindex="0"><table>
      <thead><tr><th>Limit</th><th class="number">Used</th><th class="number">Asked</th><th class="number">Held now</th><th>New</th><th class="number">Kernel will hold</th></tr></thead>
      <tbody>${FIELDS.map((one) => html`<tr key=${one.name} class=${one.name in asked ? "changed" : ""}>
        <td><label for=${one.name}>${one.label}</label> <small>${one.hint}</small></td>
        <td class="number" data-title="used">${use(one, row) || "–"}</td>
        <td class="number" data-title="asked">${shown(value(container.limits, one), one)}</td>
        <td class="number" data-title="held now">${shown(value(container.limits_held, one), one)}</td>
        <td><input id=${one.name} inputmode=${one.kind === "size" ? "text" : "decimal"} disabled=${!may} autocomplete="off" value=${texts[one.name] ?? ""}
          placeholder=${one.kind === "size" ? "256m" : one.kind === "cpus" ? "0.5" : "100"} onInput=${(/** @type {any} */ e) => setTexts({ ...texts, [one.name]: e.target.value })} /></td>
        <td class="number preview" data-title="kernel will hold" data-name=${one.name}>${one.name in asked ? shown(value(preview?.limits_kept, one), one) : ""}</td>
      </tr>`)}</tbody></table></div>
    ${(problem || error) && html`<p class="problem" role="alert">${problem || error}</p>`}
    ${shrinks && html`<p class="held">It uses ${size(used)} now, more than that.</p>`}
    ${may
      ? html`<div class="tools"><button class="primary" disabled=${!isChanged || problem || error || !preview}>Apply…</button>
          <button type="button" disabled=${!isChanged} onClick=${() => setTexts({})}>Clear</button></div>
          ${isChanged && html`<${Command} text=${line} />`}`
      : html`<p class="soft">To change them needs a token whose scope is control.</p>`}
  </form>`;
}

/** What is typed, as the API takes it. @param {Record<string, string>} texts @param {any} container */
function changes(texts, container) {
  /** @type {Record<string, any>} */
  const asked = {};
  let problem = "";
  for (const one of FIELDS) {
    const text = (texts[one.name] ?? "").trim();
    if (!text) continue;
    try {
      asked[one.name] = one.kind === "size" ? parseSize(text) : number(text, one);
      if (one.name === "cpu_weight" && container.limits.cpu_shares) throw new Error("CPU weight: this container has shares; change those by the command line");
    } catch (e) {
      problem ||= `${one.label}: ${/** @type {Error} */ (e).message}`;
    }
  }
  return { asked, problem };
}

/** @param {string} text @param {Field} field */
function number(text, field) {
  if (text.toLowerCase() === "max" && field.name === "pids_max") return "max";
  const found = Number(text);
  if (!Number.isFinite(found) || found <= 0) throw new Error(`${text} is not a number above 0`);
  return found;
}

/** @param {any} value */
function flagNumber(value) {
  return value === "max" ? "-1" : String(value);
}

/** @param {any} limits @param {Field} field */
function value(limits, field) {
  if (!limits) return null;
  if (field.name !== "cpus") return limits[field.name] ?? null;
  const { cpu_quota_us: quota, cpu_period_us: period } = limits;
  return typeof quota === "number" ? quota / (period ?? 100000) : quota ?? null;
}

/** @param {any} found @param {Field} [field] */
function shown(found, field) {
  if (found == null) return "–";
  if (found === "max") return "no limit";
  if (!field) return typeof found === "object" ? JSON.stringify(found) : String(found);
  return field.kind === "size" ? exact(found) : String(Math.round(found * 1000) / 1000);
}

/** One of the limits that the API has, for people. @param {string} name @param {any} limits */
export function limitText(name, limits) {
  if (name === "cpu_quota_us") return shown(value(limits, CPUS), CPUS);
  return ofName(name, limits[name]);
}

/** @param {string} name @param {any} found */
function ofName(name, found) {
  return name.endsWith("_bytes") && typeof found === "number" ? exact(found) : shown(found);
}

/** @param {number} bytes */
function exact(bytes) {
  return bytes % 2 ** 20 === 0 || bytes < 10240 ? size(bytes) : `${size(bytes)} (${bytes})`;
}

/** @param {Field} field @param {any} row */
function use(field, row) {
  const { memory_bytes: memory, cpu_cores: cpu, pids } = row?.figures ?? {};
  if (field.name === "memory_max_bytes") return size(memory);
  if (field.name === "cpus") return cpu == null ? "–" : cpu.toFixed(2);
  return field.name === "pids_max" ? pids ?? "–" : "";
}
