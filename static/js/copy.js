// Buttons with data-copy put that text on the clipboard and say so (data-done). Where no script runs the style sheet hides them.
import { toast } from "./page.js";

async function write(text) {
  if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
  // Plain http on a mine's own network: no clipboard API there, so select and copy the old way.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("copy refused");
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  try { await write(button.dataset.copy); } catch { return; }
  const before = button.getAttribute("aria-label");
  button.classList.add("copied");
  if (toast && button.dataset.done) toast.textContent = button.dataset.done;
  setTimeout(() => {
    button.classList.remove("copied");
    if (before) button.setAttribute("aria-label", before);
    if (toast && toast.textContent === button.dataset.done) toast.textContent = "";
  }, 1600);
});
