// The form of a hidden test set: the archive is the body of the request, so that it goes to the server's disk as it comes; what else is
// said stands in the query. Texts come from data-* of the form.
import { csrf, say, standing } from "./page.js";

const root = document.querySelector("[data-set-form]");
const form = root?.querySelector("form");
const part = (name) => root.querySelector(`[data-set-${name}]`);
let running = false;

function showErrors(errors) {
  for (const place of form.querySelectorAll("[data-error]")) {
    const text = errors.find(({ field }) => field === place.dataset.error)?.message ?? "";
    place.textContent = text;
    place.hidden = !text;
  }
}

function showFaults(faults) {
  part("faults").replaceChildren(...faults.map(({ place, message }) => {
    const item = document.createElement("li"), mark = document.createElement("b"), where = document.createElement("code"), text = document.createElement("span");
    mark.textContent = "–";
    where.textContent = place;
    text.textContent = message;
    item.append(mark, where, text);
    return item;
  }));
}

async function send(event) {
  event.preventDefault();
  const file = form.elements.archive.files[0];
  if (!file) return;
  const query = new URLSearchParams(["scenario", "name_zh", "name_en", "metric"].map((name) => [name, form.elements[name].value]));
  const button = form.querySelector("button[type=submit]"), progress = part("progress");
  const ended = (text, { errors = [], faults = [] } = {}) => {
    button.disabled = running = false;
    progress.hidden = true;
    showErrors(errors);
    showFaults(faults);
    say(part("message"), text);
    if (text) root.scrollIntoView();
  };
  ended("");
  button.disabled = running = true;
  progress.hidden = false;
  progress.value = 0;
  // Who has signed in anew in another tab has another token; who is signed out learns it before an archive of gigabytes is sent.
  if (await standing()) { ended(form.dataset.signedOut); return; }
  const request = new XMLHttpRequest();
  request.open("POST", `${form.action}?${query}`);
  for (const [name, value] of [["X-CSRF-Token", csrf], ["Content-Type", "application/x-tar"], ["Accept", "application/json"]]) request.setRequestHeader(name, value);
  request.upload.addEventListener("progress", ({ loaded, total }) => { progress.max = Math.max(1, total); progress.value = loaded; });
  // All is up; the server looks at every sample now, which has no measure.
  request.upload.addEventListener("load", () => { progress.removeAttribute("value"); say(part("message"), form.dataset.checking); });
  request.addEventListener("load", () => {
    let answer = {};
    try { answer = JSON.parse(request.responseText); } catch { /* said below */ }
    if (request.status === 200 && answer.location) { running = false; location.assign(new URL(answer.location, location.href)); }
    else if (answer.faults?.length) ended(form.dataset.faults, answer);
    else ended(answer.detail || form.dataset.failed, answer);
  });
  request.addEventListener("error", () => ended(form.dataset.broken));
  request.send(file);
}

if (form) {
  root.hidden = false;
  form.addEventListener("submit", send);
  // The archive is on its way, or is looked at: who leaves now ends it, so the browser asks.
  addEventListener("beforeunload", (leave) => { if (running) leave.preventDefault(); });
}
