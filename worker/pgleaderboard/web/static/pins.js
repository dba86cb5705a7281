// Pinned teams, kept in this browser for each competition: the button of a team's page, and the list above a board.

import { live, morphChildren, parsed } from "./page.js";

const MOST = 10;

function pinned(competition) {
  try {
    const kept = JSON.parse(localStorage.getItem(`pins:${competition}`) ?? "[]");
    return Array.isArray(kept) ? kept.filter(Number.isSafeInteger).slice(0, MOST) : [];
  } catch {
    return []; // the browser keeps nothing, or something else wrote there
  }
}

const button = () => live.querySelector("[data-pin]");
function label() {
  const isPinned = pinned(button().dataset.of).includes(Number(button().dataset.pin));
  button().setAttribute("aria-pressed", String(isPinned));
  button().textContent = isPinned ? "Unpin" : "Pin";
}

const list = document.querySelector("[data-pins]");
async function refresh() {
  const teams = pinned(list.dataset.pins);
  if (teams.length) {
    const answer = await fetch(`${list.dataset.pins}/rows?teams=${teams}`).catch(() => undefined);
    if (!answer?.ok) return; // what is shown stays until the next change
    morphChildren(list, parsed(await answer.text()));
  }
  list.hidden = !teams.length;
}

if (button()) {
  live.addEventListener("click", ({ target }) => {
    if (!target.closest("[data-pin]")) return;
    const { of, pin } = button().dataset;
    const others = pinned(of).filter((team) => team !== Number(pin));
    const kept = others.length < pinned(of).length ? others : [...others, Number(pin)].slice(-MOST);
    localStorage.setItem(`pins:${of}`, JSON.stringify(kept));
    label();
  });
  live.addEventListener("shown", label);
  label();
}
if (list) {
  live.addEventListener("shown", refresh);
  addEventListener("storage", refresh); // pinned in another window
  addEventListener("pageshow", ({ persisted }) => persisted && refresh());
  refresh();
}
