// SHA-256 of a file, read as a stream, off the page's thread. In: {id, file}. Out: {id, read} while reading, then {id, digest} or
// {id, error}. WebCrypto can only digest what is wholly in memory, so the hash is @noble/hashes.
import { sha256 } from "../vendor/noble-hashes/sha2.js";

let chain = Promise.resolve();

async function digest({ id, file }) {
  const hash = sha256.create();
  const reader = file.stream().getReader();
  let read = 0, told = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    hash.update(value);
    read += value.byteLength;
    if (read - told > 4194304) { told = read; postMessage({ id, read }); }
  }
  const hex = [...hash.digest()].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  postMessage({ id, digest: `sha256:${hex}` });
}

addEventListener("message", ({ data }) => {
  chain = chain.then(() => digest(data)).catch((error) => postMessage({ id: data.id, error: String(error?.name ?? error) }));
});
