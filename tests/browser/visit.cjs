// Reads an order (tests/src/browser.rs, Visit) on standard input, looks at its pages, prints what it saw as JSON.
const { chromium } = require("playwright-core");
const fs = require("fs");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

async function check(page) {
  // By the driver, not by a script element: the page's content security stays as it is.
  await page.evaluate(axe);
  const found = await page.evaluate((values) => axe.run(document, { runOnly: { type: "tag", values } }), rules);
  return found.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.join(" ")}: ${v.help}`));
}

async function look(context, want, scripts) {
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) complaints.push(m.text()); });
  page.on("pageerror", (e) => complaints.push(String(e)));
  page.on("requestfailed", (r) => {
    // A stream that ends because the page is left is no fault.
    if (r.failure()?.errorText !== "net::ERR_ABORTED") complaints.push(`${r.url()}: ${r.failure()?.errorText}`);
  });
  await page.setViewportSize({ width: want.width, height: 900 });
  if (want.print) await page.emulateMedia({ media: "print" });
  let answer = await page.goto(want.url, { waitUntil: "load", timeout: 30000 });
  if (want.form) {
    for (const [name, value] of Object.entries(want.form)) await page.fill(`main [name="${name}"]`, value);
    const answered = page.waitForResponse((r) => r.request().method() === "POST", { timeout: 30000 });
    await page.click("main form button");
    answer = await answered;
    await page.waitForLoadState("load");
  }
  const seen = {
    url: page.url(),
    status: answer.status(),
    heading: (await page.locator("h1").first().textContent({ timeout: 5000 }).catch(() => "")) ?? "",
    text: await page.locator("body").innerText(),
    overflows: await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth),
    // axe is a script itself: it waits for ever on a page that runs none.
    violations: scripts ? await check(page) : [],
    complaints,
  };
  seen.heading = seen.heading.trim();
  if (want.picture) await page.screenshot({ path: want.picture, fullPage: true });
  await page.close();
  return seen;
}

async function main() {
  const order = JSON.parse(fs.readFileSync(0, "utf8"));
  const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update"];
  const browser = await chromium.launch({ executablePath: process.env.HOMEWARD_CHROMIUM, args: flags });
  try {
    const context = await browser.newContext({ ignoreHTTPSErrors: true, javaScriptEnabled: true });
    if (order.sign_in) {
      const page = await context.newPage();
      await page.goto(order.sign_in.url, { timeout: 30000 });
      for (const [name, value] of Object.entries(order.sign_in.fields)) await page.fill(`[name="${name}"]`, value);
      await Promise.all([page.waitForNavigation(), page.click("form [type=submit], form button")]);
      await page.close();
    }
    let view = context;
    if (!order.scripts) {
      const state = await context.storageState();
      view = await browser.newContext({ ignoreHTTPSErrors: true, javaScriptEnabled: false, storageState: state });
    }
    const seen = [];
    for (const page of order.pages) seen.push(await look(view, page, order.scripts));
    console.log(JSON.stringify(seen));
  } finally {
    await browser.close();
  }
}

main().catch((e) => { console.error(e); process.exit(1); });
