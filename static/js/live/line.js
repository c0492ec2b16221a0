// Whether what the page shows is true now. A band across the page says when it is not: the line is silent, the session has ended, the page
// waits for the person who types in it. Times are the server's.
import { clock, now, reload, signIn } from "../page.js";
import { steady } from "../steady.js";

// The server says something at least every ten seconds.
const STALE = 25000;
const band = document.querySelector("[data-line]");
// Until when all that the page shows is known to be right, and when the server last said something.
let known = steady(), word = known, shown = "";

function show(kind) {
  if (kind === shown) return;
  shown = kind;
  if (!band) return;
  const text = document.createElement("p"), way = { over: ["signIn", signIn], other: ["reload", reload], gone: ["reload", reload] }[kind];
  text.textContent = (band.dataset[kind] ?? "").replace("{time}", clock(now() - (steady() - known)));
  band.replaceChildren(text);
  if (way) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn";
    button.textContent = band.dataset[way[0]];
    button.addEventListener("click", way[1]);
    band.append(button);
  }
  band.hidden = !kind;
  if (kind) document.documentElement.dataset.old = kind;
  else delete document.documentElement.dataset.old;
}

// The server has said something, whatever it was.
export function heard() { word = steady(); }

// All that the page shows is right at this moment.
export function fresh() {
  known = steady();
  show("");
}

// The page cannot go on by itself: `over` (signed out), `other` (somebody else is signed in), `gone`. On a wall nobody presses a button.
export function end(kind) {
  show(kind);
  if (document.body.classList.contains("wall")) { if (kind === "over") signIn(); else if (kind === "other") reload(); }
}

// A page that had ended may go on; it is not fresh by that.
export function resume() { show(""); }

export const ended = () => ["over", "other", "gone"].includes(shown);

// Looks whether the page has become old; `held`: it waits for the person. Gives whether it is.
export function look(held) {
  if (ended() || steady() - known <= STALE) return false;
  show(held && steady() - word <= STALE ? "paused" : "lost");
  return true;
}
