// Watches the nurse's page live: reads an order on standard input, speaks one word a line on standard output, and
// goes on at each line it is given.
const { chromium } = require("playwright-core");
const readline = require("readline");

async function main() {
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value;
  const order = JSON.parse(await next());
  const say = (value) => console.log(JSON.stringify(value));
  const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update"];
  const browser = await chromium.launch({ executablePath: process.env.HOMEWARD_CHROMIUM, args: flags });
  try {
    const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
    page.setDefaultTimeout(30000);
    await page.clock.install();
    await page.goto(order.url + "/sign-in");
    await page.fill("[name=name]", order.name);
    await page.fill("[name=password]", order.password);
    await Promise.all([page.waitForURL("**/care"), page.click("main button")]);
    const heading = () => page.locator("h1").textContent();
    say(await heading());
    await next(); // the fleet has changed
    await page.waitForFunction((was) => document.querySelector("h1").textContent !== was, order.heading);
    say(await heading());
    await page.fill("#q", "home-02");
    await page.waitForFunction(() => document.querySelector(".note"));
    say(await page.locator(".note").textContent());
    await next(); // the server is gone
    await page.clock.fastForward("01:30");
    await page.waitForFunction(() => !document.getElementById("banner").hidden);
    say(await page.locator("#banner").textContent());
    await page.clock.fastForward("06:00");
    await page.waitForFunction(() => document.body.classList.contains("stale"));
    say(await page.locator("main").textContent());
  } finally {
    await browser.close();
  }
}

main().catch((e) => { console.error(e); process.exit(1); });
