// What every page does, and what the other modules take from it: who the page was made for, the CSRF token, the time, the toast, and how a
// message is said. Every page loads this file, so that an import of it is no further request.
import { keep } from "./keep.js";
import { steady } from "./steady.js";

const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
// Person and organisation that the page was made for; empty where nobody was signed in.
export const reader = meta("reader");
export let csrf = meta("csrf");
export const toast = document.querySelector("[data-toast]");
let timer;

// The server's time, which the texts of the page are of: clocks of control rooms are often wrong, and are set while pages stand open.
const ahead = (meta("now") ? Date.parse(meta("now")) : Date.now()) - steady();
export const now = () => steady() + ahead;
// A time of day as the pages say it; with the date where it is not of today.
export function clock(ms) {
  const parts = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZone: "Asia/Shanghai" };
  return new Intl.DateTimeFormat(document.documentElement.lang || undefined, now() - ms > 432e5 ? { ...parts, month: "numeric", day: "numeric" } : parts).format(ms);
}

export function signIn() { keep(); location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`); }
export function reload() { keep(); location.reload(); }

// What an answer tells of the page that asks: "over" where the session has ended, "other" where somebody else is signed in now, else "".
// Who signed in again has another CSRF token: the forms of the page take it.
export function changed(answer) {
  if (!reader) return "";
  if (answer.status === 401 || (answer.redirected && new URL(answer.url).pathname === "/sign-in")) return "over";
  const told = answer.headers.get("X-Reader");
  if (!told) return answer.ok ? "over" : "";
  if (told !== reader) return "other";
  const token = answer.headers.get("X-CSRF-Token");
  if (token && token !== csrf) {
    csrf = token;
    for (const field of document.querySelectorAll("input[name=_csrf]")) field.value = token;
  }
  return "";
}

// The same, of an answer for this purpose; "" also where none comes.
export async function standing() {
  if (!reader) return "";
  try { return changed(await fetch("/account/standing", { headers: { "X-Refresh": "1" }, credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(8000) })); } catch { return ""; }
}

// A message of the page itself: the box is there only while there is something to say.
export function say(box, text) {
  const line = document.createElement("p");
  line.textContent = text ?? "";
  box.replaceChildren(line);
  box.hidden = !text;
}

// A word in passing.
function mention(text) {
  if (!toast || !text) return;
  toast.textContent = text;
  clearTimeout(timer);
  timer = setTimeout(() => { toast.textContent = ""; }, 6000);
}

// Another language leads back to this very place, which a search may have moved, with what was typed.
document.querySelector('form[action="/language"]')?.addEventListener("submit", ({ target }) => {
  if (target.elements.next.value.startsWith(location.pathname)) target.elements.next.value = location.pathname + location.search;
  keep();
});

// The browser's Back from the page that such a form leads to shows what was typed.
document.addEventListener("submit", ({ target }) => { if (target.hasAttribute("data-keep")) keep(); });

// What htmx requests need.
document.addEventListener("htmx:configRequest", (event) => { event.detail.headers["X-CSRF-Token"] = csrf; });
// A part of the page never becomes the sign-in page.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr } = event.detail;
  if (!reader || xhr.getResponseHeader("X-Reader") === reader) return;
  event.detail.shouldSwap = false;
  if (xhr.status === 200) signIn();
});
document.addEventListener("htmx:sendError", () => mention(toast?.dataset.offline));
document.addEventListener("htmx:responseError", () => mention(toast?.dataset.failed));

// A menu closes on Escape (focus returns to its button) and on a click elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.account-menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.account-menu[open], details.nav-menu[open]")) {
    menu.open = false;
    menu.querySelector("summary")?.focus();
  }
});

// On a narrow screen the filters begin folded, and the sidebar, a row there, shows the entry one is at.
if (matchMedia("(max-width: 900px)").matches) {
  for (const fold of document.querySelectorAll("details[data-fold-narrow]")) fold.open = false;
  const bar = document.querySelector(".sidebar");
  const here = bar?.querySelector("[aria-current]");
  if (bar && here) bar.scrollLeft = here.offsetLeft - (bar.clientWidth - here.offsetWidth) / 2;
}
