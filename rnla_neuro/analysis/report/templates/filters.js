// What the boxes leave unchecked is hidden: rows of tables, choices, and (plots.js listens) curves.
"use strict";
(() => {
  const form = document.getElementById("filters");
  const boxes = form ? [...form.querySelectorAll("input[data-filter]")] : [];
  const tagsOf = (element) => (element.dataset.tags ? JSON.parse(element.dataset.tags) : {});

  window.reportShows = (tags) =>
    boxes.every((box) => box.checked || ![(tags ?? {})[box.dataset.filter]].flat().includes(box.value));

  function filterRows() {
    for (const region of document.querySelectorAll("main .scroll")) {
      const rows = [...region.querySelectorAll("tbody tr")];
      rows.forEach((row) => { row.hidden = !window.reportShows(tagsOf(row)); });
      const nothing = region.nextElementSibling;
      if (nothing?.classList.contains("nothing")) nothing.hidden = rows.length === 0 || rows.some((row) => !row.hidden);
    }
  }

  function filterFigures() {
    const figures = [...document.querySelectorAll("main figure[data-tags]")];
    figures.forEach((figure) => { figure.hidden = !window.reportShows(tagsOf(figure)); });
  }

  function filterChoice(choice) {
    const select = choice.querySelector("select");
    const panels = [...choice.querySelectorAll(":scope > .option")];
    const options = [...select.options];
    options.forEach((option) => { option.hidden = option.disabled = !window.reportShows(tagsOf(option)); });
    if (select.selectedOptions[0]?.disabled ?? true) {
      const first = options.find((option) => !option.disabled);
      select.value = first ? first.value : "";
    }
    panels.forEach((panel, number) => { panel.hidden = String(number) !== select.value; });
    choice.querySelector(":scope > .nothing").hidden = panels.length === 0 || panels.some((panel) => !panel.hidden);
  }

  function apply() {
    filterRows();
    filterFigures();
    document.querySelectorAll(".choice").forEach(filterChoice);
    const shown = document.getElementById("shown");
    if (shown) {
      const checked = boxes.filter((box) => box.checked).length;
      shown.textContent = checked === boxes.length ? "(all)" : `(${checked} of ${boxes.length})`;
    }
    document.dispatchEvent(new Event("page:filter"));
  }

  for (const choice of document.querySelectorAll(".choice")) {
    choice.querySelector("select").addEventListener("change", () => filterChoice(choice));
  }
  form?.addEventListener("change", apply);
  form?.addEventListener("reset", () => setTimeout(apply)); // after the boxes were reset
  apply();
})();
