/**
 * The agent's public API. The token is this tab's alone (sessionStorage): a cookie would go to
 * every other port of the same host as well.
 */

const KEPT = "cgagent.token";
const RETRY_MS = [500, 1000, 2000, 4000];
const NEWLINE = 10;

/** @type {(problem: Problem) => void} */
let signedOut = () => {};

/** @param {(problem: Problem) => void} told called when the agent wants a token, or takes this one no more */
export function onSignedOut(told) {
  signedOut = told;
}

export function token() {
  return sessionStorage.getItem(KEPT) ?? "";
}

/** @param {string} given */
export function keepToken(given) {
  if (given) sessionStorage.setItem(KEPT, given);
  else sessionStorage.removeItem(KEPT);
}

/** `cgagent ui` prints a link whose fragment has a token: fragments are sent to nobody. */
export function takeTokenOfLink() {
  const found = /^#token=([\w.-]+)$/.exec(location.hash);
  if (found) {
    keepToken(found[1]);
    history.replaceState(null, "", location.pathname);
  }
}

/** What the agent answered instead: its cause, and what to do next. */
export class Problem extends Error {
  /** @param {number} status @param {any} body */
  constructor(status, body) {
    super(body?.detail ?? `the agent answers ${status}`);
    this.status = status;
    this.kind = body?.kind ?? "";
    this.cause_ = body?.cause ?? this.message;
    this.next = body?.next_step ?? "";
  }
}

/** A body is sent as JSON, but for a Blob. @param {string} method @param {string} path @param {any} [body] @param {RequestInit} [more] */
async function send(method, path, body, more = {}) {
  const headers = new Headers(more.headers);
  const isJson = body !== undefined && !(body instanceof Blob);
  if (token()) headers.set("authorization", `Bearer ${token()}`);
  if (isJson) headers.set("content-type", "application/json");
  const answer = await fetch(path, {
    ...more,
    method,
    headers,
    body: isJson ? JSON.stringify(body) : body,
    credentials: "omit",
    cache: "no-store",
  });
  if (answer.ok) return answer;
  const problem = new Problem(answer.status, await answer.json().catch(() => null));
  if (answer.status === 401) signedOut(problem);
  throw problem;
}

/** The JSON of an answer, or null of an empty one. @param {string} method @param {string} path @param {any} [body] */
export async function ask(method, path, body) {
  const answer = await send(method, path, body);
  return answer.status === 204 ? null : answer.json();
}

/** @param {string} path */
export const get = (path) => ask("GET", path);

/**
 * Each line of an answer as JSON.
 * @param {string} method @param {string} path @param {any} [body] @param {AbortSignal} [signal]
 * @param {Record<string, string>} [headers]
 */
export async function* lines(method, path, body, signal, headers) {
  const answer = await send(method, path, body, { signal, headers });
  const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    if (!value.includes(NEWLINE)) continue; // the first line of a thousand containers comes in many pieces
    const parts = rest.split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) if (part) yield JSON.parse(part);
  }
}

/**
 * @typedef {object} How
 * @property {(state: "live" | "paused" | "lost" | "over", error?: Error) => void} [changed]
 * @property {number} [silentS] a stream is given up that has told nothing for so long: its network is gone
 * @property {() => boolean} [isOver] asked when a stream has come to its end: there will be no more
 */

/**
 * Follow a stream as long as the page is looked at, again and again when it breaks off.
 * @param {() => string} path asked for each connection: it may say where to go on
 * @param {(line: any) => void} told
 * @param {How} [how]
 * @returns {() => void} what ends it
 */
export function follow(path, told, { changed = () => {}, silentS = 0, isOver = () => false } = {}) {
  const life = new AbortController();
  /** @type {AbortController | null} */
  let one = null;
  const look = () => {
    if (document.hidden) one?.abort();
  };
  document.addEventListener("visibilitychange", look);
  run();
  return () => {
    document.removeEventListener("visibilitychange", look);
    life.abort();
    one?.abort();
  };

  async function run() {
    let failures = 0;
    while (!life.signal.aborted) {
      if (document.hidden) {
        changed("paused");
        await shown(life.signal);
        continue;
      }
      const connection = (one = new AbortController());
      let error;
      let timer = 0;
      const heard = () => {
        clearTimeout(timer);
        if (silentS) timer = setTimeout(() => connection.abort(new Error(`nothing was heard for ${silentS} s`)), silentS * 1000);
      };
      try {
        heard();
        for await (const line of lines("GET", path(), undefined, one.signal)) {
          if (life.signal.aborted) return;
          failures = 0;
          heard();
          changed("live");
          told(line);
        }
      } catch (e) {
        error = /** @type {Error} */ (e);
        if (life.signal.aborted) return;
        if (error instanceof Problem && error.status < 500) return changed("lost", error);
      } finally {
        clearTimeout(timer);
      }
      if (document.hidden) continue;
      if (!error && isOver()) return changed("over");
      changed("lost", error);
      await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
      failures += 1;
    }
  }
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((done) => setTimeout(done, ms));
}

/** @param {AbortSignal} signal */
function shown(signal) {
  return new Promise((done) => {
    document.addEventListener("visibilitychange", done, { once: true });
    signal.addEventListener("abort", done, { once: true });
  });
}

/** A websocket with the token as a subprotocol: a page can send no header with it. @param {string} path */
export function socket(path) {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const shownToken = token() ? [`cgagent.token.${token()}`] : [];
  const line = new WebSocket(`${scheme}//${location.host}${path}`, ["cgagent", ...shownToken]);
  line.binaryType = "arraybuffer";
  return line;
}
