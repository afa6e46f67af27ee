/** Hooks: what the agent answers to a path, and how wide the window is. */

import { useCallback, useEffect, useRef, useState } from "../vendor/hooks.js";
import { get, Problem } from "../api.js";

/**
 * The answer to GET `path`, asked again each `everyMs` while the page is looked at. What is not there
 * is not asked for again, until `reload`.
 * @param {string | null} path null: not now @param {number} [everyMs]
 */
export function useGet(path, everyMs = 0) {
  const [found, setFound] = useState(/** @type {{data: any, error: Error | null, of: string | null}} */ ({ data: null, error: null, of: null }));
  const missing = useRef(false);
  const load = useCallback(async () => {
    if (!path || document.hidden) return;
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
    load();
    if (!everyMs) return undefined;
    const timer = setInterval(() => !missing.current && load(), everyMs);
    return () => clearInterval(timer);
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
