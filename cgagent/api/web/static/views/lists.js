/** Networks, volumes, jobs, policies, decisions and advice, as lists. */

import { ask } from "../api.js";
import { commandLine } from "../actions.js";
import { age, cores, count, moment, percent, size, span } from "../format.js";
import { html } from "../html.js";
import { nameOf } from "../live.js";
import { Command } from "../parts/dialog.js";
import { Waiting } from "../parts/small.js";
import { useGet } from "../parts/use.js";
import { BuildOutput } from "./buildoutput.js";
import { figure, List, text } from "./list.js";

const path = encodeURIComponent;

/** @type {Record<string, import("./list.js").Kind>} */
const KINDS = {
  groups: {
    title: "Groups",
    path: "/v1/groups",
    id: (row) => row.name,
    name: (row) => row.name,
    empty: html`No group yet: <code>cgagent group create --memory 1g team</code>`,
    columns: [
      text("Name", "minmax(120px, 1.5fr)", (row) => row.name),
      text("State", "minmax(80px, 0.6fr)", (row) => row.status),
      figure("Running", "minmax(70px, 0.5fr)", (row) => row.running, count),
      text("Containers", "minmax(140px, 2fr)", (row) => row.containers.join(" ")),
      figure("Memory", "minmax(80px, 0.7fr)", (row) => row.limits.memory_max_bytes ?? null, (value) => (value === "max" ? "no limit" : size(value))),
      text("Budget", "minmax(80px, 0.7fr)", (row) => row.budgets.map((/** @type {any} */ one) => `${one.resource} ${percent(one.used_ratio)}`).join(" ")),
      figure("Age", "minmax(72px, 0.6fr)", (row) => -row.created_ns, (ns) => age(-ns)),
    ],
    actions: [
      { label: "Freeze", fits: (row) => row.status !== "frozen", run: (row) => ask("POST", `/v1/groups/${encodeURI(row.name)}/freeze`) },
      { label: "Thaw", fits: (row) => row.status === "frozen", run: (row) => ask("POST", `/v1/groups/${encodeURI(row.name)}/thaw`) },
      {
        label: "Kill",
        warning: "SIGKILL ends all that runs in it, and no restart policy starts it again.",
        command: (row) => commandLine("group", "kill", row.name),
        run: (row) => ask("POST", `/v1/groups/${encodeURI(row.name)}/kill`),
      },
    ],
  },
  networks: {
    title: "Networks",
    path: "/v1/networks",
    id: (row) => row.id,
    name: (row) => row.name,
    columns: [
      text("Name", "minmax(110px, 1.5fr)", (row) => row.name),
      text("Driver", "minmax(70px, 0.7fr)", (row) => row.driver),
      figure("Containers", "minmax(84px, 0.5fr)", (row) => row.containers.length, count),
      text("Subnets", "minmax(160px, 2fr)", (row) => row.subnets.map((/** @type {any} */ one) => one.subnet).join(" ")),
      text("Interface", "minmax(90px, 1fr)", (row) => row.interface),
      figure("Age", "minmax(72px, 0.6fr)", (row) => -row.created_ns, (ns) => age(-ns)),
    ],
    actions: [
      {
        label: "Remove",
        fits: (row) => !["bridge", "host", "none"].includes(row.name) && !row.containers.length,
        warning: "Its bridge and its addresses go with it.",
        command: (row) => commandLine("network", "rm", row.name),
        run: (row) => ask("DELETE", `/v1/networks/${row.id}`),
      },
    ],
  },
  volumes: {
    title: "Volumes",
    path: "/v1/volumes",
    id: (row) => row.name,
    name: (row) => row.name,
    empty: html`No volume yet: <code>cgagent volume create data</code>`,
    columns: [
      text("Name", "minmax(140px, 2fr)", (row) => row.name),
      text("Used by", "minmax(90px, 1.3fr)", (row) => row.containers.map(nameOf).join(" ")),
      figure("Age", "minmax(72px, 0.6fr)", (row) => -row.created_ns, (ns) => age(-ns)),
      text("Place", "minmax(200px, 3fr)", (row) => row.mountpoint),
    ],
    actions: [
      {
        label: "Remove",
        fits: (row) => !row.containers.length,
        warning: "What is in it is deleted.",
        command: (row) => commandLine("volume", "rm", row.name),
        run: (row) => ask("DELETE", `/v1/volumes/${path(row.name)}`),
      },
    ],
  },
  jobs: {
    title: "Jobs",
    path: "/v1/jobs",
    everyMs: 2000,
    id: (row) => String(row.id),
    name: (row) => `${row.name} ${row.id}`,
    columns: [
      text("Job", "minmax(100px, 1fr)", (row) => row.name),
      text("Status", "minmax(80px, 0.6fr)", (row) => row.status),
      figure("Took", "minmax(70px, 0.5fr)", (row) => row.duration_s, (s) => (s == null ? "…" : s < 10 ? `${s.toFixed(3)} s` : span(s))),
      text("Of", "minmax(140px, 2fr)", (row) => Object.values(row.arguments).map((one) => (/^[0-9a-f]{64}$/.test(one) ? nameOf(one) : one)).join(" ")),
      text("Progress", "minmax(120px, 2fr)", (row) => row.error ?? row.progress),
      text("Caller", "minmax(80px, 0.8fr)", (row) => row.caller ?? "the agent"),
      figure("Began", "minmax(80px, 0.6fr)", (row) => row.started_at, moment),
    ],
    actions: [
      { label: "Cancel", fits: (row) => row.duration_s == null, warning: "What it has half made, it removes.", run: (row) => ask("DELETE", `/v1/jobs/${row.id}`) },
    ],
    Detail: Job,
  },
  policies: {
    title: "Policies",
    path: "/v1/policies",
    id: (row) => row.name,
    name: (row) => row.name,
    empty: html`No ruleset is at work: <code>cgagent policy add FILE</code>`,
    columns: [
      text("Name", "minmax(120px, 1.4fr)", (row) => row.name),
      figure("In force", "minmax(70px, 0.5fr)", (row) => row.in_force, count),
      figure("Watched", "minmax(70px, 0.5fr)", (row) => row.watched, count),
      text("Actions taken", "minmax(120px, 1.4fr)", (row) => row.actions.join(" → ") + (row.dry_run ? " (dry run)" : "")),
      text("From", "minmax(100px, 1.2fr)", (row) => row.origin),
      text("Description", "minmax(140px, 2fr)", (row) => row.unknown || row.description),
    ],
    actions: [
      {
        label: "Remove",
        warning: "What it holds anybody to is undone.",
        command: (row) => commandLine("policy", "rm", row.name),
        run: (row) => ask("DELETE", `/v1/policies/${path(row.name)}`),
      },
    ],
    Detail: Policy,
  },
  decisions: {
    title: "Decisions",
    path: "/v1/decisions?limit=1000",
    id: (row) => String(row.number),
    name: (row) => `decision ${row.number}`,
    empty: "No ruleset has decided anything so far.",
    columns: [
      text("Policy", "minmax(100px, 1fr)", (row) => row.policy),
      text("What", "minmax(110px, 1.2fr)", (row) => `${row.action} ${row.outcome}`),
      text("Target", "minmax(100px, 1.2fr)", (row) => row.target),
      text("Why", "minmax(180px, 3fr)", (row) => row.reason),
      text("Watched", "minmax(90px, 1fr)", (row) => row.watched),
      figure("When", "minmax(90px, 0.7fr)", (row) => row.time_ns, (ns) => moment(ns / 1e9)),
    ],
  },
  advice: {
    title: "Advice",
    path: "/v1/advice",
    everyMs: 15000,
    id: (row) => row.id,
    name: (row) => row.container,
    empty: "No container has been seen long enough.",
    columns: [
      text("Container", "minmax(110px, 1.2fr)", (row) => row.container),
      figure("Memory", "minmax(150px, 1.3fr)", (row) => resource(row, "memory")?.advised, size),
      figure("CPU", "minmax(70px, 0.6fr)", (row) => resource(row, "cpus")?.advised, cores),
      figure("Tasks", "minmax(60px, 0.5fr)", (row) => resource(row, "pids")?.advised, count),
      figure("Confidence", "minmax(84px, 0.6fr)", (row) => resource(row, "memory")?.confidence, percent),
      figure("Seen", "minmax(76px, 0.6fr)", (row) => row.since_s && Date.now() / 1000 - row.since_s, (s) => (s ? span(s) : "–")),
      text("Command", "minmax(220px, 3fr)", (row) => row.command ?? ""),
    ],
    actions: [
      {
        label: "Apply",
        fits: (row) => row.advice.length > 0 && row.command,
        warning: "These limits hold at once.",
        command: (row) => row.command,
        run: (row) => ask("POST", `/v1/containers/${row.id}/update`, Object.fromEntries(row.advice.map(limitOf).filter(Boolean))),
      },
    ],
    Detail: Advice,
  },
};

/** @param {{row: any}} props */
function Job({ row }) {
  return row.name === "build" ? html`<${BuildOutput} key=${row.id} job=${row} />` : html`<pre class="json" tabindex="0">${JSON.stringify(row, null, 2)}</pre>`;
}

/** @param {any} row @param {string} name */
function resource(row, name) {
  return row.advice.find((/** @type {any} */ one) => one.resource === name);
}

/** @type {Record<string, string>} */
const LIMITS = { memory: "memory_max_bytes", cpus: "cpus", pids: "pids_max" };

/** As the API takes it. @param {any} one */
function limitOf(one) {
  const name = LIMITS[one.resource];
  return name && [name, name === "cpus" ? one.advised : Math.round(one.advised)];
}

/** @param {{row: any}} props */
function Advice({ row }) {
  return html`${row.advice.map((/** @type {any} */ one) => html`<p key=${one.resource}><b>${one.resource}</b> ${one.why}</p>`)}
    ${row.command && html`<${Command} text=${row.command} />`}`;
}

/** @param {{row: any}} props */
function Policy({ row }) {
  const { data, error } = useGet(`/v1/policies/${path(row.name)}`, 5000);
  const test = useGet(`/v1/policies/${path(row.name)}/test`, 5000);
  if (!data) return html`<${Waiting} error=${error} what="the ruleset" />`;
  return html`<h3>In force</h3>
    ${data.holds.length ? data.holds.map((/** @type {any} */ one, /** @type {number} */ i) => html`<p key=${i}>grade ${one.grade}, <b>${one.action}</b>, of ${one.target} because of ${one.watched}, for ${age(one.since_ns)}</p>`) : html`<p class="soft">Nothing.</p>`}
    <h3>Now</h3>
    ${test.data && !test.data.targets.length && html`<p class="soft">Nothing that runs is what it looks at.</p>`}
    ${(test.data?.targets ?? []).map((/** @type {any} */ one) => html`<p key=${one.target}><b>${one.target}</b> ${one.holds ? "would act" : "calm"}: ${one.detectors.map((/** @type {any} */ d) => d.text ?? d.says ?? JSON.stringify(d)).join("; ")}</p>`)}
    <pre class="json" tabindex="0" aria-label="Ruleset">${JSON.stringify(data.ruleset, null, 2)}</pre>`;
}

/** @param {{room: string, may: boolean}} props */
export default function Lists({ room, may }) {
  return html`<${List} kind=${KINDS[room]} may=${may} />`;
}
