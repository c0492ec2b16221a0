// The hub of all tabs, as a shared worker.
import { Hub } from "./hub.js";

const hub = new Hub();
addEventListener("connect", ({ ports: [port] }) => hub.join(port));
