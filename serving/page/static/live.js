// Puts the changes of a page in place as they come, and says when they do not come.
//
// A message: {issued, age, ttl, set: {id: html}, gone: [id], lists: {id: [id or [begin, end] of the old ones]},
// data: {name: json}}; see serving/page/view.py.
// After each one, document gets the event "live" with the message as its detail.

const body = document.body, live = document.getElementById("live");
let age = "age" in body.dataset ? Number(body.dataset.age) : null, ttl = Number(body.dataset.ttl), read = Date.now();
const orders = new Map();  // list -> its ids, where that is no longer those on the first page
const patience = 5000;  // ms without a connection, as at a reload of the service, before it is said
const silence = 45000;  // ms without a message or a beat, which come every 15 s: the connection is dead
let lost = null;  // when the connection was lost
let refused = false;  // the page is read anew instead
let heard = Date.now();
let shown = "";

function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

// What has the focus, as (element with an id, place among what can have the focus in it).
function focused() {
  const at = document.activeElement, owner = at?.closest("[id]");
  if (!owner || at === body) return () => {};
  const inside = element => [element, ...element.querySelectorAll("a, button, input, select, summary, [tabindex]")];
  const place = inside(owner).indexOf(at), id = owner.id;
  return () => {
    const now = document.getElementById(id);
    if (now && document.activeElement !== inside(now)[place]) inside(now)[place]?.focus({preventScroll: true});
  };
}

function put(id, html) {
  const old = document.getElementById(id), made = parse(html);
  if (!old) return made;
  for (const open of old.querySelectorAll("details[id][open]")) {
    made.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
  }
  if (old.open && made.matches("details")) made.open = true;
  if (old.hidden) made.hidden = true;  // a filter hides it
  old.replaceWith(made);
}

function order(list) {
  return orders.get(list) ?? [...document.getElementById(list)?.children ?? []].map(child => child.id);
}

function apply(message) {
  const restore = focused(), fresh = new Map();
  for (const [id, moved] of Object.entries(message.lists ?? {})) {
    const old = order(id);
    orders.set(id, moved.flatMap(one => typeof one === "string" ? one : old.slice(...one)));
  }
  for (const id of message.gone ?? []) document.getElementById(id)?.remove();
  for (const [id, html] of Object.entries(message.set ?? {})) {
    const made = put(id, html);
    if (made) fresh.set(id, made);
  }
  for (const id of Object.keys(message.lists ?? {})) {
    const list = document.getElementById(id);
    if (!list) continue;
    let place = list.firstElementChild;
    for (const child of orders.get(id)) {
      const element = fresh.get(child) ?? document.getElementById(child);
      if (!element) continue;
      if (element === place) place = place.nextElementSibling;
      else list.insertBefore(element, place);
    }
    while (place) {  // what went while the connection was lost
      const next = place.nextElementSibling;
      place.remove();
      place = next;
    }
  }
  restore();
  document.dispatchEvent(new CustomEvent("live", {detail: message}));
}

const clock = moment => new Date(moment).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});

function say() {
  if (lost === null && !refused && Date.now() - heard > silence) lost = heard;
  const old = age === null ? null : age + (Date.now() - read) / 1000;
  const state = lost !== null && Date.now() - lost > patience ? "disconnected" : old !== null && old > ttl ? "stale" : age === null ? "waiting" : refused ? "polled" : "live";
  const text = {
    disconnected: `Disconnected since ${clock(lost)}: what is shown may be old`,
    stale: old === null ? "" : `Stale since ${clock(Date.now() - (old - ttl) * 1000)}: nothing newer has come`,
    waiting: "No forecast yet",
    live: "Live",
    polled: `Updates every ${body.dataset.again} s`,
  }[state];
  document.documentElement.dataset.live = state;
  if (text !== shown) live.textContent = shown = text;
  live.title = old === null ? "" : `${Math.round(old)} s old`;
}

function connect() {
  const source = new EventSource(body.dataset.stream);
  const hear = () => { heard = Date.now(); lost = null; };
  source.onopen = () => { hear(); say(); };
  source.addEventListener("beat", () => { hear(); say(); });
  source.onmessage = event => {
    const message = JSON.parse(event.data);
    age = message.age ?? null;
    ttl = message.ttl;
    read = Date.now();
    hear();
    apply(message);
    say();
  };
  source.onerror = () => {
    refused = source.readyState === EventSource.CLOSED;  // as when too many pages follow
    lost = refused ? null : lost ?? Date.now();
    say();
    if (refused) {
      setTimeout(() => location.reload(), 1000 * Number(body.dataset.again));
    }
  };
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", event => { if (event.persisted) location.reload(); });
}

if (body.dataset.stream) {
  say();
  connect();
  setInterval(say, 1000);
}
