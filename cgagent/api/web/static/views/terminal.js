/** A shell inside, in xterm.js. Its styles go the way that a strict policy for content allows. */

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { ask, socket } from "../api.js";
import { html } from "../html.js";
import { commandLine } from "../actions.js";
import { Command } from "../parts/dialog.js";

const SHELL = ["sh", "-c", "command -v bash >/dev/null && exec bash || exec sh"];
/** Forget the line that is being typed, and end the input: nobody can come back to a shell that is left. */
const LEAVE = "\u0005\u0015\u0004";

/** @param {{container: any, facts: any, may: boolean}} props */
export function Terminal({ container, facts, may }) {
  const box = useRef(/** @type {any} */ (null));
  const [run, setRun] = useState(0);
  const [says, setSays] = useState("");
  useEffect(() => {
    if (!run) return undefined;
    let end = () => {};
    let isOver = false;
    open(container.id, box.current, setSays).then(
      (close) => (isOver ? close() : (end = close)),
      (e) => setSays(e.message),
    );
    return () => {
      isOver = true;
      end();
    };
  }, [run, container.id]);
  if (!may) return html`<p class="soft">A terminal needs a token whose scope is control.</p>`;
  const isRunning = facts.status === "running";
  return html`<section class="terminal">
    <div class="tools">
      <button class="primary" disabled=${!isRunning} onClick=${() => setRun(run + 1)}>${run ? "Open another shell" : "Open a shell"}</button>
      <span class="soft" role="status">${isRunning ? says : "It has to run."}</span>
    </div>
    <div class="screen" ref=${box}></div>
    <${Command} text=${commandLine("exec", "-it", container.name, "sh")} />
  </section>`;
}

/** @param {string} id @param {HTMLElement} place @param {(text: string) => void} say @returns {Promise<() => void>} */
async function open(id, place, say) {
  say("Opening…");
  const [{ Terminal: Xterm }, { FitAddon }] = await Promise.all([import("../vendor/xterm.js"), import("../vendor/xterm-fit.js"), styled()]);
  const term = new Xterm({ fontSize: 13, fontFamily: "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace", scrollback: 5000, screenReaderMode: true, theme: { background: "#10151c" } });
  const fit = new FitAddon();
  term.loadAddon(fit);
  place.replaceChildren();
  const removeSheets = withSheets(() => term.open(place));
  fit.fit();
  const { cols, rows } = term;
  const clear = () => {
    term.dispose();
    removeSheets();
  };
  const shell = { command: SHELL, tty: true, console_size: [rows, cols] };
  const made = await ask("POST", `/v1/containers/${id}/exec?start=false`, shell).catch((e) => {
    clear();
    throw e;
  });
  const line = socket(`/v1/exec/${made.id}/ws`);
  const encoder = new TextEncoder();
  line.onopen = () => {
    say(`Connected, ${cols} × ${rows}`);
    term.focus();
  };
  line.onmessage = (event) => term.write(new Uint8Array(event.data));
  line.onclose = () => {
    say("The shell has ended.");
    term.options.disableStdin = true;
  };
  const type = (/** @type {string} */ text) => line.readyState === WebSocket.OPEN && line.send(encoder.encode(text));
  const leave = () => type(LEAVE);
  addEventListener("pagehide", leave);
  term.onData(type);
  term.onResize((/** @type {{cols: number, rows: number}} */ { cols: w, rows: h }) => line.readyState === WebSocket.OPEN && ask("POST", `/v1/exec/${made.id}/resize?h=${h}&w=${w}`).catch(() => {}));
  const observer = new ResizeObserver(() => fit.fit());
  observer.observe(place);
  return () => {
    observer.disconnect();
    removeEventListener("pagehide", leave);
    leave();
    line.onclose = null; // the next shell's words are shown by now
    line.close();
    clear();
  };
}

/** The style sheet of xterm.js, once. */
function styled() {
  const href = new URL("../vendor/xterm.css", import.meta.url).pathname;
  if (document.querySelector(`link[href="${href}"]`)) return undefined;
  return new Promise((done) => {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href, onload: done, onerror: done });
    document.head.append(link);
  });
}

/**
 * Style elements that xterm.js makes meanwhile become sheets of the document: the page's policy for
 * content takes no inline style, and has no need of an exception this way.
 * @param {() => void} work @returns {() => void} what takes the sheets away
 */
function withSheets(work) {
  /** @type {CSSStyleSheet[]} */
  const made = [];
  const element = () => {
    const sheet = new CSSStyleSheet();
    made.push(sheet);
    const stand = document.createElement("i");
    stand.hidden = true;
    Object.defineProperty(stand, "textContent", { set: (text) => sheet.replaceSync(text) });
    return stand;
  };
  const create = document.createElement;
  document.createElement = (/** @type {string} */ tag) => (tag === "style" ? element() : create.call(document, tag));
  try {
    work();
  } finally {
    document.createElement = create;
  }
  document.adoptedStyleSheets.push(...made);
  return () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => !made.includes(sheet));
  };
}
