"use strict";
document.documentElement.classList.add("js");

// Tabs: one model's panel at a time, moved by the arrow keys. Without this script all panels are open.
for (const list of document.querySelectorAll("[role=tablist]")) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const choose = (chosen, focus) => {
    for (const tab of tabs) {
      const on = tab === chosen;
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !on;
    }
    if (focus) chosen.focus();
  };
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) choose(tab);
  });
  list.addEventListener("keydown", (event) => {
    const here = tabs.indexOf(document.activeElement);
    const next = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    choose(tabs[(next + tabs.length) % tabs.length], true);
  });
  list.hidden = false;
  choose(tabs[0]);
}

// The gallery's filters. The first cards suffice at first; the button brings the others.
const filters = document.getElementById("filters");
if (filters) {
  const FIRST = 12;
  const cards = [...document.querySelectorAll("#cards > .card")];
  const more = document.getElementById("more");
  const told = filters.querySelector("output");
  const selects = [...filters.querySelectorAll("select")];
  let all = false;
  const show = () => {
    const fits = cards.filter((card) => selects.every((s) => s.value === "*" || card.dataset[s.name] === s.value));
    const shown = new Set(all ? fits : fits.slice(0, FIRST));
    for (const card of cards) card.hidden = !shown.has(card);
    more.hidden = shown.size === fits.length;
    more.textContent = `Show all ${fits.length}`;
    told.textContent = fits.length ? `${shown.size} of ${fits.length} shown` : "No example fits";
  };
  filters.addEventListener("change", () => { all = false; show(); });
  filters.addEventListener("reset", () => setTimeout(() => { all = false; show(); }));
  filters.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    const next = cards.filter((card) => !card.hidden).length;
    all = true;
    show();
    const first = cards.filter((card) => !card.hidden)[next];
    if (first) { first.tabIndex = -1; first.focus(); }
  });
  filters.hidden = false;
  show();
}
