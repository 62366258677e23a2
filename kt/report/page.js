"use strict";
// Sorts and filters tables. The page is complete without it: a browser that runs no script shows the same rows.

const MISSING = /^[\s\u2013-]*$/;

/** What a cell is sorted by: its own `data-sort`, or its text. Numbers as numbers; null where there is nothing. */
function keyOf(cell) {
  const text = cell ? (cell.dataset.sort ?? cell.textContent).trim() : "";
  if (MISSING.test(text)) return null;
  const plain = text.replace(/[\u202f\s]/g, "").replace("\u2212", "-").replace(/%$/, "");
  return plain !== "" && Number.isFinite(Number(plain)) ? Number(plain) : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

/** Sorts the rows by a column. Rows without a value stay at the end, whichever way. */
function sort(table, column, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: keyOf(row.cells[column]) }));
  const known = rows.filter((each) => each.key !== null);
  known.sort((a, b) => (descending ? compare(b.key, a.key) : compare(a.key, b.key)));
  body.append(...[...known, ...rows.filter((each) => each.key === null)].map((each) => each.row));
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  if (table.tBodies[0].rows.length < 2) return;
  for (const [column, head] of heads.entries()) {
    if (!head.textContent.trim()) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(table, column, descending);
    });
  }
}

/** A field above a long table that hides the rows whose first cell does not contain what is typed. */
function makeFilterable(box) {
  const table = box.querySelector("table");
  const label = document.createElement("label");
  const field = document.createElement("input");
  const said = document.createElement("output");
  field.type = "search";
  label.className = "filter";
  label.append("Find ", field, " ", said);
  box.before(label);
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    said.textContent = wanted ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  });
}

for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
for (const box of document.querySelectorAll(".many")) makeFilterable(box);

// Without a script there is nothing that a button could do, so it is hidden until now.
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  const words = button.textContent;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "copied";
    } catch {
      button.textContent = "this browser lets no page copy";
    }
    setTimeout(() => { button.textContent = words; }, 2000);
  });
}

// The keyboard needs to reach a box only where it scrolls.
const boxes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
    if (scrolls) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const box of document.querySelectorAll("[role=group][tabindex]")) boxes.observe(box);

// Paper shows everything, and afterwards the page is as it was.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const each of opened) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of opened) each.open = false;
});
