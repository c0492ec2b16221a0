// What is uploaded: the files of a folder that was chosen or dropped.
const YAML_LIMIT = 256 * 1024;
// What the system lays beside one's own files; `pithead push` leaves out the same (crates/app-package/src/path.rs).
const systemFiles = ["__macosx", "thumbs.db", "desktop.ini"];

// Tells chosen(found) what comes from the file inputs and the drop zone, and cancelled() of a dialog that was closed or an empty folder.
export function listen(root, zone, chosen, cancelled) {
  for (const input of root.querySelectorAll('input[type="file"]')) {
    input.addEventListener("change", () => { chosen([...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }))); input.value = ""; });
    input.addEventListener("cancel", cancelled);
  }
  for (const button of root.querySelectorAll("[data-upload-open]")) button.addEventListener("click", () => root.querySelector(`#${button.dataset.uploadOpen}`).click());
  for (const name of ["dragenter", "dragover"]) zone.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) zone.addEventListener(name, (event) => { event.preventDefault(); zone.classList.remove("over"); });
  zone.addEventListener("drop", async (event) => chosen(await dropped(event.dataTransfer)));
  // A file dropped beside the zone must not replace the page.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); });
}

// The folder is where the shallowest app.yaml lies; files outside it and hidden ones are left out. Without one, where `drafts` allows it, that of
// the shallowest model, and no yaml. Else: {problem}, the name of a text.
export function folder(found, drafts) {
  if (!found.length) return { problem: "nothing" };
  const yaml = found.filter(({ path }) => path.split("/").pop() === "app.yaml").sort((a, b) => depth(a) - depth(b))[0];
  if (!yaml && !drafts) return { problem: "noYaml" };
  if (yaml?.file.size > YAML_LIMIT) return { problem: "yamlTooLarge" };
  // Bare models: what lies beside and below the shallowest one may belong to it.
  const first = yaml ?? found.filter(({ path }) => path.toLowerCase().endsWith(".onnx")).sort((a, b) => depth(a) - depth(b))[0];
  if (!first) return { problem: "noYaml" };
  const base = first.path.slice(0, first.path.lastIndexOf("/") + 1);
  const files = found.filter(({ path }) => path.startsWith(base))
    .map(({ path, file }) => ({ path: path.slice(base.length).normalize("NFC"), file, size: file.size, sent: 0, hashed: 0, state: "waiting" }))
    .filter(({ path }) => !path.split("/").some((part) => part.startsWith(".") || systemFiles.includes(part.toLowerCase())))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  return { yaml: yaml?.file, files };
}
const depth = ({ path }) => path.split("/").length;

// Longest JSON that is read here; what is longer the check reads.
const JSON_LIMIT = 4 * 1024 * 1024;
// How an ONNX file may begin: the tags of the fields of its outermost message (ModelProto of onnx.proto3).
const onnxTags = [0x08, 0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72, 0xa2, 0xca];

// What the files themselves show before they are sent: JSON that is none, a model that is none. The whole check is the platform's.
export async function wrong(files, texts) {
  const faults = [];
  for (const { path, file, size } of files) {
    const name = path.toLowerCase();
    if (name.endsWith(".json") && size <= JSON_LIMIT) {
      // The browser's own words are English: of them only the place is taken, where there is one.
      try { JSON.parse(await file.text()); } catch (error) {
        const place = /line (\d+) column (\d+)/.exec(error.message);
        faults.push({ key: path, message: place ? `${texts.wrongJson} (${place[1]}:${place[2]})` : texts.wrongJson });
      }
    }
    if (name.endsWith(".onnx")) {
      const [first] = new Uint8Array(await file.slice(0, 1).arrayBuffer());
      if (!onnxTags.includes(first)) faults.push({ key: path, message: texts.wrongOnnx });
    }
  }
  return faults;
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
