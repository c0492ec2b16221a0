// What every page does, and what the other modules take from it: the CSRF token, the toast, and how a message is said. Every page loads
// this file, so that an import of it is no further request.
export const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";
export const toast = document.querySelector("[data-toast]");
let timer;

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

// What htmx requests need.
document.addEventListener("htmx:configRequest", (event) => { event.detail.headers["X-CSRF-Token"] = csrf; });
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
