/** A chart over time by uPlot, with limits as lines and events as marks on the axis. */

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import uPlot from "../vendor/uplot.js";
import { clock } from "../format.js";
import { html } from "../html.js";

const HEIGHT = 150;
const LEAST_S = 30;
/** So near to a mark the pointer is at it. */
const NEAR_PX = 5;

/**
 * @typedef {object} Series
 * @property {string} label
 * @property {string} color name of a variable of variables.css
 * @property {boolean} [fill]
 * @property {boolean} [dashed]
 */

/**
 * @param {object} props
 * @param {string} props.title
 * @param {Series[]} props.series
 * @param {any[][]} props.data the times in Unix seconds, then the values of each series
 * @param {(value: number | null) => string} props.format
 * @param {{at: number, label: string, kind: string}[]} [props.events]
 * @param {number} [props.top] the least that the axis shows
 * @param {string} [props.note]
 */
export function Chart({ title, series, data, format, events = [], top = 0, note }) {
  const box = useRef(/** @type {any} */ (null));
  const chart = useRef(/** @type {any} */ (null));
  const marks = useRef(events);
  marks.current = events;
  const least = useRef(top);
  least.current = top;
  const [pointed, setPointed] = useState("");
  const shape = series.map((one) => one.label).join("|");
  useEffect(() => {
    const colors = getComputedStyle(document.documentElement);
    const color = (/** @type {string} */ name) => colors.getPropertyValue(`--${name}`).trim();
    const axis = { stroke: color("soft"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false }, font: `11px ${color("font")}` };
    chart.current = new uPlot(
      {
        width: box.current.clientWidth,
        height: HEIGHT,
        cursor: { sync: { key: "container" }, points: { size: 5 }, drag: { x: false } },
        legend: { live: true },
        scales: { x: { time: true, range: (/** @type {any} */ _, /** @type {number | null} */ min, /** @type {number | null} */ max) => [min == null || max == null ? null : Math.min(min, max - LEAST_S, ...marks.current.map((one) => one.at)), max] }, y: { range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ max) => [0, Math.max(max || 0, least.current, 1e-6) * 1.08] } },
        axes: [
          { ...axis, size: 26, values: (/** @type {any} */ _, /** @type {number[]} */ at, /** @type {number} */ __, /** @type {number} */ ___, /** @type {number} */ step) => at.map((one) => clock(one).slice(0, step < 60 ? 8 : 5)) },
          { ...axis, size: 62, values: (/** @type {any} */ _, /** @type {number[]} */ values) => values.map(format) },
        ],
        series: [
          { label: "Time", value: (/** @type {any} */ _, /** @type {number} */ at) => (at ? clock(at) : "") },
          ...series.map((one) => ({
            label: one.label,
            stroke: color(one.color),
            width: 1.5,
            dash: one.dashed ? [5, 4] : undefined,
            fill: one.fill ? `color-mix(in srgb, ${color(one.color)} 14%, transparent)` : undefined,
            points: { show: false },
            value: (/** @type {any} */ _, /** @type {number | null} */ value) => format(value),
          })),
        ],
        hooks: {
          draw: [(/** @type {any} */ plot) => drawMarks(plot, marks.current, color)],
          setCursor: [(/** @type {any} */ plot) => setPointed(pointedAt(plot, marks.current))],
        },
      },
      data,
      box.current,
    );
    const observer = new ResizeObserver(() => box.current && chart.current.setSize({ width: box.current.clientWidth, height: HEIGHT }));
    observer.observe(box.current);
    return () => {
      observer.disconnect();
      chart.current.destroy();
    };
  }, [shape]);
  useEffect(() => {
    chart.current.setData(data);
    if (chart.current.cursor.idx == null && data[0].length) chart.current.setLegend({ idx: data[0].length - 1 });
  }, [data, events]);
  const last = series.map((one, i) => `${one.label} ${format(data[i + 1]?.at(-1) ?? null)}`).join(", ");
  return html`<figure class="chart">
    <figcaption><b>${title}</b> ${pointed || note ? html`<small>${pointed || note}</small>` : ""}<span class="hidden">: ${last}</span></figcaption>
    <div ref=${box} aria-hidden="true"></div>
  </figure>`;
}

/** The marks that the pointer is at, in words. @param {any} plot @param {{at: number, label: string}[]} events */
function pointedAt(plot, events) {
  const { left } = plot.cursor;
  const found = events.filter((one) => left >= 0 && Math.abs(plot.valToPos(one.at, "x") - left) <= NEAR_PX);
  return found.map((one) => `${clock(one.at)} ${one.label}`).join(", ");
}

/** @param {any} plot @param {{at: number, kind: string}[]} events @param {(name: string) => string} color */
function drawMarks(plot, events, color) {
  const { ctx, bbox } = plot;
  ctx.save();
  for (const event of events) {
    const x = Math.round(plot.valToPos(event.at, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = ctx.fillStyle = color(event.kind);
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.beginPath();
    ctx.arc(x, bbox.top + 3 * devicePixelRatio, 3 * devicePixelRatio, 0, 7);
    ctx.fill();
  }
  ctx.restore();
}
