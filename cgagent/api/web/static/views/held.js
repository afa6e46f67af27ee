/** What else decides about a container's limits and its rest: budgets, boosts, sizes, hibernation, overrides. */

import { commandLine } from "../actions.js";
import { age, cores, count, moment, percent, size, span } from "../format.js";
import { html } from "../html.js";
import { Command } from "../parts/dialog.js";
import { Bar } from "../parts/small.js";
import { limitText } from "./limits.js";

/** @param {{container: any}} props */
export function Held({ container }) {
  const { config, state, overrides, budgets, sizes } = container;
  return html`<div class="cards">
    <section class="card wide"><h2>Limits that others hold it to</h2><${Overrides} overrides=${overrides} asked=${container.limits} /></section>
    <section class="card wide"><h2>Budgets</h2>${budgets.length
      ? html`<${Budgets} budgets=${budgets} />`
      : html`<${Off} what="It may use what it likes." line=${commandLine("update", "--budget", "cpu=1h/24h", container.name)} />`}</section>
    <section class="card"><h2>Boost</h2>${config.boost
      ? html`<${Boost} config=${config} state=${state} overrides=${overrides} />`
      : html`<${Off} what="It begins with its own limits." line=${commandLine("update", "--boost", "cpus=2,for=30s", container.name)} />`}</section>
    <section class="card"><h2>Automatic size</h2>${sizes.length
      ? html`<${Sizes} sizes=${sizes} />`
      : html`<${Off} what="Its limits follow nothing." line=${commandLine("update", "--auto-size", "memory=64m..1g", container.name)} />`}</section>
    <section class="card"><h2>Hibernation</h2><${Sleep} container=${container} /></section>
  </div>`;
}

/** @param {{what: string, line: string}} props */
function Off({ what, line }) {
  return html`<p class="soft">${what}</p><${Command} text=${line} />`;
}

/** @param {{overrides: any[], asked: any}} props */
function Overrides({ overrides, asked }) {
  if (!overrides.length) return html`<p class="soft">Nobody does: what was asked for is in force.</p>`;
  return html`<div class="scroll" tabindex="0"><table><thead><tr><th>By</th><th>Why</th><th>Limits, and what was asked</th><th class="number">For</th></tr></thead>
    <tbody>${overrides.map((one) => html`<tr key=${one.owner}><td><b>${one.owner}</b></td><td>${one.reason}</td>
      <td>${Object.keys(one.limits).filter((name) => name !== "cpu_period_us").map((name) => html`<div key=${name}><span class="mono">${name === "cpu_quota_us" ? "cpus" : name}</span> ${limitText(name, one.limits)} <small>asked ${limitText(name, asked)}</small></div>`)}</td>
      <td class="number">${age(one.since_ns)}</td></tr>`)}</tbody></table></div>`;
}

/** @type {Record<string, string>} */
const ACTIONS = { event: "it is told", throttle: "it is slowed down", freeze: "it is frozen", stop: "it is stopped" };

/** @type {Record<string, string>} */
const STATES = { acting: "spent, about to act", done: "spent, in force", "given up": "left alone, as its user did otherwise" };

/** @param {{budgets: any[]}} props */
function Budgets({ budgets }) {
  return html`<div class="scroll" tabindex="0"><table><thead><tr><th>Of</th><th>Used in this window</th><th>When it is spent</th><th>State</th><th class="number">Begins anew</th></tr></thead>
    <tbody>${budgets.map((one) => {
      const show = one.unit === "ns" ? (/** @type {number} */ ns) => (ns < 60e9 ? `${(ns / 1e9).toFixed(1)} s` : span(ns / 1e9)) : size;
      return html`<tr key=${one.resource}><td><b>${one.resource}</b> <small class="mono">${one.budget}</small></td>
        <td><span>${show(one.used)}<small> of ${show(one.amount)}, ${percent(one.used_ratio)}</small></span><${Bar} used=${one.used} limit=${one.amount} label=${`Budget of ${one.resource}`} /></td>
        <td>${ACTIONS[one.action] ?? one.action}</td><td class=${one.spent ? "bad" : ""}>${STATES[one.state] ?? one.state}</td><td class="number">${moment(one.ends_ns / 1e9)}</td></tr>`;
    })}</tbody></table></div>`;
}

/** @param {{config: any, state: any, overrides: any[]}} props */
function Boost({ config, state, overrides }) {
  const isOn = overrides.some((one) => one.owner === "boost");
  const until = state.boost_until_ns && moment(state.boost_until_ns / 1e9);
  return html`<dl><dt>Asked</dt><dd class="mono">${config.boost}</dd>
    <dt>Now</dt><dd>${isOn ? `in force, until ${until} at the latest` : "over; it comes with the next start"}</dd></dl>`;
}

/** @type {Record<string, (value: number) => string>} */
const SHOWN = { memory: size, cpu: cores };

/** @param {{sizes: any[]}} props */
function Sizes({ sizes }) {
  return html`<div class="scroll" tabindex="0"><table><thead><tr><th>Of</th><th class="number">Now</th><th class="number">Between</th><th>State</th></tr></thead>
    <tbody>${sizes.map((one) => {
      const show = SHOWN[one.resource] ?? count;
      return html`<tr key=${one.resource}><td><b>${one.resource}</b></td><td class="number">${one.size == null ? "–" : show(one.size)}</td>
        <td class="number">${show(one.least)} and ${show(one.most)}</td><td>${sizeState(one)}</td></tr>`;
    })}</tbody></table></div>`;
}

/** @param {any} one */
function sizeState(one) {
  if (one.is_given_up) return "left alone since its user set that limit";
  const paused = one.paused_until_s > Date.now() / 1000 ? `nothing is taken until ${moment(one.paused_until_s)}` : "at work";
  return one.is_dry_run ? `${paused}, and only told` : paused;
}

/** @param {{container: any}} props */
function Sleep({ container }) {
  const { config, state } = container;
  const { sleep } = state;
  const { hibernate_after_s: after } = config;
  return html`<dl><dt>Asked</dt><dd>${after == null ? "when somebody does it" : `after ${span(after)} without work`}</dd>
      <dt>Now</dt><dd>${sleep ? `sleeps for ${age(sleep.since_ns)}, ${sleep.by === "user" ? "as a user asked" : "as it was idle"}` : "awake"}</dd>
      ${sleep && html`<dt>Memory</dt><dd>${size(sleep.memory_before_bytes)} before, ${size(sleep.memory_after_bytes)} now</dd>
        <dt>Wakes</dt><dd>${sleep.hears_packets ? "with the first packet for it, a command in it, or a thaw" : "with a command in it, or a thaw"}</dd>`}</dl>
    ${!sleep && after == null && html`<${Command} text=${commandLine("hibernate", container.name)} />`}`;
}
