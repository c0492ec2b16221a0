// The clock of a wall, by the server's time.
import { clock, now } from "./page.js";

function tick() {
  const time = document.querySelector("[data-clock]"), text = clock(now());
  if (time && time.textContent !== text) time.textContent = text;
}
tick();
setInterval(tick, 250);
document.addEventListener("live:refreshed", tick);
