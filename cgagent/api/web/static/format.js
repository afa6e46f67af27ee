/** Figures and times as people read them. Pure functions. */

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];
const NOTHING = "–";

/** @param {number | null | undefined} bytes */
export function size(bytes) {
  if (bytes == null) return NOTHING;
  let unit = 0;
  while (Math.abs(bytes) >= 1024 && unit < SIZES.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${unit && bytes < 9.95 ? bytes.toFixed(1) : Math.round(bytes)} ${SIZES[unit]}`;
}

/** @param {number | null | undefined} bytes */
export function rate(bytes) {
  return bytes == null ? NOTHING : `${size(bytes)}/s`;
}

/** CPU seconds a second. @param {number | null | undefined} value */
export function cores(value) {
  if (value == null) return NOTHING;
  return value < 9.995 ? value.toFixed(2) : value.toFixed(1);
}

/** @param {number | null | undefined} ratio */
export function percent(ratio) {
  if (ratio == null) return NOTHING;
  const value = ratio * 100;
  return `${value && value < 9.95 ? value.toFixed(1) : Math.round(value)} %`;
}

/** @param {number | null | undefined} value */
export function count(value) {
  return value == null ? NOTHING : String(value);
}

/** A span of time, in its two largest units at most. @param {number} seconds */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [days, hours] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24];
  const [minutes, rest] = [Math.floor(whole / 60) % 60, whole % 60];
  if (days) return days < 10 ? `${days}d ${hours}h` : `${days}d`;
  if (hours) return `${hours}h ${minutes}m`;
  return minutes ? `${minutes}m ${rest}s` : `${rest}s`;
}

/** How long ago. @param {number | null | undefined} ns Unix nanoseconds */
export function age(ns) {
  return ns ? span(Date.now() / 1000 - ns / 1e9) : NOTHING;
}

/** @param {number} seconds Unix time */
export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
}

/** @param {number} seconds Unix time */
export function moment(seconds) {
  const at = new Date(seconds * 1000);
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday ? clock(seconds) : `${at.toLocaleDateString()} ${clock(seconds)}`;
}

/** An id as short as docker shows it. @param {string} id */
export function shortId(id) {
  return id.replace(/^sha256:/, "").slice(0, 12);
}

/** A path whose ids are short. @param {string} path */
export function shortPath(path) {
  return path.replace(/[0-9a-f]{64}/g, (id) => `${shortId(id)}…`);
}

/** A path as an address has it; of a byte that is no UTF-8 the agent makes a lone surrogate. @param {string} path */
export function inAddress(path) {
  const part = (/** @type {string} */ text) => (/^\p{Cs}$/u.test(text) ? `%${(text.charCodeAt(0) & 255).toString(16)}` : encodeURIComponent(text));
  return path.split(/(\/|\p{Cs})/u).map((text) => (text === "/" ? text : part(text))).join("");
}

/** What `inAddress` was given; of what is no code at all, itself. @param {string} text */
export function ofAddress(text) {
  const bytes = (/** @type {string} */ run) => run.slice(1).split("%").map((hex) => parseInt(hex, 16));
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (run) => {
    try {
      return decodeURIComponent(run);
    } catch {
      return String.fromCharCode(...bytes(run).map((byte) => (byte < 128 ? byte : 0xdc00 + byte)));
    }
  });
}

/** "256m", "1.5g", "max" or "" as bytes, "max" or null. Throws what is wrong with it. @param {string} text */
export function parseSize(text) {
  const trimmed = text.trim().toLowerCase();
  if (!trimmed) return null;
  if (trimmed === "max") return "max";
  const found = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/.exec(trimmed);
  if (!found) throw new Error(`${text}: a size such as 256m, or max`);
  return Math.round(Number(found[1]) * 1024 ** " kmgt".indexOf(found[2] || " "));
}

/** Bytes as a flag takes them, without loss. @param {number | string | null | undefined} bytes */
export function flagSize(bytes) {
  if (bytes == null || bytes === "max") return bytes ?? "";
  for (const [unit, factor] of /** @type {[string, number][]} */ ([["g", 2 ** 30], ["m", 2 ** 20], ["k", 2 ** 10]])) {
    if (Number(bytes) && Number(bytes) % factor === 0) return `${Number(bytes) / factor}${unit}`;
  }
  return String(bytes);
}
