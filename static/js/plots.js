// Lines over time. Each [data-plot] names its data in data-src (docs/UI.md gives the shape). ECharts is loaded from data-echarts when the
// first plot nears the window. Colours come from the CSS tokens, so a plot follows the theme. The same numbers are put in a table, for
// those who read rather than look. Where the page lives (js/live.js), its plots go on with it. No text of any language is in here. Bars are drawn by the server (templates/parts/plot.html).
const language = document.documentElement.lang || undefined;
// Times are those of the platform, as everywhere on the pages, wherever the reader sits.
const timeZone = "Asia/Shanghai";
const charts = new Map(), asked = new WeakMap();
// Pause between two readings of the data of a plot, which has a point for each minute.
const MINUTE = 60000;
const recent = (element) => performance.now() - (asked.get(element) ?? -Infinity) < MINUTE;
const tones = { steel: "--steel", amber: "--lamp", green: "--green", red: "--red", grey: "--line-strong" };
const order = ["steel", "amber", "green", "grey", "red"];
let library;

function load(address) {
  library ??= new Promise((done, failed) => {
    if (window.echarts) { done(window.echarts); return; }
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => done(window.echarts);
    script.onerror = () => { library = undefined; failed(new Error("plot library not loaded")); };
    document.head.append(script);
  });
  return library;
}

// A token is light-dark(…): it becomes one colour only where it is used, here on an element that is not seen.
const swatch = document.createElement("i");
swatch.hidden = true;
document.body.append(swatch);
const colour = (name) => { swatch.style.color = `var(${name})`; return getComputedStyle(swatch).color; };
const number = (value, unit) => (value === null || value === undefined || Number.isNaN(value) ? "–"
  : new Intl.NumberFormat(language, { maximumFractionDigits: Math.abs(value) < 10 ? 2 : 1 }).format(value) + (unit ? ` ${unit}` : ""));
const moment = (ms, span) => new Intl.DateTimeFormat(language, span > 2 * 864e5
  ? { month: "numeric", day: "numeric", timeZone } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone }).format(ms);
const exact = (ms) => new Intl.DateTimeFormat(language, { dateStyle: "short", timeStyle: "medium", hourCycle: "h23", timeZone }).format(ms);

function span(data) {
  let low = Infinity, high = -Infinity;
  for (const series of data.series) for (const [x] of series.data) { low = Math.min(low, x); high = Math.max(high, x); }
  return high - low;
}

// A label that would say the same as the one before it says nothing: several ticks may lie in one minute.
function unrepeated(words) {
  const said = [];
  return (value, index) => { said[index] = words(value); return index > 0 && said[index - 1] === said[index] ? "" : said[index]; };
}

// Counts have no half ticks.
const whole = (data) => data.series.every((series) => series.data.every(([, y]) => y === null || Number.isInteger(y)));

// Times of clips beside times of rows: seconds would press fractions of a millisecond onto the axis.
function wide(data) {
  if (data.unit !== "ms") return false;
  const values = data.series.flatMap((series) => series.data.map(([, y]) => y)).filter((y) => y !== null);
  return Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 100;
}

const toneOf = (index) => order[index % order.length];

// Built of elements, not of markup: the content security policy refuses style attributes, and names come from people.
function tip(data, items) {
  const box = document.createElement("div");
  const [first] = items;
  if (!first) return box;
  const head = document.createElement("small");
  head.textContent = exact(first.value[0]);
  box.append(head);
  for (const item of items) {
    const row = document.createElement("div"), name = document.createElement("span"), dot = document.createElement("i"), value = document.createElement("b");
    row.className = "plot-row";
    dot.className = `dot-${toneOf(item.seriesIndex)}`;
    name.append(dot, item.seriesName ?? "");
    value.textContent = number(item.value[1], data.unit);
    row.append(name, value);
    box.append(row);
  }
  return box;
}

function option(data) {
  const text = colour("--text-2"), line = colour("--line");
  const across = span(data);
  const axis = { axisLine: { lineStyle: { color: colour("--line-strong") } }, axisTick: { show: false }, axisLabel: { color: text, fontSize: 12, hideOverlap: true }, splitLine: { show: false } };
  return {
    animation: false,
    aria: { enabled: false },
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
    grid: { left: 4, right: 12, top: data.series.length > 1 ? 34 : 14, bottom: 4, containLabel: true },
    // In one line however many there are: a second line would lie over the plot.
    legend: { show: data.series.length > 1, type: "scroll", pageIconColor: text, pageIconInactiveColor: colour("--line-strong"), pageTextStyle: { color: text }, pageIconSize: 11, top: 0, right: 0, left: 0, icon: "roundRect", itemWidth: 12, itemHeight: 8, textStyle: { color: text }, inactiveColor: colour("--line-strong") },
    tooltip: { trigger: "axis", className: "plot-tip", confine: true, backgroundColor: colour("--surface"), borderColor: colour("--line-strong"), padding: [6, 10], textStyle: { color: colour("--text"), fontSize: 12 }, axisPointer: { type: "line", lineStyle: { color: colour("--line-strong") } }, formatter: (items) => tip(data, items) },
    xAxis: { ...axis, type: "time", scale: true, axisLabel: { ...axis.axisLabel, formatter: unrepeated((value) => moment(value, across)) }, minInterval: across > 2 * 864e5 ? 864e5 : 6e4 },
    yAxis: { ...axis, type: wide(data) ? "log" : "value", ...(data.unit === "%" ? { min: 0, max: 100, interval: 25 } : whole(data) ? { minInterval: 1 } : {}), axisLine: { show: false }, splitNumber: 4, splitLine: { lineStyle: { color: line } }, axisLabel: { ...axis.axisLabel, formatter: (value) => number(value, data.unit) } },
    series: data.series.map((series, index) => {
      const tone = colour(tones[toneOf(index)]);
      return {
        type: "line", name: series.name, data: series.data, symbol: "none", sampling: "lttb", itemStyle: { color: tone }, lineStyle: { color: tone, width: 2 },
      };
    }),
  };
}

function table(element, data) {
  const label = element.dataset.tableLabel;
  if (!label) return;
  const next = element.nextElementSibling, before = next?.classList.contains("plot-table") ? next : undefined;
  const rows = new Map();
  data.series.forEach((series, column) => series.data.slice(-500).forEach(([x, y]) => {
    if (!rows.has(x)) rows.set(x, []);
    rows.get(x)[column] = y;
  }));
  const details = document.createElement("details"), summary = document.createElement("summary"), scroll = document.createElement("div"), made = document.createElement("table");
  details.className = "more plot-table";
  summary.textContent = label;
  made.className = "table table-sm";
  scroll.className = "table-wrap";
  scroll.tabIndex = 0;
  const head = made.createTHead().insertRow();
  for (const name of ["", ...data.series.map((series) => series.name ?? "")]) { const cell = document.createElement(name ? "th" : "td"); if (name) cell.scope = "col"; cell.textContent = name; head.append(cell); }
  const body = made.createTBody();
  for (const [x, values] of rows) {
    const row = body.insertRow(), title = document.createElement("th");
    title.scope = "row";
    title.textContent = exact(x);
    row.append(title);
    data.series.forEach((_, column) => { row.insertCell().textContent = number(values[column], data.unit); });
  }
  scroll.append(made);
  details.append(summary, scroll);
  details.open = before?.open ?? false;
  before?.remove();
  element.after(details);
}

async function dataOf(element) {
  asked.set(element, performance.now());
  const answer = await fetch(element.dataset.src, { credentials: "same-origin", headers: { Accept: "application/json", "X-Refresh": "1" } });
  if (!answer.ok) throw new Error(`plot data: ${answer.status}`);
  return answer.json();
}

async function draw(element) {
  try {
    const data = await dataOf(element);
    if (!data.series?.some((series) => series.data.length)) {
      if (!element.dataset.empty) return;
      const empty = document.createElement("p");
      empty.className = "plot-empty";
      empty.textContent = element.dataset.empty;
      element.replaceChildren(empty);
      return;
    }
    const echarts = await load(element.dataset.echarts);
    element.setAttribute("role", "img");
    const caption = element.closest("figure")?.querySelector("figcaption")?.textContent.trim();
    if (caption) element.setAttribute("aria-label", caption);
    element.replaceChildren();
    const chart = echarts.init(element, null, { renderer: "canvas" });
    chart.setOption(option(data));
    charts.set(element, { chart, data });
    new ResizeObserver(() => chart.resize()).observe(element);
    table(element, data);
  } catch (error) { console.warn("plot", error); }
}

// The same plot with the data of now; what cannot be had now is there a minute later.
async function renew(element, kept) {
  try {
    const data = await dataOf(element);
    if (!element.isConnected || !data.series?.some((series) => series.data.length)) return;
    kept.data = data;
    kept.chart.setOption(option(data), true);
    table(element, data);
  } catch (error) { console.warn("plot", error); }
}

const near = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); draw(entry.target); }
}, { rootMargin: "1600px" });

function start(root) {
  for (const [element, { chart }] of charts) if (!element.isConnected) { chart.dispose(); charts.delete(element); }
  for (const element of root.querySelectorAll("[data-plot]")) if (!charts.has(element) && !recent(element)) near.observe(element);
}

document.addEventListener("themechange", () => { for (const { chart, data } of charts.values()) chart.setOption(option(data), true); });
document.addEventListener("htmx:load", (event) => start(event.target));
document.addEventListener("live:refreshed", () => {
  start(document);
  for (const [element, kept] of charts) if (!recent(element)) renew(element, kept);
});
start(document);
