/**
 * A table of any length: only the rows in sight are made. Sortable, and walked by keyboard.
 *
 * The elements of a row that leaves are used for one that comes, where they are: a row that stays is
 * not looked at again, and none is moved among the others, for which all of it would be laid out anew.
 */

import { Component } from "../vendor/preact.js";
import { useEffect, useMemo, useRef, useState } from "../vendor/hooks.js";
import { html } from "../html.js";

/** Rows that are made on either side of those in sight, and how many come at once while it is scrolled. */
const BEYOND = 6;
const STEP = 3;
const GAP = 14;

/**
 * @typedef {object} Column
 * @property {string} title
 * @property {string} width a track of CSS grid
 * @property {(row: any) => any} cell
 * @property {(row: any) => any} [value] what is sorted by; without it the column is not sortable
 * @property {boolean} [isNumber]
 * @property {string} [className]
 */

/**
 * @param {object} props
 * @param {string} props.label
 * @param {Column[]} props.columns
 * @param {any[]} props.rows
 * @param {(row: any) => string} props.id
 * @param {number} [props.height] of a row, in pixels
 * @param {(row: any) => void} [props.onOpen]
 * @param {(key: string, row: any) => boolean} [props.onKey] true: it was for this key
 * @param {any} [props.empty] shown where there are no rows
 * @param {[string, number]} [props.sorted] title of a column, and 1 or -1
 * @param {any} [props.version] another one where the cells of the same rows have changed
 */
export function Table({ label, columns, rows, id, height = 36, onOpen, onKey, empty, sorted, version = rows }) {
  const [[by, way], setSort] = useState(sorted ?? ["", 1]);
  const [active, setActive] = useState("");
  const [above, setAbove] = useState(0);
  const [room, setRoom] = useState(600);
  const box = useRef(/** @type {any} */ (null));
  const shown = useMemo(() => inOrder(rows, columns, by, way), [rows, columns, by, way]);

  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setRoom(entry.contentRect.height));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (shown.length && !shown.some((row) => id(row) === active)) setActive(id(shown[0]));
  }, [shown]);

  const first = Math.max(0, Math.min(above, shown.length) - BEYOND);
  const count = Math.ceil(room / height) + STEP + 2 * BEYOND;
  const last = Math.min(shown.length, above - BEYOND + count);
  const tracks = columns.map((column) => column.width).join(" ");
  const least = `${columns.reduce((sum, column) => sum + leastOf(column.width) + GAP, GAP)}px`;
  const at = useMemo(() => shown.findIndex((row) => id(row) === active), [shown, active]);
  const inSight = placed(first, last, count);
  const clicked = useRef(/** @type {(row: any, event: MouseEvent) => void} */ (() => {}));
  clicked.current = (row, event) => {
    setActive(id(row));
    if (!/** @type {Element} */ (event.target).closest("button, a, input") && !getSelection()?.toString()) onOpen?.(row);
  };

  const go = (/** @type {number} */ to) => {
    const next = Math.max(0, Math.min(shown.length - 1, to));
    if (!shown[next]) return;
    setActive(id(shown[next]));
    const [begin, end] = [next * height, (next + 1) * height];
    const view = box.current;
    const space = view.clientHeight - height - 2;
    if (begin < view.scrollTop) view.scrollTop = begin;
    else if (end > view.scrollTop + space) view.scrollTop = end - space;
  };
  /** @type {Record<string, number>} */
  const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -1e9, End: 1e9 };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /** @type {Element} */ (event.target).closest("input, [role=columnheader]")) return;
    const onControl = /** @type {Element} */ (event.target).closest("button, a");
    const row = shown[at];
    if (event.key in moves) go(at + moves[event.key]);
    else if (event.key === "Enter" && row && onOpen && !onControl) onOpen(row);
    else if (!(row && onKey?.(event.key, row))) return;
    event.preventDefault();
  };
  const sort = (/** @type {Column} */ column) => setSort(([before, d]) => [column.title, before === column.title ? -d : column.isNumber ? -1 : 1]);

  const scrolled = (/** @type {any} */ event) => setAbove(Math.floor(event.currentTarget.scrollTop / height / STEP) * STEP);
  const head = useMemo(() => html`<div class="row head" role="row" aria-rowindex="1" style=${{ gridTemplateColumns: tracks, minWidth: least }}>
    ${columns.map((column) => html`<span key=${column.title} role="columnheader" class=${classOf(column)}
        aria-sort=${by === column.title ? (way > 0 ? "ascending" : "descending") : undefined}>
      ${column.value
        ? html`<button class="quiet" onClick=${() => sort(column)}>${column.title}<span aria-hidden="true">${by === column.title ? (way > 0 ? " ↑" : " ↓") : ""}</span></button>`
        : column.title}
    </span>`)}
  </div>`, [columns, by, way]);

  return html`<div class="table" role="grid" aria-label=${label} aria-rowcount=${shown.length + 1} aria-colcount=${columns.length}
      tabindex="0" ref=${box} onScroll=${scrolled} onKeyDown=${pressed}
      aria-activedescendant=${at >= first && at < last ? `row-${active}` : undefined}>
    ${head}
    <div class="body" role="rowgroup" style=${{ height: `${shown.length * height}px`, minWidth: least }}>
      ${inSight.map(([place, index]) => html`<${Row} key=${place} row=${shown[index]} id=${id(shown[index])} index=${index} height=${height} tracks=${tracks}
        columns=${columns} isActive=${index === at} opens=${Boolean(onOpen)} clicked=${clicked} version=${version} />`)}
    </div>
    ${!shown.length && html`<div role="row" class="empty"><span role="gridcell">${empty ?? "There is nothing here."}</span></div>`}
  </div>`;
}

/** One row, made anew only where something of it has changed. */
class Row extends Component {
  /** @param {any} next */
  shouldComponentUpdate(next) {
    return Object.keys(next).some((name) => next[name] !== this.props[name]);
  }

  /** Who has the focus in a row is not left in another. @param {any} before */
  componentDidUpdate(before) {
    if (before.id !== this.props.id && this.base.contains(document.activeElement)) this.base.closest("[role=grid]").focus({ preventScroll: true });
  }

  render() {
    const { row, id, index, height, tracks, columns, isActive, opens, clicked } = this.props;
    return html`<div id=${`row-${id}`} role="row" aria-rowindex=${index + 2} class=${`row ${isActive ? "active" : ""} ${opens ? "opens" : ""}`}
        style=${{ gridTemplateColumns: tracks, height: `${height}px`, transform: `translateY(${index * height}px)` }}
        aria-selected=${isActive} onClick=${(/** @type {MouseEvent} */ event) => clicked.current(row, event)}>
      ${columns.map((/** @type {Column} */ column) => html`<span key=${column.title} role="gridcell" class=${classOf(column)}>${column.cell(row)}</span>`)}
    </div>`;
  }
}

/**
 * The places of the elements, in their order, each with the index of its row: of `count` rows in a
 * row each has another place.
 * @param {number} first @param {number} last @param {number} count
 */
function placed(first, last, count) {
  const found = Array.from({ length: last - first }, (_, i) => /** @type {[number, number]} */ ([(first + i) % count, first + i]));
  return found.sort(([a], [b]) => a - b);
}

/** @param {Column} column */
function classOf({ isNumber, className = "" }) {
  return `${isNumber ? "number" : ""} ${className}`;
}

/** Pixels that a track of the grid has at least. @param {string} width */
function leastOf(width) {
  return Number(/^(?:minmax\()?(\d+)px/.exec(width)?.[1] ?? 0);
}

/** @param {any[]} rows @param {Column[]} columns @param {string} by @param {number} way */
function inOrder(rows, columns, by, way) {
  const value = columns.find((column) => column.title === by)?.value;
  if (!value) return rows;
  const found = rows.map((row) => /** @type {[any, any]} */ ([value(row), row]));
  found.sort(([a], [b]) => compare(a, b, way));
  return found.map(([, row]) => row);
}

/** What is not known comes last, whichever way. @param {any} a @param {any} b @param {number} way */
function compare(a, b, way) {
  if (a == null || b == null) return Number(a == null) - Number(b == null);
  if (typeof a === "string") return way * a.localeCompare(b, undefined, { numeric: true });
  return way * (a - b);
}
