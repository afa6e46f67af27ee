/** What can be done to a container: the request, the command line that is the same, what it destroys. */

import { ask } from "./api.js";

/**
 * @typedef {object} Action
 * @property {string} label
 * @property {string} key of the keyboard, in the fleet
 * @property {string} command the verb of the command line
 * @property {(facts: any) => boolean} fits
 * @property {string} [warning] asked before it is done
 * @property {(id: string) => Promise<any>} run
 */

const runs = (/** @type {any} */ f) => f.status === "running";
const stands = (/** @type {any} */ f) => f.status === "frozen" || f.status === "hibernating";
/** It runs, or soon will. @param {any} facts */
export const isUp = (facts) => runs(facts) || stands(facts) || facts.status === "restarting";
const post = (/** @type {string} */ verb) => (/** @type {string} */ id) => ask("POST", `/v1/containers/${id}/${verb}`);

/** @type {Record<string, Action>} */
export const ACTIONS = {
  start: { label: "Start", key: "t", command: "start", fits: (f) => !runs(f) && !stands(f), run: post("start") },
  freeze: { label: "Freeze", key: "f", command: "freeze", fits: runs, run: post("freeze") },
  thaw: { label: "Thaw", key: "f", command: "thaw", fits: stands, run: post("thaw") },
  hibernate: {
    label: "Hibernate",
    key: "h",
    command: "hibernate",
    fits: runs,
    warning: "Its tasks stop and its memory is taken back, until something comes for it.",
    run: post("hibernate"),
  },
  restart: {
    label: "Restart",
    key: "r",
    command: "restart",
    fits: runs,
    warning: "Its processes are ended and started anew.",
    run: post("restart"),
  },
  stop: {
    label: "Stop",
    key: "s",
    command: "stop",
    fits: (f) => runs(f) || f.status === "restarting",
    warning: "It gets its stop signal, and after a while SIGKILL.",
    run: post("stop"),
  },
  kill: {
    label: "Kill",
    key: "k",
    command: "kill",
    fits: (f) => runs(f) || stands(f),
    warning: "SIGKILL ends it at once: it can save nothing.",
    run: post("kill"),
  },
  remove: {
    label: "Remove",
    key: "x",
    command: "rm",
    fits: (f) => !runs(f) && !stands(f),
    warning: "Its files and its log are deleted.",
    run: (id) => ask("DELETE", `/v1/containers/${id}`),
  },
};

/** A word as a shell takes it. @param {string} word */
export function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** @param {...string} words */
export function commandLine(...words) {
  return ["cgagent", ...words.map(quoted)].join(" ");
}
