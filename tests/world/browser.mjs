// Does in a browser what lines of JSON on its input say, and answers each with one: see browser.py.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.NODE_PATH}/`);
const { chromium } = require("playwright-core");
const axe = require("fs").readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
const TRACED = ["devtools.timeline", "disabled-by-default-devtools.timeline", "devtools.timeline.frame", "disabled-by-default-devtools.timeline.frame", "toplevel", "cc", "__metadata"];
const complaints = [];
let context;
let page;

const commands = {
  async open({ url, ...options }) {
    await context?.close();
    complaints.length = 0; // of the page before
    context = await browser.newContext(options);
    page = await context.newPage();
    page.setDefaultTimeout(15000);
    page.on("console", (said) => {
      if (said.type() === "error" && !said.text().startsWith("Failed to load")) complaints.push(said.text());
    });
    page.on("response", (answer) => {
      if (answer.status() >= 400) complaints.push(`${answer.status()} ${answer.request().method()} ${answer.url()}`);
    });
    page.on("pageerror", (error) => complaints.push(String(error.stack)));
    page.on("dialog", (dialog) => complaints.push(`dialog ${dialog.message()}`) && dialog.dismiss());
    await page.goto(url);
  },
  complaints: () => complaints.splice(0),
  // Elements that break a rule, each with the rule.
  async faults() {
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    return violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 200)} ${node.failureSummary}`));
  },
  press: (key) => page.keyboard.press(key),
  type: (text) => page.keyboard.type(text),
  evaluate: (code) => page.evaluate(code),
  reload: () => page.reload(),
  picture: (path, options) => page.screenshot({ path, ...options }).then(() => null),
  // Frames that are drawn, and those that the page's own thread makes, while a call of the devtools' protocol goes on.
  async traced(method, params) {
    const session = await context.newCDPSession(page);
    await browser.startTracing(page, { categories: TRACED });
    await session.send(method, params);
    const { traceEvents } = JSON.parse(await browser.stopTracing());
    const main = new Set(traceEvents.filter((one) => one.name === "thread_name" && one.args.name === "CrRendererMain").map((one) => `${one.pid} ${one.tid}`));
    return traceEvents
      .filter((one) => ["DrawFrame", "ProxyMain::BeginMainFrame"].includes(one.name))
      .map(({ name, ts, tdur, pid, tid }) => ({ name, ts, tdur, isMain: main.has(`${pid} ${tid}`) }));
  },
  async heap() {
    const session = await context.newCDPSession(page);
    for (let n = 0; n < 3; n += 1) await session.send("HeapProfiler.collectGarbage");
    const { nodes } = await session.send("Memory.getDOMCounters");
    return { ...(await session.send("Runtime.getHeapUsage")), nodes };
  },
  locator: (selector, call, ...args) => page.locator(selector)[call](...args),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await commands[name](...args)) ?? null };
  } catch (error) {
    answer = { error: error.message };
  }
  console.log(JSON.stringify(answer));
}
await browser.close();
