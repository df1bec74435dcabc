// Counts down what a page says ends at a moment. Without this file the page says until when, and that is enough.
(() => {
  const unit = (n, one) => n + " " + one;
  const left = (s) => s < 60 ? unit(s, "s") : s < 3600 ? unit(Math.floor(s / 60), "min") : unit(Math.floor(s / 3600), "h") + " " + unit(Math.floor(s / 60) % 60, "min");
  const count = () => {
    for (const span of document.querySelectorAll(".until")) {
      const time = span.querySelector("time");
      const s = Math.floor((Date.parse(time.dateTime) - Date.now()) / 1000);
      if (s <= 0) return location.reload();
      time.nextSibling.textContent = " (in " + left(s) + ")";
    }
  };
  count();
  setInterval(count, 1000);
})();
