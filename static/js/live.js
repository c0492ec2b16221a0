// Live fragments. [data-live] names topics of the server's events: each event fetches data-refresh and puts it into the element.
// [data-poll] (seconds) fetches without events. Where the answer has another data-reload-on than the fragment, or no such fragment at all, the
// page around it is out of date too and is loaded anew. A fragment in which somebody types is left alone until they are done,
// but for fields with data-kept, which the page's own script keeps.
// X-Refresh says that nobody has asked: a page left open keeps no session alive.
import { changed, reader, reload, standing } from "./page.js";
import { steady } from "./steady.js";
import { Hub } from "./live/hub.js";
import { end, ended, fresh, heard, look, resume } from "./live/line.js";

// Longest wait for an answer.
const PATIENCE = 8000;
// Pause between two attempts while the line is silent, and while somebody types.
const AGAIN = 10000, TYPING = 2000;

const fragments = new Set();
// Fragments that may be out of date, and what each was made of.
const dirty = new Set(), waiting = new Map(), made = new WeakMap();
let tried = -Infinity, port;

const topicsOf = ({ dataset }) => dataset.live?.split(/\s+/).filter(Boolean) ?? [];
const stage = (root) => root.querySelector("[data-reload-on]")?.dataset.reloadOn;

function altered(field) {
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field.tagName !== "SELECT") return field.value !== field.defaultValue;
  const options = [...field.options], chosen = options.findIndex((option) => option.defaultSelected);
  return field.selectedIndex !== Math.max(0, chosen);
}

// A question of the page (confirm.js) may be about a form in the fragment.
function held(element) {
  if (document.querySelector("dialog[open]")) return true;
  return [...element.querySelectorAll("input:not([type=hidden]), textarea, select")].some((field) => field.dataset.kept === undefined && (field === document.activeElement || altered(field)));
}

async function refresh(element) {
  if (!element.isConnected || ended()) { forget(element); return; }
  dirty.add(element);
  if (held(element)) { later(element, TYPING); return; }
  let answer, text;
  try {
    answer = await fetch(element.dataset.refresh, { headers: { "HX-Request": "true", "X-Refresh": "1" }, credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    text = await answer.text();
  } catch { return; /* no connection: look() tries again */ }
  heard();
  const why = changed(answer) || ([403, 404, 410].includes(answer.status) ? "gone" : "");
  if (why) { end(why); return; }
  if (!answer.ok || !put(element, text)) return;
  dirty.delete(element);
  if (!dirty.size) fresh();
}

function put(element, text) {
  if (held(element)) { later(element, TYPING); return false; }
  const parsed = new DOMParser().parseFromString(text, "text/html");
  const same = element.id && parsed.getElementById(element.id), whole = parsed.getElementById("main");
  const before = stage(element), now = stage(same || parsed);
  if ((whole && !same) || (before !== undefined && now !== undefined && before !== now)) { reload(); return false; }
  const next = same ?? parsed.body, html = next.innerHTML;
  if (made.get(element) === html) return true;
  made.set(element, html);
  const open = [...element.querySelectorAll("details[open][id]")].map(({ id }) => id), at = element.contains(document.activeElement) && document.activeElement;
  element.replaceChildren(...next.childNodes);
  for (const id of open) { const details = document.getElementById(id); if (details) details.open = true; }
  if (at) [...element.querySelectorAll(at.tagName)].find((one) => (at.id ? one.id === at.id : one.outerHTML === at.outerHTML))?.focus({ preventScroll: true });
  window.htmx?.process(element);
  start(element);
  element.dispatchEvent(new CustomEvent("live:refreshed", { bubbles: true }));
  return true;
}

// Events come in bursts; one fetch answers all of a burst.
function later(element, delay = 250) {
  if (!waiting.has(element)) waiting.set(element, setTimeout(() => { waiting.delete(element); refresh(element); }, delay));
}

function forget(element) {
  if (element.isConnected) return;
  fragments.delete(element);
  dirty.delete(element);
}

function start(root) {
  const found = [...root.querySelectorAll("[data-refresh]")];
  if (root.matches?.("[data-refresh]")) found.push(root);
  for (const element of found) {
    if (fragments.has(element)) continue;
    fragments.add(element);
    const seconds = Number(element.dataset.poll);
    if (seconds > 0) {
      const tick = setInterval(() => {
        if (!element.isConnected) clearInterval(tick);
        else if (!document.hidden) later(element, 0);
      }, seconds * 1000);
    }
  }
  if (found.length) listen();
}

// What the hub is told of this page: which topics it shows, to whom, and whether anybody looks at it.
function listen() {
  const topics = [...new Set([...fragments].flatMap(topicsOf))];
  if (!topics.length || ended()) return;
  port ??= connect();
  port.postMessage({ reader, topics, hidden: document.hidden });
}

function connect() {
  const inPage = () => { const { port1, port2 } = new MessageChannel(); new Hub().join(port2); return port1; };
  let way;
  try {
    const worker = new SharedWorker(new URL("live/worker.js", import.meta.url), { type: "module" });
    worker.addEventListener("error", () => { port = inPage(); port.onmessage = hear; listen(); });
    way = worker.port;
  } catch { way = inPage(); }
  way.onmessage = hear;
  return way;
}

function hear({ data }) {
  if (ended()) return;
  if (data.over) { wake(); return; }
  heard();
  for (const element of fragments) if (data.change && topicsOf(element).includes(data.change)) { dirty.add(element); later(element); }
  if (data.beat && !dirty.size) fresh();
}

function everything() {
  tried = steady();
  for (const element of fragments) later(element, 0);
  listen();
}

// Whether the page may go on, then all anew.
async function wake() {
  if (!fragments.size) return;
  const why = await standing();
  if (why) { end(why); return; }
  if (ended()) resume();
  everything();
}

setInterval(() => {
  if (!fragments.size || document.hidden) return;
  for (const element of fragments) forget(element);
  if (look([...dirty].some(held)) && steady() - tried > AGAIN) everything();
}, 1000);
document.addEventListener("visibilitychange", () => { if (document.hidden) listen(); else wake(); });
// A page that the browser kept is as old as it was.
addEventListener("pageshow", ({ persisted }) => { if (persisted) wake(); });
addEventListener("pagehide", () => { port?.postMessage({ bye: true }); });
// Somebody is back, maybe signed in anew in another tab.
addEventListener("focus", () => { if (ended()) wake(); });
document.addEventListener("htmx:load", (event) => start(event.target));
start(document);
