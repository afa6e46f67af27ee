/** One dialog and one line of news for the whole page. */

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { html } from "../html.js";

/** @type {(asked: any) => void} */
let open = () => {};
/** @type {(news: any) => void} */
let tell = () => {};

/**
 * Ask before something is done; it is done while the dialog shows that.
 * @param {{title: string, text?: string, command?: string, label: string, danger?: boolean, run: () => Promise<any>}} asked
 */
export function confirm(asked) {
  open(asked);
}

/** Say how something went. @param {string} text @param {boolean} [isError] */
export function say(text, isError = false) {
  tell({ text, isError, at: Date.now() });
}

/** Do it and say how it went. @param {string} what @param {() => Promise<any>} run */
export async function attempt(what, run) {
  try {
    await run();
    say(what);
    return true;
  } catch (e) {
    say(/** @type {Error} */ (e).message, true);
    return false;
  }
}

export function Dialog() {
  const [asked, setAsked] = useState(/** @type {any} */ (null));
  const [error, setError] = useState("");
  const [isBusy, setBusy] = useState(false);
  const box = useRef(/** @type {any} */ (null));
  const current = useRef(/** @type {any} */ (null));
  current.current = asked;
  open = (next) => {
    setError("");
    setBusy(false);
    setAsked(next);
  };
  useEffect(() => {
    if (asked && !box.current.open) box.current.showModal();
  }, [asked]);
  const close = () => {
    box.current?.close();
    setAsked(null);
  };
  const go = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await asked.run();
      if (current.current === asked) close();
      say(`${asked.title}: done`);
    } catch (e) {
      const { message } = /** @type {Error} */ (e);
      if (current.current === asked) setError(message);
      else say(`${asked.title}: ${message}`, true); // it was closed meanwhile
    }
    if (current.current === asked || !current.current) setBusy(false);
  };
  if (!asked) return null;
  return html`<dialog ref=${box} aria-labelledby="asked" onClose=${() => setAsked(null)}>
    <form method="dialog" onSubmit=${go}>
      <h2 id="asked">${asked.title}</h2>
      ${asked.text && html`<p>${asked.text}</p>`}
      ${asked.command && html`<${Command} text=${asked.command} />`}
      ${error && html`<p class="problem" role="alert">${error}</p>`}
      <div class="buttons">
        <button type="button" onClick=${close}>Cancel</button>
        <button class=${asked.danger ? "danger" : "primary"} disabled=${isBusy} autofocus>
          ${isBusy ? "Working…" : asked.label}
        </button>
      </div>
    </form>
  </dialog>`;
}

/** A command line that does the same, to copy. @param {{text: string}} props */
export function Command({ text }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    } catch {
      say("the browser does not let the page copy: select the text", true);
    }
  };
  return html`<div class="command">
    <code tabindex="0">${text}</code>
    <button type="button" class="quiet" onClick=${copy} aria-label="Copy the command">${copied ? "Copied" : "Copy"}</button>
  </div>`;
}

export function News() {
  const [news, setNews] = useState(/** @type {any} */ (null));
  tell = setNews;
  useEffect(() => {
    const timer = setTimeout(() => setNews(null), news?.isError ? 12000 : 3500);
    return () => clearTimeout(timer);
  }, [news]);
  return html`<div class="news" role="status" aria-live="polite">
    ${news && html`<p class=${news.isError ? "problem" : ""}>
      ${news.text}<button class="quiet" aria-label="Close" onClick=${() => setNews(null)}>✕</button>
    </p>`}
  </div>`;
}
