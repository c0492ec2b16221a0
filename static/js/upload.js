// The upload of a release: choose or drop a folder (upload/choose.js), have app.yaml checked, send the files to the registry in parts
// (upload/send.js) while the page says how far it is (upload/progress.js), finish. Texts come from data-* of [data-upload-texts].
import { csrf, say } from "./page.js";
import { folder, listen, wrong } from "./upload/choose.js";
import { Progress, fill } from "./upload/progress.js";
import { Sender, Stop, again, renewed, stale } from "./upload/send.js";

class Upload {
  constructor(root) {
    this.urls = { check: root.dataset.checkUrl, finish: root.dataset.finishUrl, drafts: root.dataset.draftsUrl };
    this.texts = root.querySelector("[data-upload-texts]").dataset;
    this.files = [];
    const get = (name) => root.querySelector(`[data-upload-${name}]`);
    this.parts = { message: get("message"), faults: get("faults"), start: get("start"), pause: get("pause") };
    this.progress = new Progress(get, this.texts);
    this.sender = new Sender(root.dataset.repo, root.dataset.worker, this.progress);
    // An empty folder changes nothing, so that browsers tell of it as of a closed dialog.
    listen(root, get("zone"), (found) => this.choose(found), () => { if (!this.progress.running && !this.files.length) this.say(this.texts.nothing); });
    this.parts.start.addEventListener("click", () => this.run());
    this.parts.pause.addEventListener("click", () => this.sender.halt());
    // Begun and not finished: the browser asks before the page is left.
    addEventListener("beforeunload", (event) => { if (this.begun) event.preventDefault(); });
  }

  say(text, kind = "info") {
    this.parts.message.className = `alert alert-${kind}`;
    say(this.parts.message, text);
  }

  async choose(found) {
    if (this.progress.running) return;
    const { problem, yaml, files } = folder(found, this.urls.drafts);
    if (problem !== "nothing") { this.parts.faults.replaceChildren(); this.progress.hide(); }
    if (problem) { this.say(this.texts[problem], "danger"); return; }
    this.files = files;
    // Without app.yaml bare models are sent, from which the platform proposes one.
    this.yaml = await yaml?.text();
    this.say(this.texts.checking);
    let answer;
    try { answer = await post(yaml ? this.urls.check : `${this.urls.drafts}/check`, { yaml: this.yaml, files: files.map(({ path, size }) => ({ path, size })) }); } catch { this.say(this.texts.checkFailed, "danger"); return; }
    if (this.showFaults(answer)) return;
    if (!answer.ok) { this.say(said(answer) || (answer.status === 401 ? this.texts.denied : this.texts.checkFailed), "danger"); return; }
    if (this.showFaults({ body: { faults: await wrong(files, this.texts) } })) return;
    this.say(yaml ? this.texts.checkedOk : this.texts.modelOk, "success");
    this.progress.list(files);
    this.parts.start.hidden = false;
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

  async run() {
    const { progress, sender, files, yaml } = this;
    const finishing = yaml === undefined ? this.texts.modelFinishing : this.texts.finishing;
    if (progress.running) return;
    const { start, pause } = this.parts;
    progress.running = this.begun = true;
    progress.restart();
    start.hidden = true;
    pause.hidden = false;
    this.say("");
    const ticking = setInterval(() => progress.paint(), 500);
    try {
      await sender.all(files);
      this.say(finishing);
      const answer = await sender.again(() => post(yaml === undefined ? this.urls.drafts : this.urls.finish, { yaml, files: files.map(({ path, digest, size }) => ({ path, digest, size })) }).then((reply) => {
        if (reply.status >= 500 || reply.status === 429) { this.say(said(reply) || finishing); throw again(said(reply), reply.after); }
        if (reply.status === 401) throw new Stop("denied");
        return reply;
      }));
      if (this.showFaults(answer)) return;
      if (!answer.ok || !answer.body?.location) throw new Stop("finish", said(answer));
      sender.forgetAll();
      this.begun = false;
      location.assign(new URL(answer.body.location, location.href));
    } catch (error) {
      if (error.kind === "paused") this.say("");
      else if (error.kind === "denied") this.say(error.detail || this.texts.denied, "danger");
      else if (error.kind === "changed") this.say(this.texts.changed, "danger");
      else this.say([this.texts.finishFailed, error.detail].filter(Boolean).join(" "), "danger");
    } finally {
      clearInterval(ticking);
      progress.running = false;
      pause.hidden = true;
      start.hidden = false;
      start.textContent = this.texts.resume;
      progress.paint();
    }
  }
}

const said = ({ body }) => body?.detail ?? body?.title ?? "";

async function post(address, value) {
  const once = async () => {
    const answer = await fetch(address, { method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": csrf }, body: JSON.stringify(value) });
    return { ok: answer.ok, status: answer.status, after: answer.headers.get("Retry-After"), body: await answer.json().catch(() => null) };
  };
  const answer = await once();
  return stale(answer.status, answer.body?.code) && await renewed() ? once() : answer;
}

for (const root of document.querySelectorAll("[data-upload]")) { root.hidden = false; new Upload(root); }
