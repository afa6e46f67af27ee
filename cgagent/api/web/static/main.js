/** The whole page: who is let in, where one is, and what is above every view. */

import { h, render } from "./vendor/preact.js";
import { useEffect, useState } from "./vendor/hooks.js";
import { get, keepToken, onSignedOut, takeTokenOfLink, token } from "./api.js";
import { cores, ofAddress, size } from "./format.js";
import { html } from "./html.js";
import * as live from "./live.js";
import { Dialog, News } from "./parts/dialog.js";
import { Bar } from "./parts/small.js";
import { Fleet } from "./views/fleet.js";
import { Login } from "./views/login.js";

/** @type {Record<string, () => Promise<any>>} views that are loaded when they are opened */
const LATER = {
  containers: () => import("./views/container.js"),
  host: () => import("./views/host.js"),
  cgroups: () => import("./views/cgroups.js"),
  images: () => import("./views/images.js"),
  groups: () => import("./views/lists.js"),
  networks: () => import("./views/lists.js"),
  volumes: () => import("./views/lists.js"),
  builds: () => import("./views/builds.js"),
  jobs: () => import("./views/lists.js"),
  policies: () => import("./views/lists.js"),
  decisions: () => import("./views/lists.js"),
  advice: () => import("./views/lists.js"),
};
const NAV = ["fleet", "groups", "host", "cgroups", "images", "networks", "volumes", "builds", "jobs", "policies", "decisions", "advice"];
/** @type {Record<string, string>} */
const TITLES = { fleet: "Containers", host: "Host", cgroups: "Cgroups" };

/** What is behind the hash; one that names nothing is the fleet's, whatever somebody has put there. */
function place() {
  const [, room = "", ...rest] = location.hash.split("/").map(ofAddress);
  const isThere = Object.hasOwn(LATER, room) && (room !== "containers" || rest[0]);
  return { room: isThere ? room : "fleet", rest };
}

function Page() {
  const [caller, setCaller] = useState(/** @type {any} */ (null));
  const [problem, setProblem] = useState(/** @type {Error | null} */ (null));
  const [at, setAt] = useState(place);
  const enter = async () => {
    live.start(); // the containers are asked for together with who asks
    try {
      setCaller(await get("/v1/caller"));
      setProblem(null);
    } catch (e) {
      live.end();
      setProblem(/** @type {Error} */ (e));
    }
  };
  useEffect(() => {
    onSignedOut((refused) => {
      live.end();
      setCaller(null);
      setProblem(refused);
    });
    enter();
    const moved = () => {
      if (location.hash.startsWith("#token=")) {
        takeTokenOfLink();
        enter();
      }
      setAt(place());
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  useEffect(() => {
    document.title = `${TITLES[at.room] ?? at.rest[0] ?? at.room} – cgagent`;
  }, [at]);
  if (!caller) return problem ? html`<${Login} problem=${problem} enter=${enter} />` : html`<main class="login"><p class="waiting">Connecting…</p></main>`;
  const may = caller.scope === "control" || caller.scope === "admin";
  return html`
    <${Head} at=${at} caller=${caller} may=${may} />
    <main id="content" tabindex="0"><${View} at=${at} may=${may} /></main>
    <${Dialog} /><${News} />`;
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("content")?.focus();
}

/** @param {{at: {room: string, rest: string[]}, may: boolean}} props */
function View({ at, may }) {
  const [loaded, setLoaded] = useState(/** @type {any} */ ({}));
  const later = LATER[at.room];
  useEffect(() => {
    if (later) later().then((found) => setLoaded({ room: at.room, view: found.default }), () => setLoaded({ room: at.room, failed: true }));
  }, [at.room]);
  if (!later) return html`<${Fleet} may=${may} />`;
  if (loaded.room !== at.room) return html`<p class="waiting">Loading…</p>`;
  if (loaded.failed) return html`<p class="problem" role="alert">This part of the page cannot be loaded; is the agent there?</p>`;
  return h(loaded.view, { key: `${at.room}/${at.room === "containers" ? at.rest[0] : ""}`, room: at.room, rest: at.rest, may });
}

/** @param {{at: {room: string}, caller: any, may: boolean}} props */
function Head({ at, caller, may }) {
  const { host, cpu, state, error } = live.useFleet();
  const used = host.memory_total_bytes - host.memory_available_bytes;
  const leave = () => {
    keepToken("");
    location.reload();
  };
  return html`<header>
    <a class="skip" href="#content" onClick=${skip}>Skip to the content</a>
    <a class="brand" href="#/"><img src="icon.svg" alt="" width="22" height="22" />cgagent</a>
    <nav aria-label="Views">${NAV.map((room) => html`<a key=${room} href=${`#/${room === "fleet" ? "" : room}`}
      aria-current=${at.room === room || (room === "fleet" && at.room === "containers") ? "page" : undefined}>${TITLES[room] ?? room[0].toUpperCase() + room.slice(1)}</a>`)}</nav>
    <div class="host">
      <span class="meter"><small>CPU</small> ${cores(cpu)}<small> / ${host.cpus ?? "–"}</small><${Bar} used=${cpu ?? 0} limit=${host.cpus} label="CPU of the host" /></span>
      <span class="meter"><small>Memory</small> ${size(used || null)}<small> / ${size(host.memory_total_bytes)}</small><${Bar} used=${used || 0} limit=${host.memory_total_bytes} label="Memory of the host" /></span>
      <span class=${`link link-${state}`} role="status">${LINKS[state] ?? state}</span>
      ${!may && html`<span class="readonly" title="This token may look and change nothing">read only</span>`}
      ${token() && html`<button class="quiet" onClick=${leave} title=${`Signed in by token ${caller.name}`}>Sign out</button>`}
    </div>
    ${state === "lost" && html`<p class="lost" role="alert">The agent does not answer; containers go on without it. Trying again…${error ? ` (${error.message})` : ""}</p>`}
  </header>`;
}

/** @type {Record<string, string>} */
const LINKS = { live: "● live", lost: "○ reconnecting", connecting: "○ connecting", paused: "‖ paused" };

takeTokenOfLink();
render(html`<${Page} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
