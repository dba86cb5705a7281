// The page without this file is complete. It keeps what is shown current, moves what moved, and shows local time.

export const live = document.getElementById("live");
const html = document.documentElement;
html.classList.add("scripting");
const trusted = window.trustedTypes?.createPolicy("live", { createHTML: (text) => text });
const still = matchMedia("(prefers-reduced-motion: reduce)");

// Times in the viewer's zone; the server writes UTC.
const day = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit" });
const hour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.textContent = `${day.format(at)} ${hour.format(at)}`;
    time.title = time.dateTime;
  }
}

export function parsed(text) {
  const template = document.createElement("template");
  template.innerHTML = trusted ? trusted.createHTML(text) : text;
  localise(template.content);
  return template.content;
}

// Make `old` equal to `fresh`, keeping the elements that stay: focus, selection and open details survive.
function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.dataset.key : undefined;
}
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || keyOf(old) !== keyOf(fresh)) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old !== document.activeElement && old.nodeName === "INPUT") old.value = fresh.getAttribute("value") ?? "";
  morphChildren(old, fresh);
}
export function morphChildren(old, fresh) {
  const kept = new Map();
  for (const child of old.children) if (keyOf(child)) kept.set(keyOf(child), child);
  let at = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const key = keyOf(child);
    while (at?.nodeType === Node.TEXT_NODE && child.nodeType === Node.ELEMENT_NODE) at = dropped(at);
    const same = key ? kept.get(key) : at && !keyOf(at) && at.nodeName === child.nodeName ? at : undefined;
    if (!same) {
      old.insertBefore(child, at);
      continue;
    }
    if (key) kept.delete(key);
    if (same === at) at = at.nextSibling;
    else old.insertBefore(same, at);
    morph(same, child);
  }
  while (at) at = dropped(at);
}
function dropped(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// Rows glide from where they were (FLIP): measured before and after, then moved back to zero.
function places() {
  const found = new Map();
  for (const row of live.querySelectorAll("tr[data-key]")) {
    const box = row.getBoundingClientRect();
    found.set(row.dataset.key, { row, top: box.top, text: row.querySelector(".score, .points")?.textContent });
  }
  return found;
}
let glides = [];
export function show(fresh) {
  const begun = performance.now();
  const before = places();
  const heading = live.querySelector("h1")?.textContent;
  for (const glide of glides) glide.cancel(); // each row begins again from where it is seen
  glides = [];
  morphChildren(live, fresh);
  live.dispatchEvent(new Event("shown"));
  if (heading) document.title = document.title.replace(heading, live.querySelector("h1")?.textContent ?? heading);
  const after = places();
  let moved = 0;
  for (const [key, { row, top, text: score }] of after) {
    const was = before.get(key);
    const shift = was ? was.top - top : 0;
    if (was && Math.abs(shift) < 1 && was.text === score) continue;
    if (Math.abs(shift) >= 1) moved += 1;
    if (still.matches || document.hidden) continue;
    if (was && Math.abs(shift) >= 1) {
      const path = [{ transform: `translateY(${shift}px)` }, { transform: "none" }];
      glides.push(row.animate(path, { duration: 450, easing: "ease-out" }));
    } else if (!was) {
      row.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 450 });
    }
  }
  performance.clearMeasures("applied");
  performance.measure("applied", { start: begun });
  const first = live.querySelector("tbody tr:not(.benchmark) .team a, tbody tr .team a")?.textContent;
  announce(`The page has changed${moved ? `, rows that moved: ${moved}` : ""}${first ? `; first is ${first}` : ""}.`);
}

const teller = document.querySelector("[data-announce]");
function announce(text) {
  teller.textContent = text;
}

// The stream: open while the page is seen and not paused. The browser connects again by itself.
const bar = document.querySelector(".stream");
const state = document.querySelector("[data-stream-state]");
const button = document.querySelector("[data-pause]");
let stream;
let tag = live.dataset.tag;
let isPaused = false;
let lostAt;
function open() {
  if (stream || isPaused || document.hidden) return;
  const url = new URL(live.dataset.live, location.href);
  url.searchParams.set("have", tag);
  stream = new EventSource(url);
  stream.addEventListener("open", () => {
    lostAt = undefined;
    state.textContent = "live";
  });
  stream.addEventListener("error", () => {
    lostAt ??= new Date();
    state.textContent = `connection lost at ${hour.format(lostAt)}, trying again`;
    if (stream.readyState === EventSource.CLOSED) {
      close();
      setTimeout(again, 5000);
    }
  });
  stream.addEventListener("gone", () => location.reload());
  stream.addEventListener("release", ({ data }) => {
    if (data !== html.dataset.release) location.reload();
  });
  stream.addEventListener("message", ({ data, lastEventId }) => {
    tag = lastEventId;
    show(parsed(data));
    live.dataset.tag = tag;
  });
}
// A refused stream: perhaps the page is gone, too.
async function again() {
  const answer = await fetch(location.href, { method: "HEAD" }).catch(() => undefined);
  if (answer?.redirected || answer?.status === 404) location.reload();
  else open();
}
function close() {
  stream?.close();
  stream = undefined;
}

// Pinned teams need a module of their own, where there are some.
const list = document.querySelector("[data-pins]");
function hasPins() {
  try {
    return Boolean(localStorage.getItem(`pins:${list.dataset.pins}`));
  } catch {
    return false; // the browser keeps nothing
  }
}
const loadPins = () => import("./pins.js");
if (live.querySelector("[data-pin]") || (list && hasPins())) loadPins();
else if (list) addEventListener("storage", loadPins, { once: true });

localise(document);
if (live.dataset.live && window.EventSource) {
  bar.hidden = false;
  open();
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  button?.addEventListener("click", () => {
    isPaused = !isPaused;
    button.setAttribute("aria-pressed", String(isPaused));
    state.textContent = isPaused ? "paused" : "live";
    if (isPaused) close();
    else open();
  });
}
if (location.search) document.querySelector("tr.marked")?.scrollIntoView({ block: "center" });

// The presenter's step: the stream shows what it reveals.
document.addEventListener("submit", async (submission) => {
  const form = submission.target;
  if (!form.matches("form[data-step]") || !stream) return;
  submission.preventDefault();
  const fields = new URLSearchParams(new FormData(form, submission.submitter));
  const answer = await fetch(form.action, { method: "POST", body: fields });
  if (!answer.ok) location.reload();
});

// A projector turns its pages: whole rows, and back to the first.
const TURN = 10_000; // milliseconds
const clock = document.querySelector("[data-clock]");
if (clock) {
  const tick = () => {
    clock.textContent = hour.format(new Date());
    setTimeout(tick, 60_000 - (Date.now() % 60_000));
  };
  tick();
  setInterval(() => {
    const frame = live.querySelector(".scroll");
    if (!frame) return;
    const top = frame.getBoundingClientRect().top + frame.querySelector("thead").offsetHeight;
    const rows = [...frame.querySelectorAll("tbody > tr")];
    const next = rows.find((row) => row.getBoundingClientRect().bottom > frame.getBoundingClientRect().bottom + 1);
    const shift = next ? next.getBoundingClientRect().top - top : -frame.scrollTop;
    frame.scrollBy({ top: shift, behavior: still.matches ? "instant" : "smooth" });
  }, TURN);
}
