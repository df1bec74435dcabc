// Keeps the part of a page that is called "live" new, and says so when it cannot. Without this file pages
// refresh by themselves once a minute; with it, old news never goes on looking fine.
(() => {
  const STALE_MS = 5 * 60 * 1000, REFRESH_MS = 60 * 1000, PATIENCE_MS = 5000;
  const part = () => document.getElementById("live"), heading = () => part().querySelector("h1");
  const banner = document.getElementById("banner"), said = document.getElementById("said");
  let looked = Date.now(), last = heading().textContent, busy = false, hinted = false, events;

  function lost() {
    banner.textContent = "Showing " + part().dataset.clock + ". Reconnecting…";
    banner.hidden = false;
  }
  function fresh() {
    looked = Date.now();
    banner.hidden = true;
    document.body.classList.remove("stale");
    if (heading().textContent === last) return;
    last = said.textContent = heading().textContent;
    document.title = last + " – Homeward";
  }
  async function refresh() {
    if (busy) { hinted = true; return; }
    busy = true;
    try {
      const open = document.getElementById("well")?.open, focus = document.activeElement?.id;
      const answer = await fetch(part().dataset.from, { headers: { "HX-Request": "true" }, cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      const text = await answer.text();
      await htmx.swap({ sourceElement: part(), target: part(), swap: "outerHTML", text });
      if (open && document.getElementById("well")) document.getElementById("well").open = true;
      if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
      fresh();
    } catch { lost(); } finally { busy = false; }
    if (hinted) { hinted = false; refresh(); }
  }
  function check() {
    const age = Date.now() - looked, clock = part().dataset.clock;
    if (age > STALE_MS && !document.body.classList.contains("stale")) {
      document.body.classList.add("stale");
      document.title = heading().textContent = "Not up to date: this was known at " + clock;
      for (const word of part().querySelectorAll(".all-working .word")) word.textContent = "Was working at " + clock;
    }
    if (age > REFRESH_MS) refresh();
    if (events.readyState === EventSource.CLOSED) listen();
  }
  function listen() {
    events = new EventSource("/events");
    events.onopen = () => { if (!banner.hidden) refresh(); };
    events.onerror = () => setTimeout(() => { if (events.readyState !== EventSource.OPEN) lost(); }, PATIENCE_MS);
    events.addEventListener("look", refresh);
  }
  listen();
  setInterval(check, 10000);
  for (const wake of ["pageshow", "online", "focus"]) addEventListener(wake, check);
  document.addEventListener("htmx:after:swap", fresh);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
})();
