// What was typed goes along where a page is left only to come back to it: another language, signing in anew, the browser's Back to a form
// with data-keep. It stays in this tab, and only for the same reader.
const KEY = "typed";
// More than this is no typing, and who comes back later begins anew.
const MOST = 65536, LASTS = 1800000;
const reader = () => document.querySelector('meta[name="reader"]')?.content ?? "";
const here = () => location.pathname + location.search;
const ticks = (field) => field.type === "checkbox" || field.type === "radio";

// The fields of the page that a person fills in, each with what tells it from the others.
function* fields() {
  const seen = new Map();
  for (const form of document.querySelectorAll("main form")) {
    for (const field of form.elements) {
      if (!field.name || !field.matches("textarea, select, input:not([type=hidden], [type=password], [type=file], [type=submit])")) continue;
      const place = `${form.getAttribute("action") ?? ""} ${field.name}${ticks(field) ? ` ${field.value}` : ""}`, nth = (seen.get(place) ?? 0) + 1;
      seen.set(place, nth);
      yield [`${place} ${nth}`, field];
    }
  }
}

export function keep() {
  const typed = [...fields()].map(([place, field]) => [place, ticks(field) ? field.checked : field.value]);
  const kept = JSON.stringify({ here: here(), reader: reader(), at: Date.now(), typed });
  try { if (typed.length && kept.length <= MOST) sessionStorage.setItem(KEY, kept); } catch { /* forbidden: nothing is kept */ }
}

function restore() {
  let kept;
  try { kept = JSON.parse(sessionStorage.getItem(KEY)); } catch { return; }
  if (kept?.here !== here() || kept.reader !== reader() || Date.now() - kept.at > LASTS) return;
  sessionStorage.removeItem(KEY);
  const typed = new Map(kept.typed);
  for (const [place, field] of fields()) {
    const value = typed.get(place);
    if (value === undefined || value === (ticks(field) ? field.checked : field.value)) continue;
    if (ticks(field)) field.checked = value;
    else field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

restore();
