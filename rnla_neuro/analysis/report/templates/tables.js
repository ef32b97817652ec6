// A click on a header sorts by its column: up, then down. What has no value comes last either way.
"use strict";
(() => {
  function key(cell) {
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return cell.classList.contains("number") ? null : cell.textContent.trim();
  }

  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function sort(header) {
    const headers = [...header.parentElement.children];
    const column = headers.indexOf(header);
    const direction = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    headers.forEach((other) => other.setAttribute("aria-sort", other === header ? direction : "none"));
    const body = header.closest("table").tBodies[0];
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...body.rows].map((row) => ({ row, value: key(row.cells[column]) }));
    rows.sort((a, b) => compare(a.value, b.value, sign));
    body.append(...rows.map(({ row }) => row));
  }

  for (const button of document.querySelectorAll("main .sort")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }
})();
