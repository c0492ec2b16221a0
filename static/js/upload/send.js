// Files on their way into the registry: hashed beside the page, sent in parts, tried again. Resumable: what was sent is asked of the
// server (GET of the upload's location), and {path, size, lastModified} → location is kept in localStorage, so a lost connection or a
// reloaded page goes on where it was.
import { csrf, standing } from "../page.js";

const CHUNK = 16 * 1024 * 1024;
// Files sent at the same time.
const LANES = 3;

// Whether a refusal is one of the session and not of the act: somebody may have signed in anew in another tab.
export const stale = (status, code) => status === 401 || (status === 403 && code === "csrf");

// Whether the reader of this page is signed in; the page has the token of that session then.
export const renewed = async () => (await standing()) === "";

export class Stop extends Error { constructor(kind, detail) { super(kind); this.kind = kind; this.detail = detail; } }

// What is worth another try, with the server's reason and the seconds that it tells to wait.
export const again = (reason, after) => Object.assign(new TypeError("try again"), { reason, after: Number(after) || 0 });

export class Sender {
  constructor(repo, worker, progress) {
    this.repo = repo;
    this.address = worker;
    this.progress = progress;
    this.key = `upload:${repo}`;
    this.hashing = new Map();
    this.requests = new Set();
    this.wakers = new Set();
    addEventListener("online", () => this.wake());
  }

  // Ends what is on its way; all() can go on later.
  halt() { this.halted = true; for (const request of this.requests) request.abort(); this.wake(); }
  wake() { for (const go of this.wakers) go(); }

  // Every file that is not there yet.
  async all(files) {
    this.halted = false;
    for (const entry of files) if (!entry.digest && !entry.digesting) { entry.digesting = this.hash(entry); entry.digesting.catch(() => {}); }
    const left = files.filter(({ state }) => state !== "done" && state !== "present");
    const lane = async () => { for (let entry = left.shift(); entry; entry = left.shift()) await this.send(entry); };
    // The first failure ends the other lanes, whose own reason is then only that.
    const lanes = Array.from({ length: LANES }, () => lane().catch((error) => { this.halt(); return error; }));
    const errors = (await Promise.all(lanes)).filter(Boolean);
    if (errors.length) throw errors.find(({ kind }) => kind !== "paused") ?? errors[0];
  }

  hash(entry) {
    this.worker ??= this.startWorker();
    return new Promise((done, failed) => { this.hashing.set(entry.path, { entry, done, failed }); this.worker.postMessage({ id: entry.path, file: entry.file }); });
  }

  startWorker() {
    const worker = new Worker(this.address, { type: "module" });
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
      if (!entry.digest) { this.progress.set(entry, "hashing"); await entry.digesting; }
      if (this.halted) throw new Stop("paused");
      this.progress.set(entry, "sending");
      const present = await this.again(() => this.transfer(entry), entry);
      entry.sent = entry.size;
      this.forget(entry);
      this.progress.set(entry, present ? "present" : "done");
    } catch (error) {
      this.progress.set(entry, error.kind === "paused" ? "waiting" : "failed");
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
    this.progress.set(entry, "sending");
    while (offset < entry.size) {
      if (this.halted) throw new Stop("paused");
      const end = Math.min(entry.size, offset + CHUNK);
      let told = offset;
      // A part of the file itself: the browser reads it beside the page, which stays quick. Whether a failure is the file's is asked after it.
      const part = entry.file.slice(offset, end);
      const answer = await this.call("PATCH", address, { body: part, range: `${offset}-${end - 1}`, progress: (loaded) => { const now = Math.min(end, offset + loaded); this.progress.moved += Math.max(0, now - told); told = now; entry.sent = now; } }).catch(async (error) => { if (error instanceof TypeError) await readable(part.slice(0, 1)); throw error; });
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
      request.setRequestHeader("X-CSRF-Token", csrf);
      if (body) request.setRequestHeader("Content-Type", "application/octet-stream");
      if (range) request.setRequestHeader("Content-Range", range);
      if (progress) request.upload.addEventListener("progress", (event) => progress(event.loaded));
      request.addEventListener("load", () => {
        const { status } = request;
        const { message, code } = told(request);
        if (stale(status, code)) failed(Object.assign(new Stop("denied"), { stale: true }));
        else if (status === 403) failed(new Stop("denied", message));
        else if (status === 429 || status >= 500) failed(again(message, request.getResponseHeader("Retry-After")));
        else done({ status, header: (name) => request.getResponseHeader(name), message });
      });
      for (const name of ["error", "timeout", "abort"]) request.addEventListener(name, () => failed(this.halted ? new Stop("paused") : new TypeError(name)));
      request.send(body);
    });
  }

  // Repeats with growing pauses (1 s to 30 s, with jitter, or as long as the server says) until it works; coming online again ends a pause at
  // once. A session that is over is looked after once: what is refused with the new one stays refused.
  async again(attempt, entry) {
    for (let failures = 0, looked = false; ; failures += 1) {
      try { return await attempt(); } catch (error) {
        if (error.stale && !looked && !this.halted) {
          looked = true;
          if (await renewed()) { if (this.halted) throw new Stop("paused"); continue; }
        }
        if (!(error instanceof TypeError)) throw error;
        if (this.halted) throw new Stop("paused");
        if (entry) { entry.reason = error.reason; this.progress.set(entry, "retrying"); }
        const pause = Math.max((error.after ?? 0) * 1000, Math.min(30000, 1000 * 2 ** Math.min(failures, 5)) * (0.75 + Math.random() / 2));
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

// What the server says of a refusal: its words, and its code.
function told(request) {
  if (request.status < 400) return { message: "" };
  try {
    const body = JSON.parse(request.responseText), first = body.errors?.[0];
    return { message: first?.message ?? body.detail ?? "", code: first?.detail?.code ?? body.code };
  } catch { return { message: "" }; }
}
