// The past of a board in place: the slider shows each sync while it is moved, and plays them one after another.

import { parsed, show, live } from "./page.js";

const SECOND = 1000;
let wanted;
let isBusy = false;
let timer;

const slider = () => live.querySelector("#step");

async function go(step) {
  wanted = step;
  if (isBusy) return;
  isBusy = true;
  try {
    while (wanted !== undefined) {
      const url = new URL(slider().form.action);
      url.searchParams.set("step", wanted);
      wanted = undefined;
      const answer = await fetch(url);
      if (!answer.ok) return stop();
      const page = parsed(await answer.text());
      if (wanted !== undefined) continue; // a later one is wanted already
      history.replaceState(null, "", answer.url);
      document.title = page.querySelector("title").textContent;
      show(page.querySelector("#live"));
      if (slider() !== document.activeElement || timer) slider().value = slider().getAttribute("value");
    }
  } catch {
    stop(); // the page stays as it is; the next move of the slider asks again
  } finally {
    isBusy = false;
  }
}

function label() {
  const button = live.querySelector("[data-play]");
  button.textContent = timer ? "Stop" : "Play";
  button.setAttribute("aria-pressed", String(Boolean(timer)));
}
function stop() {
  clearInterval(timer);
  timer = undefined;
  label();
}
function play() {
  const next = () => {
    if (isBusy || document.hidden) return;
    const now = Number(slider().getAttribute("value"));
    if (now >= Number(slider().max)) stop();
    else go(now + 1);
  };
  // From the last one it begins anew.
  if (slider().getAttribute("value") === slider().max) go(1);
  else next();
  timer = setInterval(next, SECOND);
  label();
}

live.addEventListener("input", ({ target }) => {
  if (target.id !== "step") return;
  if (timer) stop();
  go(target.value);
});
live.addEventListener("click", (click) => {
  const turn = click.target.closest("[rel=prev], [rel=next]");
  if (click.target.closest("[data-play]")) {
    if (timer) stop();
    else play();
  } else if (turn?.closest(".slider") && !click.ctrlKey && !click.metaKey && !click.shiftKey) {
    click.preventDefault();
    if (timer) stop();
    go(Number(slider().getAttribute("value")) + (turn.rel === "next" ? 1 : -1));
  }
});
live.addEventListener("shown", label);
label();
