// One stream of events for all tabs of a browser: browsers open only six connections to a host over HTTP/1.1, and a stream holds one for as
// long as it lasts. Each tab says on its port what it shows, {reader, topics, hidden}; the hub holds one stream for each reader and passes on
// {beat}, {change: topic} and {over}. It runs in a shared worker (worker.js), or within the page where there is none.
import { steady } from "../steady.js";

// The server says something at least every ten seconds; after so long without a word the connection is dead, whatever the browser thinks.
const SILENT = 25000;
// Longest wait for the first word of a new stream, and pause after one that failed at once.
const PATIENCE = 10000, RETRY = 5000;
// How long a stream stays open beside the one that takes over from it.
const OVERLAP = 1000;
// Tabs that nobody looks at get nothing after so long. A tab that is seen again asks anew.
const HIDDEN = 300000;
// Most topics of a stream (src/site/events.rs). Tabs with others fetch at each beat.
const MOST = 32;

class Stream {
  constructor(tell) { this.tell = tell; this.topics = []; this.heard = -Infinity; this.tried = -Infinity; }

  want(topics) {
    if ((this.next ?? this.source) && topics.every((topic) => this.topics.includes(topic))) return;
    this.topics = topics;
    this.open();
  }

  // A stream that takes over from a sound one opens beside it, so that nothing is missed in between.
  open() {
    const before = this.source, asked = this.topics.slice(0, MOST), covered = new Set(before?.topics ?? []);
    this.next?.close();
    const source = new EventSource(`/events?${new URLSearchParams(asked.map((topic) => ["topic", topic]))}`);
    source.topics = asked;
    const hear = () => {
      this.heard = steady();
      if (this.next !== source) return;
      if (before) setTimeout(() => before.close(), OVERLAP);
      this.source = source;
      this.next = undefined;
    };
    this.next = source;
    this.tried = steady();
    // A stream begins with an event of each topic, since something may have been missed before it; not where it takes over.
    source.addEventListener("change", ({ data }) => { hear(); if (!covered.delete(data)) this.tell({ change: data }); });
    source.addEventListener("beat", () => { hear(); this.tell({ beat: true }); for (const topic of this.topics.slice(MOST)) this.tell({ change: topic }); });
    source.addEventListener("over", () => { this.close(); this.tell({ over: true }); });
  }

  close() {
    this.source?.close();
    this.next?.close();
    this.source = this.next = undefined;
  }

  // Opens anew what has failed for good or says nothing any more.
  look(now) {
    const source = this.next ?? this.source;
    if (!source || now - this.tried < RETRY) return;
    const silent = now - this.heard > SILENT && now - this.tried > PATIENCE;
    if (silent || source.readyState === EventSource.CLOSED) { this.close(); this.open(); }
  }
}

export class Hub {
  constructor() {
    this.tabs = new Map();
    this.streams = new Map();
    setInterval(() => this.look(), 1000);
  }

  join(port) {
    port.onmessage = ({ data }) => {
      if (data.bye) this.tabs.delete(port);
      else this.tabs.set(port, { ...data, since: data.hidden ? this.tabs.get(port)?.since ?? steady() : undefined });
      this.settle();
    };
  }

  // The streams that the tabs need now.
  settle() {
    const wanted = new Map(), now = steady();
    for (const { reader, topics, since } of this.tabs.values()) {
      if (since && now - since > HIDDEN) continue;
      wanted.set(reader, new Set([...(wanted.get(reader) ?? []), ...topics]));
    }
    for (const [reader, stream] of this.streams) if (!wanted.has(reader)) { stream.close(); this.streams.delete(reader); }
    for (const [reader, topics] of wanted) {
      if (!this.streams.has(reader)) this.streams.set(reader, new Stream((words) => this.tell(reader, words)));
      this.streams.get(reader).want([...topics]);
    }
  }

  // A session that is over stays so until a tab asks again.
  tell(reader, words) {
    const topic = words.change;
    for (const [port, tab] of this.tabs) if (tab.reader === reader && (topic === undefined || tab.topics.includes(topic))) port.postMessage(words);
    if (words.over) {
      for (const [port, tab] of this.tabs) if (tab.reader === reader) this.tabs.delete(port);
      this.streams.delete(reader);
    }
  }

  look() {
    const now = steady();
    for (const stream of this.streams.values()) stream.look(now);
    if ([...this.tabs.values()].some(({ since }) => since && now - since > HIDDEN)) this.settle();
  }
}
