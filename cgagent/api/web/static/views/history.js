/** What the agent has kept of a container, put together from several answers. Pure functions. */

/**
 * @typedef {object} Device
 * @property {string} device as the kernel numbers it
 * @property {string} name
 * @property {(number | null)[]} read_bytes_per_s for each of the times, as the other
 * @property {(number | null)[]} write_bytes_per_s
 *
 * @typedef {object} History
 * @property {number[]} at_s
 * @property {Record<string, (number | null)[]>} columns for each of the times
 * @property {Device[]} devices
 */

/**
 * What was there from `begin` on, and the answer after it.
 * @param {History | null} before
 * @param {{columns: string[], rows: any[][], devices: Device[]}} answer
 * @param {number} begin Unix seconds
 * @returns {History}
 */
export function joined(before, { columns, rows, devices }, begin) {
  const first = before?.at_s.findIndex((at) => at >= begin) ?? 0;
  const left = before && first >= 0 ? before.at_s.length - first : 0;
  const end = (/** @type {any[] | undefined} */ values) => (left ? values?.slice(-left) ?? Array(left).fill(null) : []);
  const column = (/** @type {string} */ name) => rows.map((row) => row[columns.indexOf(name)]);
  const known = new Map(before?.devices.map((one) => [one.device, one]));
  return {
    at_s: [...end(before?.at_s), ...column("at_s")],
    columns: Object.fromEntries(columns.slice(1).map((name) => [name, [...end(before?.columns[name]), ...column(name)]])),
    devices: devices.map((one) => ({
      ...one,
      read_bytes_per_s: [...end(known.get(one.device)?.read_bytes_per_s), ...one.read_bytes_per_s],
      write_bytes_per_s: [...end(known.get(one.device)?.write_bytes_per_s), ...one.write_bytes_per_s],
    })),
  };
}

/**
 * The same with figures of one more moment, as the stream of the fleet has them: of no device.
 * @param {History} before
 * @param {number} at_s
 * @param {Record<string, number | null>} figures by column
 * @param {number} begin Unix seconds
 * @returns {History}
 */
export function followed(before, at_s, figures, begin) {
  if (at_s <= (before.at_s.at(-1) ?? 0)) return before;
  const columns = Object.keys(figures);
  return joined(before, { columns: ["at_s", ...columns], rows: [[at_s, ...columns.map((name) => figures[name])]], devices: [] }, begin);
}
