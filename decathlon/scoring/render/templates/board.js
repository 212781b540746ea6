"use strict";
const table = document.getElementById("board");
const bodies = Array.from(table.tBodies);
const dataRows = (body) => Array.from(body.rows).filter((row) => row.dataset.kind);
const search = document.getElementById("search");
const form = document.getElementById("filters");
const count = document.getElementById("count");

function sortBy(column, heading) {
  const value = (row) => row.cells[column].dataset.value;
  const isText = column === 0;
  const first = isText ? "ascending" : "descending";
  const second = isText ? "descending" : "ascending";
  const order = heading.getAttribute("aria-sort") === first ? second : first;
  const sign = order === "ascending" ? 1 : -1;
  const compareRows = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (isText) return sign * x.localeCompare(y);
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (Number(x) - Number(y));
  };
  for (const cell of table.tHead.rows[0].cells) cell.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", order);
  for (const body of bodies) body.append(...dataRows(body).sort(compareRows));
}

function filter() {
  const kind = form.elements.kind.value;
  const wanted = search.value.trim().toLowerCase();
  for (const element of document.querySelectorAll("[data-kind]")) {
    const fits = kind === "all" || element.dataset.kind === kind;
    element.hidden = !(fits && element.dataset.name.includes(wanted));
  }
  const visible = (body) => dataRows(body).filter((row) => !row.hidden).length;
  for (const body of bodies) body.hidden = !visible(body);
  const shown = bodies.reduce((sum, body) => sum + visible(body), 0);
  count.textContent = shown + (shown === 1 ? " row" : " rows");
}

function openDetails() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.querySelector("summary").focus({ preventScroll: true });
    target.scrollIntoView();
  }
}

table.tHead.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) sortBy(Number(button.dataset.column), button.parentElement);
});
table.addEventListener("click", (event) => {
  // A second click on the same name changes no hash, but has to open its details again.
  if (event.target.closest("a")) setTimeout(openDetails);
});
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", openDetails);
filter();
openDetails();
