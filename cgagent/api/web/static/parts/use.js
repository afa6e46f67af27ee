/** Hooks: what the agent answers to a path, and how wide the window is. What is hidden asks for nothing. */

import { useCallback, useEffect, useRef, useState } from "../vendor/hooks.js";
import { get, Problem } from "../api.js";

/** A timer may fire a little earlier than it should. */
const SLACK_MS = 100;

/**
 * Call `run` now and each `everyMs` (0: never again) while the page is looked at, and what is due meanwhile
 * when somebody looks at it again.
 * @param {() => void} run @param {number} everyMs
 * @returns {() => void} what ends it
 */
export function every(run, everyMs) {
  let due = 0;
  const look = () => {
    if (document.hidden || Date.now() < due) return;
    due = everyMs ? Date.now() + everyMs - SLACK_MS : Infinity;
    run();
  };
  look();
  const timer = everyMs ? setInterval(look, everyMs) : 0;
  document.addEventListener("visibilitychange", look);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", look);
  };
}

/**
 * The answer to GET `path`, asked again each `everyMs` while the page is looked at. What is not there
 * is not asked for again, until `reload`.
 * @param {string | null} path null: not now @param {number} [everyMs]
 */
export function useGet(path, everyMs = 0) {
  const [found, setFound] = useState(/** @type {{data: any, error: Error | null, of: string | null}} */ ({ data: null, error: null, of: null }));
  const missing = useRef(false);
  const load = useCallback(async () => {
    if (!path) return;
    try {
      const data = await get(path);
      missing.current = false;
      setFound({ data, error: null, of: path });
    } catch (e) {
      missing.current = isMissing(e);
      setFound((before) => ({ data: before.of === path ? before.data : null, error: /** @type {Error} */ (e), of: path }));
    }
  }, [path]);
  useEffect(() => {
    missing.current = false;
    return every(() => !missing.current && load(), everyMs);
  }, [load, everyMs]);
  const isOfPath = found.of === path;
  return { data: isOfPath ? found.data : null, error: isOfPath ? found.error : null, reload: load };
}

/** Says of an error whether what was asked for is not there. @param {unknown} error */
export function isMissing(error) {
  return error instanceof Problem && error.status === 404;
}

/** @param {string} query of CSS */
export function useMedia(query) {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const told = () => setMatches(list.matches);
    list.addEventListener("change", told);
    return () => list.removeEventListener("change", told);
  }, [query]);
  return matches;
}
