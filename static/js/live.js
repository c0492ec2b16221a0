// Live fragments. [data-live] names a Server-Sent Events address: each event (of the name data-event, default "message") fetches
// data-refresh and puts it into the element. [data-poll] (seconds) fetches without events. One EventSource per address.
// Where the answer has another data-reload-on than the fragment, the page around it is out of date too and is loaded anew.
// X-Refresh says that nobody has asked: a page left open keeps no session alive.
// A fragment that holds the focus in a field is left alone until the focus goes, so nothing typed is lost.
import { toast } from "./page.js";

const sources = new Map();
const started = new WeakSet();
const waiting = new WeakMap();

const stage = (root) => root.querySelector("[data-reload-on]")?.dataset.reloadOn;

async function refresh(element) {
  if (!element.isConnected) return;
  if (element.querySelector("input:focus, textarea:focus, select:focus, dialog[open]")) { later(element, 2000); return; }
  try {
    const answer = await fetch(element.dataset.refresh, { headers: { "HX-Request": "true", "X-Refresh": "1" }, credentials: "same-origin" });
    if (!answer.ok) return;
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
    const same = element.id && parsed.getElementById(element.id);
    const before = stage(element), now = stage(same || parsed);
    if (before !== undefined && now !== undefined && before !== now) { location.reload(); return; }
    const open = [...element.querySelectorAll("details[open][id]")].map((details) => details.id);
    element.replaceChildren(...(same ?? parsed.body).childNodes);
    for (const id of open) { const details = document.getElementById(id); if (details) details.open = true; }
    window.htmx?.process(element);
    start(element);
    element.dispatchEvent(new CustomEvent("live:refreshed", { bubbles: true }));
  } catch { /* no connection: the next event or poll tries again */ }
}

// Events come in bursts; one fetch answers all of a burst.
function later(element, delay = 250) {
  if (waiting.has(element)) return;
  waiting.set(element, setTimeout(() => { waiting.delete(element); refresh(element); }, delay));
}

function source(address) {
  let entry = sources.get(address);
  if (!entry) {
    entry = { stream: new EventSource(address), lost: 0 };
    entry.stream.addEventListener("open", () => {
      clearTimeout(entry.lost);
      entry.lost = 0;
      if (toast && toast.textContent === toast.dataset.offline) toast.textContent = "";
    });
    entry.stream.addEventListener("error", () => {
      if (!entry.lost) entry.lost = setTimeout(() => { if (toast) toast.textContent = toast.dataset.offline; }, 6000);
    });
    sources.set(address, entry);
  }
  return entry.stream;
}

function start(root) {
  const found = [...root.querySelectorAll("[data-refresh]")];
  if (root.matches?.("[data-refresh]")) found.push(root);
  for (const element of found) {
    if (started.has(element)) continue;
    started.add(element);
    if (element.dataset.live) {
      const heard = () => { if (element.isConnected) later(element); };
      for (const name of (element.dataset.event ?? "message").split(/\s+/)) source(element.dataset.live).addEventListener(name, heard);
    }
    const seconds = Number(element.dataset.poll);
    if (seconds > 0) {
      const tick = setInterval(() => {
        if (!element.isConnected) clearInterval(tick);
        else if (!document.hidden) later(element, 0);
      }, seconds * 1000);
    }
  }
}

addEventListener("pagehide", () => { for (const { stream } of sources.values()) stream.close(); sources.clear(); });
document.addEventListener("htmx:load", (event) => start(event.target));
start(document);
