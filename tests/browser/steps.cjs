// Does what people do in a browser, step by step: reads one order a line (JSON) on standard input, answers each with what
// its person then sees, as a JSON text: the address, and the words of the page.
//   {person, password, url}              signs in at url + "/sign-in"; each person has a browser session of their own
//   {person, goto}                       opens a page
//   {person, fill: {selector: text}, file: {selector: path}, click: selector}
//   {person, save: selector, to: path}   follows a link that downloads
// With `picture` a picture of the whole page is written there. Scripts run unless the first order says {plain: true}.
const { chromium } = require("playwright-core");
const fs = require("fs");
const readline = require("readline");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

async function main() {
  // Taken at once: what comes before somebody listens is lost.
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update"];
  const browser = await chromium.launch({ executablePath: process.env.HOMEWARD_CHROMIUM, args: flags });
  const pages = new Map();
  let plain = false;
  try {
    for await (const line of lines) {
      const order = JSON.parse(line);
      plain = plain || order.plain === true;
      if (!pages.has(order.person)) {
        const context = await browser.newContext({
          ignoreHTTPSErrors: true, acceptDownloads: true, javaScriptEnabled: !plain,
          viewport: { width: order.width ?? 1280, height: 900 },
        });
        const page = await context.newPage();
        page.setDefaultTimeout(30000);
        pages.set(order.person, page);
        await page.goto(order.url + "/sign-in");
        await page.fill("[name=name]", order.person);
        await page.fill("[name=password]", order.password);
        await Promise.all([page.waitForURL((url) => !url.pathname.includes("sign-in")), page.click("main button")]);
      }
      const page = pages.get(order.person);
      if (order.goto) await page.goto(order.goto);
      for (const [selector, text] of Object.entries(order.fill ?? {})) await page.fill(selector, text);
      for (const [selector, value] of Object.entries(order.choose ?? {})) await page.selectOption(selector, value);
      for (const selector of order.tick ?? []) await page.check(selector);
      for (const [selector, path] of Object.entries(order.file ?? {})) {
        await page.setInputFiles(selector, path);
        await page.waitForFunction((s) => document.querySelector(s).value !== "", order.until);
      }
      if (order.click) {
        const answered = page.waitForResponse((r) => r.request().isNavigationRequest() && r.status() !== 303);
        await page.click(order.click);
        await answered;
        await page.waitForLoadState("load");
      }
      if (order.save) {
        const [download] = await Promise.all([page.waitForEvent("download"), page.click(order.save)]);
        await download.saveAs(order.to);
      }
      let faults = [];
      if (!plain) {
        await page.evaluate(axe);
        const found = await page.evaluate(
          (values) => axe.run(document, { runOnly: { type: "tag", values } }), rules);
        faults = found.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.join(" ")}: ${v.help}`));
      }
      if (order.picture) await page.screenshot({ path: order.picture, fullPage: true });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
      if (wide) faults.push("wider than its window");
      const text = await page.locator("main").innerText();
      console.log(JSON.stringify(JSON.stringify({ path: new URL(page.url()).pathname, text, faults })));
    }
  } finally {
    await browser.close();
  }
}

main().catch((e) => { console.error(e); process.exit(1); });
