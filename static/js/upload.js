// The upload of a release: choose or drop a folder, have app.yaml checked, send the files to the registry in parts, finish.
// Resumable: what was sent is asked of the server (GET of the upload's location), and {path, size, lastModified} → location is kept
// in localStorage, so a lost connection or a reloaded page goes on where it was. Texts come from data-* of [data-upload-texts].
const CHUNK = 16 * 1024 * 1024;
// Files sent at the same time.
const LANES = 3;
const YAML_LIMIT = 256 * 1024;

class Stop extends Error { constructor(kind, detail) { super(kind); this.kind = kind; this.detail = detail; } }

class Upload {
  constructor(root) {
    this.root = root;
    this.texts = root.querySelector("[data-upload-texts]").dataset;
    this.repo = root.dataset.repo;
    this.csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";
    this.files = [];
    this.samples = [];
    this.key = `upload:${this.repo}`;
    this.hashing = new Map();
    this.requests = new Set();
    this.wakers = new Set();
    const get = (name) => root.querySelector(`[data-upload-${name}]`);
    this.parts = { zone: get("zone"), message: get("message"), faults: get("faults"), list: get("list"), panel: get("panel"), start: get("start"), pause: get("pause"), total: get("total"), totalText: get("total-text") };
    this.listen();
  }

  listen() {
    const { zone, start, pause } = this.parts;
    for (const input of this.root.querySelectorAll('input[type="file"]')) {
      input.addEventListener("change", () => { this.choose([...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }))); input.value = ""; });
      // An empty folder changes nothing, so that browsers tell of it as of a closed dialog.
      input.addEventListener("cancel", () => { if (!this.running && !this.files.length) this.say(this.texts.nothing); });
    }
    for (const button of this.root.querySelectorAll("[data-upload-open]")) button.addEventListener("click", () => this.root.querySelector(`#${button.dataset.uploadOpen}`).click());
    for (const name of ["dragenter", "dragover"]) zone.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add("over"); });
    for (const name of ["dragleave", "drop"]) zone.addEventListener(name, (event) => { event.preventDefault(); zone.classList.remove("over"); });
    zone.addEventListener("drop", async (event) => this.choose(await dropped(event.dataTransfer)));
    // A file dropped beside the zone must not replace the page.
    for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); });
    start.addEventListener("click", () => this.run());
    pause.addEventListener("click", () => this.halt());
    addEventListener("online", () => this.wake());
  }

  // Ends what is on its way; run() can go on later.
  halt() { this.halted = true; for (const request of this.requests) request.abort(); this.wake(); }
  wake() { for (const go of this.wakers) go(); }

  say(text, kind = "info") {
    const { message } = this.parts;
    message.className = `alert alert-${kind}`;
    message.hidden = !text;
    const line = document.createElement("p");
    line.textContent = text ?? "";
    message.replaceChildren(line);
  }

  // The folder is where the shallowest app.yaml lies; files outside it and hidden ones are left out.
  async choose(found) {
    if (this.running) return;
    if (!found.length) { this.say(this.texts.nothing, "danger"); return; }
    this.parts.faults.replaceChildren();
    this.parts.panel.hidden = true;
    const yaml = found.filter(({ path }) => path.split("/").pop() === "app.yaml").sort((a, b) => a.path.split("/").length - b.path.split("/").length)[0];
    if (!yaml) { this.say(this.texts.noYaml, "danger"); return; }
    if (yaml.file.size > YAML_LIMIT) { this.say(this.texts.yamlTooLarge, "danger"); return; }
    const base = yaml.path.slice(0, -"app.yaml".length);
    this.files = found.filter(({ path }) => path.startsWith(base))
      .map(({ path, file }) => ({ path: path.slice(base.length).normalize("NFC"), file, size: file.size, sent: 0, hashed: 0, state: "waiting" }))
      .filter(({ path }) => !path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX" || part === "Thumbs.db" || part === "desktop.ini"))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
    this.yaml = await yaml.file.text();
    this.say(this.texts.checking);
    let answer;
    try { answer = await this.post(this.root.dataset.checkUrl, { yaml: this.yaml, files: this.files.map(({ path, size }) => ({ path, size })) }); } catch { this.say(this.texts.checkFailed, "danger"); return; }
    if (this.showFaults(answer)) return;
    if (!answer.ok) { this.say(answer.body?.detail || answer.body?.title || this.texts.checkFailed, "danger"); return; }
    this.say(this.texts.checkedOk, "success");
    this.list();
  }

  async post(address, value) {
    const answer = await fetch(address, { method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": this.csrf }, body: JSON.stringify(value) });
    return { ok: answer.ok, status: answer.status, body: await answer.json().catch(() => null) };
  }

  showFaults(answer) {
    const faults = answer.body?.faults ?? [];
    if (!faults.length) return false;
    const short = document.documentElement.lang.slice(0, 2);
    this.say(this.texts.faults, "danger");
    this.parts.faults.replaceChildren(...faults.map((fault) => {
      const item = document.createElement("li"), line = document.createElement("b"), key = document.createElement("code"), text = document.createElement("span");
      line.textContent = fault.line ? fill(this.texts.line, "n", fault.line) : "–";
      key.textContent = fault.key ?? fault.path ?? fault.code ?? "";
      const message = fault.message ?? fault.messages;
      text.textContent = typeof message === "string" ? message : message?.[document.documentElement.lang] ?? message?.[short] ?? fault[short] ?? fault.code ?? "";
      item.append(line, key, text);
      return item;
    }));
    return true;
  }

  list() {
    const { list, panel, start } = this.parts;
    list.replaceChildren(...this.files.map((entry) => {
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
    }));
    panel.hidden = false;
    start.hidden = false;
    this.paint();
  }

  paint() {
    let sent = 0, all = 0;
    for (const entry of this.files) {
      sent += entry.sent;
      all += entry.size;
      if (!entry.bar) continue;
      const done = entry.state === "done" || entry.state === "present";
      entry.bar.value = done ? entry.bar.max : entry.state === "hashing" ? entry.hashed : entry.sent;
      entry.bar.className = `progress${done ? " green" : entry.state === "failed" ? " red" : ""}`;
      const share = entry.state === "sending" && entry.size ? ` ${percent(entry.sent / entry.size)}` : "";
      const word = this.texts[`status${entry.state[0].toUpperCase()}${entry.state.slice(1)}`] + share;
      if (entry.word.textContent !== word) entry.word.textContent = word;
    }
    const { total, totalText } = this.parts;
    total.max = Math.max(1, all);
    total.value = sent;
    const now = performance.now();
    this.samples.push([now, this.moved ?? 0]);
    while (this.samples.length > 2 && now - this.samples[0][0] > 8000) this.samples.shift();
    const [since, before] = this.samples[0];
    const rate = now - since > 500 ? ((this.moved ?? 0) - before) / ((now - since) / 1000) : 0;
    const words = [`${bytes(sent)} / ${bytes(all)}`, percent(all ? sent / all : 1)];
    if (this.running && rate > 0) words.push(fill(this.texts.rate, "rate", bytes(rate)), fill(this.texts.left, "time", clock((all - sent) / rate)));
    totalText.textContent = words.join(" · ");
  }

  set(entry, state) { entry.state = state; this.paint(); }

  async run() {
    if (this.running) return;
    const { start, pause } = this.parts;
    Object.assign(this, { running: true, halted: false, samples: [], moved: 0 });
    start.hidden = true;
    pause.hidden = false;
    this.say("");
    const ticking = setInterval(() => this.paint(), 500);
    try {
      for (const entry of this.files) if (!entry.digest && !entry.digesting) { entry.digesting = this.hash(entry); entry.digesting.catch(() => {}); }
      const left = this.files.filter(({ state }) => state !== "done" && state !== "present");
      const lane = async () => { for (let entry = left.shift(); entry; entry = left.shift()) await this.send(entry); };
      // The first failure ends the other lanes, whose own reason is then only that.
      const lanes = Array.from({ length: LANES }, () => lane().catch((error) => { this.halt(); return error; }));
      const errors = (await Promise.all(lanes)).filter(Boolean);
      if (errors.length) throw errors.find(({ kind }) => kind !== "paused") ?? errors[0];
      this.say(this.texts.finishing);
      const answer = await this.again(() => this.post(this.root.dataset.finishUrl, { yaml: this.yaml, files: this.files.map(({ path, digest, size }) => ({ path, digest, size })) }).then((reply) => {
        if (reply.status >= 500 || reply.status === 429) throw new TypeError("try again");
        return reply;
      }));
      if (this.showFaults(answer)) return;
      if (!answer.ok || !answer.body?.location) throw new Stop("finish", answer.body?.detail ?? answer.body?.title);
      this.forgetAll();
      location.assign(new URL(answer.body.location, location.href));
    } catch (error) {
      if (error.kind === "paused") this.say("");
      else if (error.kind === "denied") this.say(error.detail || this.texts.denied, "danger");
      else if (error.kind === "changed") this.say(this.texts.changed, "danger");
      else this.say([this.texts.finishFailed, error.detail].filter(Boolean).join(" "), "danger");
    } finally {
      clearInterval(ticking);
      this.running = false;
      pause.hidden = true;
      start.hidden = false;
      start.textContent = this.texts.resume;
      this.paint();
    }
  }

  hash(entry) {
    this.worker ??= this.startWorker();
    return new Promise((done, failed) => { this.hashing.set(entry.path, { entry, done, failed }); this.worker.postMessage({ id: entry.path, file: entry.file }); });
  }

  startWorker() {
    const worker = new Worker(this.root.dataset.worker, { type: "module" });
    worker.addEventListener("message", ({ data }) => {
      const job = this.hashing.get(data.id);
      if (!job) return;
      if (data.read !== undefined) { job.entry.hashed = data.read; return; }
      this.hashing.delete(data.id);
      if (data.error) { job.entry.digesting = undefined; job.failed(new Stop("changed")); } else { job.entry.digest = data.digest; job.done(data.digest); }
    });
    worker.addEventListener("error", () => { for (const { entry, failed } of this.hashing.values()) { entry.digesting = undefined; failed(new Stop("failed")); } this.hashing.clear(); this.worker = undefined; });
    return worker;
  }

  // One file, from its digest to the server's 201.
  async send(entry) {
    try {
      if (!entry.digest) { this.set(entry, "hashing"); await entry.digesting; }
      if (this.halted) throw new Stop("paused");
      this.set(entry, "sending");
      const present = await this.again(() => this.transfer(entry), entry);
      entry.sent = entry.size;
      this.forget(entry);
      this.set(entry, present ? "present" : "done");
    } catch (error) {
      this.set(entry, error.kind === "paused" ? "waiting" : "failed");
      throw error;
    }
  }

  // True where the server had the file already, in this repository or another one of the same developer.
  async transfer(entry) {
    let address = this.remembered(entry), offset = 0;
    if (address) {
      const state = await this.call("GET", address);
      if (state.status === 204 || state.status === 200) { offset = offsetOf(state); address = this.locationOf(state) ?? address; } else address = undefined;
    }
    if (!address) {
      const begun = await this.call("POST", `/v2/${this.repo}/blobs/uploads/?mount=${encodeURIComponent(entry.digest)}`);
      if (begun.status === 201) return true;
      address = this.locationOf(begun);
      if (begun.status !== 202 || !address) throw new Stop("failed", begun.message);
    }
    this.remember(entry, address);
    entry.sent = offset;
    this.set(entry, "sending");
    while (offset < entry.size) {
      if (this.halted) throw new Stop("paused");
      const end = Math.min(entry.size, offset + CHUNK);
      let told = offset;
      // A part of the file itself: the browser reads it beside the page, which stays quick. Whether a failure is the file's is asked after it.
      const part = entry.file.slice(offset, end);
      const answer = await this.call("PATCH", address, { body: part, range: `${offset}-${end - 1}`, progress: (loaded) => { const now = Math.min(end, offset + loaded); this.moved += Math.max(0, now - told); told = now; entry.sent = now; } }).catch(async (error) => { if (error instanceof TypeError) await readable(part.slice(0, 1)); throw error; });
      if (answer.status === 202) { address = this.locationOf(answer) ?? address; this.remember(entry, address); offset = end; entry.sent = offset; continue; }
      if (answer.status === 404) { this.forget(entry); entry.sent = 0; }
      if (answer.status === 416 || answer.status === 404) throw new TypeError("ask where we are");
      throw new Stop("failed", answer.message);
    }
    // The server may have to read all of it again, or send it on to its store.
    const closed = await this.call("PUT", `${address}${address.includes("?") ? "&" : "?"}digest=${encodeURIComponent(entry.digest)}`, { patience: 0 });
    if (closed.status === 201) return false;
    this.forget(entry);
    entry.sent = 0;
    if (closed.status === 404) throw new TypeError("start again");
    entry.digest = entry.digesting = undefined;
    throw new Stop(closed.status === 400 ? "changed" : "failed", closed.message);
  }

  // One HTTP call with upload progress; a connection that fails, 429 and 5xx throw TypeError, which again() repeats.
  call(method, address, { body = null, range, progress, patience = 120000 } = {}) {
    const url = new URL(address, location.href);
    if (url.origin !== location.origin) return Promise.reject(new Stop("failed"));
    return new Promise((done, failed) => {
      const request = new XMLHttpRequest();
      this.requests.add(request);
      request.addEventListener("loadend", () => this.requests.delete(request));
      request.open(method, url);
      request.timeout = patience;
      request.setRequestHeader("X-CSRF-Token", this.csrf);
      if (body) request.setRequestHeader("Content-Type", "application/octet-stream");
      if (range) request.setRequestHeader("Content-Range", range);
      if (progress) request.upload.addEventListener("progress", (event) => progress(event.loaded));
      request.addEventListener("load", () => {
        const { status } = request;
        if (status === 401 || status === 403) failed(new Stop("denied", status === 403 ? messageOf(request) : ""));
        else if (status === 429 || status >= 500) failed(new TypeError(`answer ${status}`));
        else done({ status, header: (name) => request.getResponseHeader(name), message: messageOf(request) });
      });
      for (const name of ["error", "timeout", "abort"]) request.addEventListener(name, () => failed(this.halted ? new Stop("paused") : new TypeError(name)));
      request.send(body);
    });
  }

  // Repeats with growing pauses (1 s to 30 s, with jitter) until it works; coming online again ends a pause at once.
  async again(attempt, entry) {
    for (let failures = 0; ; failures += 1) {
      try { return await attempt(); } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        if (this.halted) throw new Stop("paused");
        if (entry) this.set(entry, "retrying");
        const pause = Math.min(30000, 1000 * 2 ** Math.min(failures, 5)) * (0.75 + Math.random() / 2);
        await new Promise((done) => { const go = () => { clearTimeout(timer); this.wakers.delete(go); done(); }, timer = setTimeout(go, pause); this.wakers.add(go); });
        if (this.halted) throw new Stop("paused");
      }
    }
  }

  locationOf(answer) {
    const value = answer.header("Location");
    if (!value) return undefined;
    const url = new URL(value, location.href);
    return url.origin === location.origin ? url.pathname + url.search : undefined;
  }

  memory() { try { return JSON.parse(localStorage.getItem(this.key)) ?? {}; } catch { return {}; } }
  store(memory) { try { localStorage.setItem(this.key, JSON.stringify(memory)); } catch { /* full or forbidden: only the resume after a reload is lost */ } }
  mark(entry) { return `${entry.path}|${entry.size}|${entry.file.lastModified}`; }
  remembered(entry) { return this.memory()[this.mark(entry)]; }
  remember(entry, address) { const memory = this.memory(); memory[this.mark(entry)] = address; this.store(memory); }
  forget(entry) { const memory = this.memory(); delete memory[this.mark(entry)]; this.store(memory); }
  forgetAll() { try { localStorage.removeItem(this.key); } catch { /* nothing kept */ } }
}

// Where the server is: X-Upload-Offset says it plainly; Range "0-N" counts inclusively, and "0-0" also stands for nothing.
function offsetOf(answer) {
  const plain = answer.header("X-Upload-Offset");
  if (plain !== null && /^\d+$/.test(plain)) return Number(plain);
  const end = Number(/^(?:bytes=)?0-(\d+)$/.exec(answer.header("Range") ?? "")?.[1] ?? 0);
  return end > 0 ? end + 1 : 0;
}

// A file changed on disk since it was chosen can no longer be read; tell that apart from a lost connection.
async function readable(blob) { try { return await blob.arrayBuffer(); } catch { throw new Stop("changed"); } }

function messageOf(request) {
  if (request.status < 400) return "";
  try { const body = JSON.parse(request.responseText); return body.errors?.[0]?.message ?? body.detail ?? ""; } catch { return ""; }
}

// All files of a drop, folders walked; readEntries answers in batches and must be called until it is empty.
async function dropped(transfer) {
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) { found.push({ path: entry.fullPath.replace(/^\//, ""), file: await new Promise((done, failed) => entry.file(done, failed)) }); return; }
    const reader = entry.createReader();
    for (;;) {
      const batch = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!batch.length) return;
      for (const child of batch) if (!child.name.startsWith(".")) await walk(child);
    }
  };
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  for (const entry of entries) await walk(entry);
  return found;
}

const language = document.documentElement.lang || undefined;
function bytes(value) {
  // As the pages say sizes (src/i18n.rs).
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
const percent = (share) => new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 }).format(Math.min(1, share));
const fill = (text, name, value) => text.replace(/[\u2068\u2069]/g, "").replace(`{${name}}`, value);
function clock(seconds) {
  const whole = Math.max(0, Math.ceil(seconds)), two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

for (const root of document.querySelectorAll("[data-upload]")) { root.hidden = false; new Upload(root); }
