// How far an upload is: a row for each file, the sum, the pace and the time that is left.
const language = document.documentElement.lang || undefined;

export class Progress {
  constructor(get, texts) {
    this.texts = texts;
    this.parts = { list: get("list"), panel: get("panel"), total: get("total"), totalText: get("total-text") };
    this.files = [];
    this.restart();
  }

  // From here on the pace is measured.
  restart() { this.samples = []; this.moved = 0; }
  hide() { this.parts.panel.hidden = true; }

  list(files) {
    this.files = files;
    this.parts.list.replaceChildren(...files.map((entry) => this.row(entry)));
    this.parts.panel.hidden = false;
    this.paint();
  }

  row(entry) {
    const row = document.createElement("tr");
    const cell = (label, className, ...content) => { const made = document.createElement("td"); made.dataset.label = label; made.className = className; made.append(...content); row.append(made); return made; };
    cell(this.texts.file, "mono upload-name", entry.path);
    cell(this.texts.size, "num", bytes(entry.size));
    entry.bar = document.createElement("progress");
    entry.bar.className = "progress";
    entry.bar.max = Math.max(1, entry.size);
    entry.bar.value = 0;
    entry.bar.setAttribute("aria-label", entry.path);
    cell(this.texts.progress, "upload-bar", entry.bar);
    entry.word = cell(this.texts.status, "nowrap", "");
    return row;
  }

  set(entry, state) { entry.state = state; this.paint(); }

  paint() {
    let sent = 0, all = 0;
    for (const entry of this.files) {
      sent += entry.sent;
      all += entry.size;
      if (entry.bar) this.paintRow(entry);
    }
    const { total, totalText } = this.parts;
    total.max = Math.max(1, all);
    total.value = sent;
    const rate = this.rate();
    const words = [`${bytes(sent)} / ${bytes(all)}`, percent(all ? sent / all : 1)];
    if (this.running && rate > 0) words.push(fill(this.texts.rate, "rate", bytes(rate)), fill(this.texts.left, "time", clock((all - sent) / rate)));
    totalText.textContent = words.join(" · ");
  }

  paintRow(entry) {
    const done = entry.state === "done" || entry.state === "present";
    entry.bar.value = done ? entry.bar.max : entry.state === "hashing" ? entry.hashed : entry.sent;
    entry.bar.className = `progress${done ? " green" : entry.state === "failed" ? " red" : ""}`;
    const share = entry.state === "sending" && entry.size ? ` ${percent(entry.sent / entry.size)}` : "";
    const reason = entry.state === "retrying" && entry.reason;
    const word = reason ? fill(this.texts.statusRefused, "reason", reason) : this.texts[`status${entry.state[0].toUpperCase()}${entry.state.slice(1)}`] + share;
    entry.word.classList.toggle("nowrap", !reason);
    if (entry.word.textContent !== word) entry.word.textContent = word;
  }

  // Bytes a second over the last eight.
  rate() {
    const now = performance.now();
    this.samples.push([now, this.moved]);
    while (this.samples.length > 2 && now - this.samples[0][0] > 8000) this.samples.shift();
    const [since, before] = this.samples[0];
    return now - since > 500 ? (this.moved - before) / ((now - since) / 1000) : 0;
  }
}

function bytes(value) {
  // As the pages say sizes (src/i18n.rs).
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
const percent = (share) => new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 }).format(Math.min(1, share));
export const fill = (text, name, value) => text.replace(/[\u2068\u2069]/g, "").replace(`{${name}}`, value);
function clock(seconds) {
  const whole = Math.max(0, Math.ceil(seconds)), two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
