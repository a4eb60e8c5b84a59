// The gallery: choosing cells by mouse and keys, and telling the server what was decided.
"use strict";

const list = document.getElementById("cells");
const cells = [...list.querySelectorAll(".crop")];
const byNumber = new Map(cells.map((cell) => [cell.dataset.number, cell]));
const news = document.getElementById("news");
const trouble = document.getElementById("trouble");
const labels = [...document.querySelectorAll("[data-do=rename]")].map((b) => b.dataset.label);
const WORDS = {
  confirm: "✓", reject: "✕", kept: "✓ kept", moved: "✓ moved", deleted: "✕ deleted",
};
let current = 0;
let waiting = 0; // requests on their way

const box = (cell) => cell.querySelector("input");
const chosen = () => cells.filter((cell) => box(cell).checked);

function show(cell, state) {
  const { dataset } = cell;
  dataset.state = state.state;
  dataset.kind = state.kind;
  dataset.new = state.label;
  draw(cell);
}

function draw(cell) {
  const { state, kind, new: label } = cell.dataset;
  const renamed = kind === "rename" || kind === "relabelled";
  const named = renamed ? "→ " + label : kind === "added" ? "added: " + label : WORDS[kind] || kind;
  const word = !state || state === "open" ? "" : named;
  cell.querySelector(".made").textContent = word;
  const words = { confirm: "confirmed", reject: "rejected" };
  box(cell).setAttribute(
    "aria-label",
    `Choose cell ${cells.indexOf(cell) + 1}${word ? ", " + (words[kind] || word) : ""}`,
  );
}

function count() {
  const number = chosen().length;
  document.getElementById("chosen").textContent = number ? `${number} chosen` : "none chosen";
}

function go(to) {
  if (!cells.length) return;
  cells[current].querySelector("a").tabIndex = -1;
  current = Math.max(0, Math.min(cells.length - 1, to));
  const link = cells[current].querySelector("a");
  link.tabIndex = 0;
  link.focus();
  cells[current].scrollIntoView({ block: "nearest" });
}

function columns() {
  const top = cells[0]?.offsetTop;
  const next = cells.findIndex((cell) => cell.offsetTop !== top);
  return next < 1 ? cells.length : next;
}

async function ask(address, body) {
  const options = body && {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "X-CSRF-Token": document.body.dataset.token,
    },
    body: JSON.stringify(body),
  };
  waiting += 1;
  try {
    const answer = await fetch(address, options || {});
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    return told;
  } finally {
    waiting -= 1;
  }
}

function tell(told) {
  for (const [number, state] of Object.entries(told.cells)) {
    if (byNumber.has(number)) show(byNumber.get(number), state);
  }
  const problems = [...told.problems, ...(told.away ? [told.away] : [])];
  trouble.hidden = !problems.length;
  trouble.textContent = problems.join(" ");
  news.replaceChildren();
  const stored = cells.filter((cell) => cell.dataset.state === "stored");
  const tasks = new Set(stored.map((cell) => cell.dataset.task)).size;
  if (tasks) news.append(`${tasks} ${tasks === 1 ? "task" : "tasks"} of this page stored. `);
  if (told.begun) {
    news.append(`${told.begun} ${told.begun === 1 ? "task is" : "tasks are"} decided in part: `);
    const link = document.createElement("a");
    link.href = told.begun_address;
    link.textContent = "show the cells that are left";
    news.append(link);
  }
}

function fail(error) {
  trouble.hidden = false;
  trouble.textContent = error.message || "The server does not answer; nothing was decided.";
}

const asNumbers = (some) => some.map((cell) => Number(cell.dataset.number));

async function decide(kind, label) {
  let about = chosen();
  if (!about.length && cells.length) about = [cells[current]];
  about = about.filter((cell) => cell.dataset.state !== "stored");
  if (!about.length) return;
  for (const cell of about) {
    show(cell, { state: "decided", kind, label: label || "" }); // at once; the server may correct it
    box(cell).checked = false;
  }
  count();
  // On to the next cell that nobody has decided about.
  const last = Math.max(...about.map((cell) => cells.indexOf(cell)));
  const next = cells.findIndex((cell, i) => i > last && !["decided", "stored"].includes(cell.dataset.state));
  if (next > 0) go(next);
  try {
    tell(await ask(list.dataset.decide, { kind, label, numbers: asNumbers(about) }));
    setTimeout(follow, 700);
  } catch (error) {
    for (const cell of about) show(cell, { state: "open", kind: "", label: "" });
    fail(error);
  }
}

// What was decided is stored a moment later.
async function follow() {
  const open = cells.filter((cell) => cell.dataset.state === "decided");
  if (!open.length || waiting) return;
  try {
    const told = await ask(`${list.dataset.status}?numbers=${asNumbers(open).join(",")}`);
    tell(told);
    if (told.storing && !told.away) setTimeout(follow, 1500);
  } catch {
    // told with the next decision
  }
}

async function undo() {
  try {
    const told = await ask(list.dataset.undo, {});
    tell(told);
    if (!told.undone) news.prepend("There is nothing to undo. ");
    const first = cells.findIndex((cell) => told.cells[cell.dataset.number]);
    if (first >= 0) go(first);
  } catch (error) {
    fail(error);
  }
}

const ACTIONS = {
  confirm: () => decide("confirm"),
  reject: () => decide("reject"),
  undo,
  alike: () => {
    const about = chosen()[0] || cells[current];
    if (about) location.href = `${list.dataset.alike}?alike=${about.dataset.number}`;
  },
  all: () => {
    const open = cells.filter((cell) => !["decided", "stored"].includes(cell.dataset.state));
    const some = open.some((cell) => !box(cell).checked);
    for (const cell of open) box(cell).checked = some;
    count();
  },
};
const KEYS = { c: "confirm", x: "reject", Delete: "reject", z: "undo", m: "alike", a: "all" };

function choose(index, until) {
  const state = until === undefined ? !box(cells[index]).checked : true;
  const [from, to] = [Math.min(index, until ?? index), Math.max(index, until ?? index)];
  for (let i = from; i <= to; i++) box(cells[i]).checked = state;
  count();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), select, button, summary");
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && !KEYS[event.key]) || !cells.length) return;
  if (event.target.closest("input:not([type=checkbox]), select")) return;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() }[event.key];
  if (step) {
    const before = current;
    go(current + step);
    if (event.shiftKey) choose(before, current);
  } else if (event.key === "Home" || event.key === "End") go(event.key === "Home" ? 0 : cells.length - 1);
  else if (event.key === " ") choose(current);
  else if (event.key === "Escape") {
    for (const cell of cells) box(cell).checked = false;
    count();
  } else if (labels[Number(event.key) - 1]) decide("rename", labels[Number(event.key) - 1]);
  else if (KEYS[event.key]) ACTIONS[KEYS[event.key]]();
  else return;
  event.preventDefault();
});

list.addEventListener("click", (event) => {
  const cell = event.target.closest(".crop");
  if (!cell) return;
  const index = cells.indexOf(cell);
  if (event.target.matches("input")) {
    if (event.shiftKey) choose(current, index);
    count();
  } else if (event.shiftKey || event.ctrlKey || event.metaKey || event.target.closest(".under")) {
    event.preventDefault();
    if (event.shiftKey) choose(current, index);
    else choose(index);
  }
  go(index);
});

list.addEventListener("focusin", (event) => {
  const index = cells.indexOf(event.target.closest(".crop"));
  if (index >= 0) current = index;
});

for (const button of document.querySelectorAll(".decide [data-do]")) {
  button.addEventListener("click", () =>
    button.dataset.do === "rename" ? decide("rename", button.dataset.label) : ACTIONS[button.dataset.do](),
  );
}

cells.forEach(draw);
