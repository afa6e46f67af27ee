/** A list of anything that the API lists: a table, what can be done to a row, and its details. */

import { useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { attempt, confirm } from "../parts/dialog.js";
import { Waiting } from "../parts/small.js";
import { Table } from "../parts/table.js";
import { useGet, useMedia } from "../parts/use.js";

/**
 * @typedef {object} RowAction
 * @property {string} label
 * @property {(row: any) => boolean} [fits]
 * @property {(row: any) => string} [command]
 * @property {string} [warning] asked before; without it nothing is asked
 * @property {(row: any) => Promise<any>} run
 *
 * @typedef {object} Kind
 * @property {string} title
 * @property {string} path
 * @property {(row: any) => string} id
 * @property {(row: any) => string} name
 * @property {import("../parts/table.js").Column[]} columns the first of them are left on a phone
 * @property {RowAction[]} [actions]
 * @property {any} [empty]
 * @property {[string, number]} [sorted]
 * @property {number} [everyMs]
 * @property {any} [Above] a component above the table
 * @property {any} [Detail] a component for the row that is open
 */

/** A column of words. @param {string} title @param {string} width @param {(row: any) => any} value */
export const text = (title, width, value) => ({ title, width, value, cell: value });

/** A column of figures. @param {string} title @param {string} width @param {(row: any) => any} value @param {(value: any) => string} show */
export const figure = (title, width, value, show) => ({ title, width, value, isNumber: true, cell: (/** @type {any} */ row) => show(value(row)) });

/** @param {{kind: Kind, may: boolean}} props */
export function List({ kind, may }) {
  const { data, error, reload } = useGet(kind.path, kind.everyMs ?? 5000);
  const [search, setSearch] = useState("");
  const [opened, setOpened] = useState("");
  const isPhone = useMedia("(max-width: 700px)");
  const wanted = search.toLowerCase();
  const rows = (data ?? []).filter((/** @type {any} */ row) => !wanted || JSON.stringify(row).toLowerCase().includes(wanted));
  const act = async (/** @type {RowAction} */ action, /** @type {any} */ row) => {
    const run = async () => {
      await action.run(row);
      await reload();
    };
    if (!action.warning) return attempt(`${action.label}: ${kind.name(row)}`, run);
    return confirm({ title: `${action.label} ${kind.name(row)}`, text: action.warning, command: action.command?.(row), label: action.label, danger: true, run });
  };
  const acts = {
    title: "Actions",
    width: `${Math.min(2, kind.actions?.length ?? 0) * 84}px`,
    className: "acts",
    cell: (/** @type {any} */ row) => (kind.actions ?? []).filter((one) => one.fits?.(row) ?? true).map((one) => html`<button key=${one.label} class="small"
      tabindex="-1" aria-label=${`${one.label} ${kind.name(row)}`} onClick=${() => act(one, row)}>${one.label}</button>`),
  };
  const columns = [...(isPhone ? kind.columns.slice(0, 3) : kind.columns), ...(may && kind.actions ? [acts] : [])];
  const open = rows.find((/** @type {any} */ row) => kind.id(row) === opened);
  return html`<section class="list">
    <div class="tools"><h1>${kind.title}</h1>
      <label class="search"><span class="hidden">Search</span><input type="search" placeholder="Search" value=${search} onInput=${(/** @type {any} */ e) => setSearch(e.target.value)} /></label>
      <span class="soft">${data ? `${rows.length} of ${data.length}` : ""}</span></div>
    ${kind.Above && html`<${kind.Above} may=${may} reload=${reload} rows=${data ?? []} />`}
    ${error && html`<p class="problem" role="alert">${error.message}</p>`}
    ${data ? html`<${Table} label=${kind.title} columns=${columns} rows=${rows} id=${kind.id} sorted=${kind.sorted} empty=${kind.empty}
      onOpen=${(/** @type {any} */ row) => setOpened(kind.id(row) === opened ? "" : kind.id(row))} />` : !error && html`<${Waiting} what=${kind.title.toLowerCase()} />`}
    ${open && html`<section class="card detail" aria-label=${`About ${kind.name(open)}`}><div class="tools"><h2>${kind.name(open)}</h2><button class="quiet" onClick=${() => setOpened("")} aria-label="Close">✕</button></div>
      ${kind.Detail ? html`<${kind.Detail} row=${open} />` : html`<pre class="json" tabindex="0">${JSON.stringify(open, null, 2)}</pre>`}</section>`}
  </section>`;
}
