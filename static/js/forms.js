// What htmx requests need everywhere: the CSRF token, and a word when something failed. Also closes open menus.
const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";
const toast = document.querySelector("[data-toast]");
let timer;

function say(text) {
  if (!toast || !text) return;
  toast.textContent = text;
  clearTimeout(timer);
  timer = setTimeout(() => { toast.textContent = ""; }, 6000);
}

document.addEventListener("htmx:configRequest", (event) => { event.detail.headers["X-CSRF-Token"] = csrf; });
document.addEventListener("htmx:sendError", () => say(toast?.dataset.offline));
document.addEventListener("htmx:responseError", () => say(toast?.dataset.failed));

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
