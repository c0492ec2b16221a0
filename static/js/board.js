// The alarm board: sound by level, a notification, the count in the title, and keys. All of it is this desk's alone and is kept in this
// browser. The page works without it, by links and forms.
import { steady } from "./steady.js";

// Tones in Hz and their length in seconds, and how often an unacknowledged alarm of this level calls again, in ms.
const SOUNDS = {
  critical: { tones: [880, 660, 880, 660, 880], length: .22, again: 10000 },
  warning: { tones: [660, 520], length: .25, again: 60000 },
  notice: { tones: [520], length: .15, again: Infinity },
};
// How long M silences the desk, in ms.
const MUTE = 120000;

const sound = document.querySelector("[data-board-sound]"), notify = document.querySelector("[data-board-notify]"), keys = document.querySelector("[data-board-keys]");
const title = document.title;
const kept = (name, otherwise) => { try { return localStorage.getItem(`board-${name}`) ?? otherwise; } catch { return otherwise; } };
const keep = (name, value) => { try { localStorage.setItem(`board-${name}`, value); } catch { /* private window: for this page only */ } };
let audio, mutedUntil = 0, rung = -Infinity, seen, usesKeys = kept("keys", "on") === "on", told = kept("notify", "off") === "on";
let on = kept("sound", "off") === "on";

const state = () => document.querySelector("[data-board-state]")?.dataset ?? {};

function play(level) {
  const { tones, length } = SOUNDS[level] ?? SOUNDS.notice;
  rung = steady();
  if (audio?.state !== "running") return;
  tones.forEach((hertz, place) => {
    const tone = audio.createOscillator(), volume = audio.createGain(), at = audio.currentTime + place * length;
    tone.frequency.value = hertz;
    volume.gain.setValueAtTime(.0001, at);
    volume.gain.exponentialRampToValueAtTime(.4, at + .02);
    volume.gain.exponentialRampToValueAtTime(.0001, at + length * .95);
    tone.connect(volume).connect(audio.destination);
    tone.start(at);
    tone.stop(at + length);
  });
}

// A browser lets a page sound only after somebody has touched it: until then the button says off.
function show() {
  const sounds = on && audio?.state === "running", muted = sounds && steady() < mutedUntil;
  if (sound) { sound.hidden = false; sound.textContent = muted ? sound.dataset.muted : sounds ? sound.dataset.on : sound.dataset.off; sound.setAttribute("aria-pressed", String(sounds)); }
  if (notify) {
    notify.hidden = !("Notification" in window);
    const may = "Notification" in window && Notification.permission;
    notify.textContent = may === "denied" ? notify.dataset.denied : told && may === "granted" ? notify.dataset.on : notify.dataset.off;
    notify.setAttribute("aria-pressed", String(told && may === "granted"));
  }
  if (keys) { keys.hidden = false; keys.textContent = usesKeys ? keys.dataset.on : keys.dataset.off; keys.setAttribute("aria-pressed", String(usesKeys)); }
  const hint = document.querySelector("[data-board-hint]");
  if (hint) hint.hidden = !usesKeys;
}

async function wake() {
  if (!on) return;
  audio ??= new AudioContext();
  if (audio.state !== "running") await audio.resume().catch(() => undefined);
  show();
}

function look() {
  const { critical = "0", warning = "0", newest = "", level } = state(), calls = Number(critical) + Number(warning);
  document.title = calls ? `(${calls}) ${title}` : title;
  const fresh = seen !== undefined && newest > seen;
  seen = newest > (seen ?? "") ? newest : seen ?? newest;
  if (fresh && told && "Notification" in window && Notification.permission === "granted" && document.hidden) {
    const text = document.querySelector(`.board-row a[href*="${CSS.escape(newest)}"] .board-text`)?.textContent.trim() ?? title;
    new Notification(text, { tag: newest, requireInteraction: level === "critical" });
  }
  if (!on || steady() < mutedUntil) return;
  const worst = Number(critical) ? "critical" : Number(warning) ? "warning" : "";
  if (fresh) play(level);
  else if (worst && steady() - rung > SOUNDS[worst].again) play(worst);
}

sound?.addEventListener("click", async () => {
  const sounds = on && audio?.state === "running";
  if (sounds && steady() < mutedUntil) mutedUntil = 0;
  else { on = !sounds; keep("sound", on ? "on" : "off"); if (on) { await wake(); play("notice"); } }
  show();
});
notify?.addEventListener("click", async () => {
  if (!told && Notification.permission === "default") await Notification.requestPermission();
  told = !told && Notification.permission === "granted";
  keep("notify", told ? "on" : "off");
  show();
});
keys?.addEventListener("click", () => { usesKeys = !usesKeys; keep("keys", usesKeys ? "on" : "off"); show(); });
document.addEventListener("pointerdown", wake);

function step(by) {
  const links = [...document.querySelectorAll(".board-row > a")], at = links.findIndex((link) => link.getAttribute("aria-current"));
  const next = links[at < 0 ? 0 : at + by];
  if (next) next.click();
}

// What is chosen stays so while the list is renewed, and stays what it was: an alarm that has joined a row since was not seen when it was chosen.
const chosen = new Map();
const placeOf = (box) => box.closest(".board-row").querySelector(".board-more a")?.getAttribute("href") ?? box.value;

function count() {
  const button = document.querySelector("[data-chosen]"), n = [...chosen.values()].reduce((sum, { n }) => sum + n, 0);
  if (button) button.querySelector("span").textContent = n ? button.dataset.chosen.replace("{n}", n) : button.dataset.none;
}

function choose(box) {
  if (box.checked) chosen.set(placeOf(box), { ids: box.value, n: Number(box.dataset.choose) });
  else chosen.delete(placeOf(box));
  count();
}

function chooseAgain() {
  const boxes = new Map([...document.querySelectorAll("[data-choose]")].map((box) => [placeOf(box), box]));
  for (const [place, { ids, n }] of chosen) {
    const box = boxes.get(place);
    if (!box) { chosen.delete(place); continue; }
    box.checked = true;
    box.value = ids;
    box.dataset.choose = n;
  }
  count();
}

document.addEventListener("change", ({ target }) => { if (target.matches("[data-choose]")) choose(target); });

const KEYS = {
  ArrowDown: () => step(1), j: () => step(1), ArrowUp: () => step(-1), k: () => step(-1),
  a: () => document.querySelector('[data-key="a"]')?.click(),
  f: () => document.querySelector('[data-key="f"]')?.click(),
  s: () => document.querySelector('[data-key-focus="s"]')?.focus(),
  x: () => document.querySelector(".board-row:has(> a[aria-current]) [data-choose]")?.click(),
  b: () => { if (chosen.size) document.querySelector('[data-key="b"]')?.click(); },
  m: () => { mutedUntil = steady() + MUTE; show(); },
};
document.addEventListener("keydown", (event) => {
  wake();
  const { target, key } = event;
  if (!usesKeys || event.ctrlKey || event.metaKey || event.altKey || event.repeat || document.querySelector("dialog[open]")) return;
  if (target.closest("input:not([data-choose]), textarea, select, summary, [contenteditable]")) return;
  const act = KEYS[key.length === 1 ? key.toLowerCase() : key];
  if (!act) return;
  event.preventDefault();
  act();
});

document.addEventListener("live:refreshed", () => { chooseAgain(); look(); });
setInterval(() => { look(); show(); }, 1000);
wake();
look();
show();
