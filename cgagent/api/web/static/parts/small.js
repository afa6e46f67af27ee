/** Small parts: a container's state and marks, a bar of a limit, a line of the last figures. */

import { percent } from "../format.js";
import { html } from "../html.js";

/** @type {Record<string, string>} */
const SIGNS = { running: "●", frozen: "❄", hibernating: "☾", exited: "■", created: "○", restarting: "↻", thawed: "●" };

/** Never by colour alone: a sign and a word. @param {{facts: any}} props */
export function State({ facts }) {
  const failed = facts.status === "exited" && (facts.exit_code || facts.oom_killed);
  const ended = facts.oom_killed ? "out of memory" : `exited ${facts.exit_code ?? ""}`;
  const word = facts.status === "exited" ? ended : facts.status;
  const name = failed ? "failed" : facts.status;
  return html`<span class="state state-${name}">
    <span aria-hidden="true">${failed ? "✖" : SIGNS[facts.status] ?? "●"}</span> ${word}
    ${facts.health && facts.health !== "none" && html`<small class="health-${facts.health}"> ${facts.health}</small>`}
  </span>`;
}

/** @type {Record<string, string>} */
const OWNERS = { boost: "boost", budget: "budget", "auto-size": "sized" };
const NEARLY = 0.8;
/** @param {string} owner of an override */
const holder = (owner) => OWNERS[owner] ?? (owner.startsWith("policy.") ? "policy" : "held");

/** A word for each thing that holds it, with the reason for who points at it. @param {{facts: any}} props */
export function Marks({ facts }) {
  const budgets = Object.entries(/** @type {Record<string, any>} */ (facts.budgets ?? {})).filter(([, one]) => one.acts || one.used_ratio >= NEARLY);
  const overrides = Object.entries(/** @type {Record<string, string>} */ (facts.overrides ?? {})).filter(([owner]) => owner !== "budget" || !budgets.length);
  return html`${facts.drifts ? html`<b class="mark" title="The kernel holds a limit otherwise than asked">drift</b>` : null}
    ${overrides.map(([owner, reason]) => html`<b key=${owner} class="mark" title=${`${owner} holds it to other limits than asked: ${reason}`}>${holder(owner)}</b>`)}
    ${budgets.map(([resource, one]) => html`<b key=${`of ${resource}`} class="mark" title=${`${percent(one.used_ratio)} of its ${resource} budget are used`}>${resource} ${percent(one.used_ratio)}</b>`)}`;
}

/**
 * How much of a limit is used, with a mark where it is throttled.
 * @param {{used?: number | null, limit?: number | null, mark?: number | null, label: string}} props
 */
export function Bar({ used, limit, mark, label }) {
  if (!limit || used == null) return html`<span class="bar bar-none"></span>`;
  const share = Math.min(1, used / limit);
  const level = share > 0.95 ? "full" : share > 0.8 ? "high" : "usual";
  return html`<span class="bar bar-${level}" role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(share * 100)}
      style=${{ "--share": `${share * 100}%` }}>
    ${mark && mark < limit && html`<i style=${{ left: `${(mark / limit) * 100}%` }}></i>`}
  </span>`;
}

const [WIDE, HIGH] = [72, 20];

/** @param {{values: (number | null)[], limit?: number | null, kind: string, slots?: number}} props */
export function Spark({ values, limit, kind, slots = 60 }) {
  const known = values.filter((value) => value != null);
  const top = Math.max(limit ?? 0, ...known, 1e-9);
  const first = slots - values.length;
  const points = values
    .map((value, i) => (value == null ? "" : `${(((first + i) / (slots - 1)) * WIDE).toFixed(1)},${(HIGH - 1 - (value / top) * (HIGH - 2)).toFixed(1)}`))
    .filter(Boolean);
  const area = points.length > 1 && `${points[0].split(",")[0]},${HIGH} ${points.join(" ")} ${WIDE},${HIGH}`;
  return html`<svg class="spark spark-${kind}" viewBox="0 0 ${WIDE} ${HIGH}" preserveAspectRatio="none" aria-hidden="true">
    ${area && html`<polygon points=${area} />`}<polyline points=${points.join(" ")} />
  </svg>`;
}

/** What is being asked for, or why it could not be had. @param {{error?: Error | null, what: string}} props */
export function Waiting({ error, what }) {
  return error
    ? html`<p class="problem" role="alert">${error.message}</p>`
    : html`<p class="waiting">Asking for ${what}…</p>`;
}
