// Live regions. An element with data-live="URL" is kept equal to what the
// server renders: the stream sends the whole fragment whenever it changed, and
// the fragment is morphed into the page so that focus, selection and running
// clocks survive. A missed message does no harm: the next one is whole.

const HIDDEN_GRACE = 60_000; // ms a hidden page keeps its stream; HTTP/1.1 allows six per host

// skew is what must be added to this machine's clock to get the server's.
const skew = Date.parse(document.documentElement.dataset.now || "") - Date.now() || 0;
const now = () => Date.now() + skew;

/** morph makes the children of old equal to those of next, row by row: elements
 *  with an id are matched by it, the others by their place. */
function morph(old, next, arrived) {
  const known = new Map();
  for (const child of old.children) if (child.id) known.set(child.id, child);
  let at = old.firstChild;
  for (const wanted of [...next.childNodes]) {
    let match = null;
    if (wanted.id) match = known.get(wanted.id) ?? null;
    else if (at && !at.id && at.nodeType === wanted.nodeType && at.nodeName === wanted.nodeName) match = at;
    if (!match) {
      const fresh = document.importNode(wanted, true);
      if (arrived && fresh.nodeName === "TR") fresh.classList.add("arrived");
      old.insertBefore(fresh, at);
      continue;
    }
    if (match === at) at = at.nextSibling;
    else old.insertBefore(match, at);
    patch(match, wanted, arrived);
  }
  while (at) {
    const after = at.nextSibling;
    at.remove();
    at = after;
  }
}

function patch(old, next, arrived) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue;
    return;
  }
  const clock = ticks(old) && ticks(old) === ticks(next);
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && name !== "open" && name !== "data-copied") old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (!clock) morph(old, next, arrived); // a running clock's text is this page's own
}

const ticks = (e) => e.dataset?.since ?? e.dataset?.ago ?? e.dataset?.until;

function follow(region) {
  let source = null, first = true, sleep = 0;
  const pulse = document.querySelector("[data-pulse]");
  const say = (state, text) => {
    if (!pulse || pulse.dataset.state === state) return;
    pulse.dataset.state = state;
    pulse.querySelector("[data-pulse-text]").textContent = text;
  };
  const open = () => {
    source = new EventSource(region.dataset.live);
    source.addEventListener("open", () => say("live", "Live"));
    source.addEventListener("error", () => {
      say("lost", "Reconnecting…");
      // A refusal closes the source for good; a lost server is retried by the browser.
      if (source.readyState === EventSource.CLOSED) setTimeout(reopen, 5_000);
    });
    source.addEventListener("fragment", (event) => {
      say("live", "Live");
      const holder = document.createElement("template");
      holder.innerHTML = event.data;
      morph(region, holder.content, !first);
      first = false;
      tick();
      region.dispatchEvent(new CustomEvent("hibari:fresh", { bubbles: true }));
    });
    source.addEventListener("gone", () => location.reload()); // logged out, or the thing shown is gone
  };
  const reopen = () => {
    source?.close();
    open();
  };
  document.addEventListener("visibilitychange", () => {
    clearTimeout(sleep);
    if (document.hidden) sleep = setTimeout(() => { source?.close(); source = null; }, HIDDEN_GRACE);
    else if (!source) open();
  });
  addEventListener("pagehide", () => { source?.close(); source = null; });
  addEventListener("pageshow", (event) => { if (event.persisted && !source) open(); });
  open();
}

/** clock writes whole seconds as m:ss or h:mm:ss, as the server does. */
function clock(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
  return h ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}

/** ago writes how long something is past, as the server does. */
function ago(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 10) return "just now";
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  const d = Math.floor(s / 86400);
  return d === 1 ? "1 day ago" : `${d} days ago`;
}

function tick() {
  for (const e of document.querySelectorAll("[data-since]")) write(e, clock((now() - Date.parse(e.dataset.since)) / 1000));
  for (const e of document.querySelectorAll("[data-until]")) write(e, clock((Date.parse(e.dataset.until) - now()) / 1000));
  for (const e of document.querySelectorAll("[data-ago]")) {
    const past = (now() - Date.parse(e.dataset.ago)) / 1000;
    if (past >= 0) write(e, ago(past));
  }
}

function write(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

for (const region of document.querySelectorAll("[data-live]")) follow(region);
tick();
setInterval(tick, 1_000);
