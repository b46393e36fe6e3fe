// Reads values out of charts: a pointer or the arrow keys move a cursor, the line below says what is there.
// What is drawn comes from the server as SVG; the values of a chart are JSON in #chart-data, and later in the event "live".

const charts = JSON.parse(document.getElementById("chart-data")?.textContent ?? "{}");
const places = new Map();  // id of a plot -> steps from now

function box(plot) {
  const svg = plot.querySelector("svg")?.getBoundingClientRect(), outer = plot.getBoundingClientRect();
  return svg && {left: svg.left - outer.left, width: svg.width};
}

const bounds = of => [Math.ceil((of.start - of.now) / of.step), Math.floor((of.end - of.now) / of.step)];
const number = value => value === null || value === undefined ? null : value;

function text(of, k) {
  const at = new Date(1000 * (of.now + k * of.step));
  const hour = at.toLocaleString("en-GB", {timeZone: of.zone, ...(of.step > 3000 ? {weekday: "short", day: "numeric", month: "short"} : {}),
    hour: "2-digit", minute: "2-digit"});
  const unit = value => number(value) === null ? "unknown" : `${value}${of.unit}`;
  const measured = of.measured?.[k - of.first], ahead = of.forecast?.map(curve => curve[k - of.ahead]);
  const said = of.said?.map(curve => curve[k - of.said_first]);
  const parts = [];
  if (number(measured) !== null) parts.push(`measured ${unit(measured)}`);
  if (ahead && number(ahead[1]) !== null) parts.push(`forecast ${unit(ahead[1])}, p10 to p90 ${unit(ahead[0])} to ${unit(ahead[2])}`);
  if (said && number(said[1]) !== null) parts.push(`said ${of.lead} min before ${unit(said[1])}, ${unit(said[0])} to ${unit(said[2])}`);
  return `${hour}: ${parts.join("; ") || "unknown"}`;
}

function show(plot, k) {
  const of = charts[plot.dataset.chart], room = box(plot);
  if (!of || !room) return;
  const [first, last] = bounds(of);
  k = Math.min(last, Math.max(first, k));
  places.set(plot.id, k);
  const cursor = plot.querySelector(".cursor"), share = (k * of.step + of.now - of.start) / (of.end - of.start);
  cursor.hidden = false;
  cursor.style.left = `${room.left + share * room.width}px`;
  const said = text(of, k);
  document.getElementById(plot.id.replace("plot", "read")).textContent = said;
  plot.setAttribute("aria-valuenow", k);
  plot.setAttribute("aria-valuetext", said);
}

function prepare() {
  for (const plot of document.querySelectorAll(".plot[data-chart]")) {
    const of = charts[plot.dataset.chart];
    if (!of) continue;
    const [first, last] = bounds(of);
    for (const [name, value] of Object.entries({tabindex: 0, role: "slider", "aria-label": `Moment in the chart of ${of.title}`,
      "aria-valuemin": first, "aria-valuemax": last, "aria-valuenow": places.get(plot.id) ?? 0})) plot.setAttribute(name, value);
    if (places.has(plot.id)) show(plot, places.get(plot.id));
  }
}

document.addEventListener("pointermove", event => {
  const plot = event.target.closest?.(".plot[data-chart]"), room = plot && box(plot), of = plot && charts[plot.dataset.chart];
  if (!room || !of) return;
  const share = (event.clientX - plot.getBoundingClientRect().left - room.left) / room.width;
  show(plot, Math.round((of.start - of.now + share * (of.end - of.start)) / of.step));
});

document.addEventListener("keydown", event => {
  const plot = event.target.closest?.(".plot[data-chart]"), of = plot && charts[plot.dataset.chart];
  if (!of || event.ctrlKey || event.altKey || event.metaKey) return;
  const [first, last] = bounds(of), now = places.get(plot.id) ?? 0;
  const to = {ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, PageDown: now - 12, PageUp: now + 12,
    Home: first, End: last}[event.key];
  if (event.key === "Enter" && location.pathname === "/ui/server") {
    const address = new URL(location);
    address.searchParams.set("at", Math.round(of.now + now * of.step));
    location.assign(address);
  }
  if (to === undefined) return;
  event.preventDefault();
  show(plot, to);
});

addEventListener("resize", prepare);
document.addEventListener("live", event => {
  Object.assign(charts, event.detail.data ?? {});
  prepare();
});
prepare();
