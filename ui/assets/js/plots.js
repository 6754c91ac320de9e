// Plots: one cross through all plots of a page, and the figures of its moment in
// their captions. What is read out is the table's text: there is one truth.

let chosen = null; // the id of the row that is read; null: the newest, without a cross

const rows = () => [...document.querySelectorAll("#plots-table tbody tr")]; // newest first

/** show draws the cross at the chosen row, or takes it away. */
function show(aloud = false) {
  const plots = document.querySelector("[data-plots]");
  if (!plots) return;
  const row = chosen && document.getElementById(chosen);
  const at = plots.querySelector("[data-plots-at]");
  for (const cross of plots.querySelectorAll(".cross")) {
    cross.classList.toggle("shown", !!row);
    if (row) for (const end of ["x1", "x2"]) cross.setAttribute(end, row.dataset.x);
  }
  const said = [];
  for (const figure of plots.querySelectorAll("[data-column]")) {
    const text = row ? row.cells[1 + Number(figure.dataset.column)].textContent : figure.dataset.newest;
    if (figure.textContent !== text) figure.textContent = text;
    if (row && text !== "–") said.push(`${row.closest("table").tHead.rows[0].cells[1 + Number(figure.dataset.column)].textContent}: ${text}`);
  }
  const text = row ? `${row.cells[0].textContent}. ` : "";
  at.classList.toggle("sr", !row);
  at.textContent = row ? (aloud ? text + said.join("; ") : text) : "";
}

function nearest(plots, event) {
  const svg = event.target.closest("svg");
  if (!svg || !plots.contains(svg)) return null;
  const box = svg.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
  let best = null;
  for (const row of rows()) {
    if (!best || Math.abs(row.dataset.x - x) < Math.abs(best.dataset.x - x)) best = row;
  }
  return best;
}

document.addEventListener("pointermove", (event) => {
  const plots = event.target.closest?.("[data-plots]");
  const row = plots && nearest(plots, event);
  if (row) {
    chosen = row.id;
    show();
  } else if (chosen && event.pointerType === "mouse" && !document.activeElement?.matches("[data-plots]")) {
    chosen = null;
    show();
  }
});

document.addEventListener("keydown", (event) => {
  if (!event.target.matches?.("[data-plots]")) return;
  const list = rows(), last = list.length - 1;
  const now = list.findIndex((row) => row.id === chosen);
  const to = { ArrowLeft: now < 0 ? 0 : Math.min(now + 1, last), ArrowRight: Math.max(now - 1, 0), Home: last, End: 0, Escape: -1 }[event.key];
  if (to === undefined || last < 0) return;
  event.preventDefault();
  chosen = to < 0 ? null : list[to].id;
  show(true);
});

document.addEventListener("focusout", (event) => {
  if (!event.target.matches?.("[data-plots]")) return;
  chosen = null;
  show();
});

document.addEventListener("hibari:fresh", () => show()); // a live region was renewed
