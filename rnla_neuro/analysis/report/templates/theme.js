// Light or dark: what the system says, until the button is pressed.
"use strict";
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const choices = ["system", "light", "dark"];
  let choice = "system";

  function apply() {
    const dark = choice === "dark" || (choice === "system" && system.matches);
    root.dataset.theme = dark ? "dark" : "light";
    button.textContent = `Theme: ${choice}`;
    document.dispatchEvent(new Event("page:theme"));
  }

  root.dataset.script = "";
  button.addEventListener("click", () => {
    choice = choices[(choices.indexOf(choice) + 1) % choices.length];
    apply();
  });
  system.addEventListener("change", apply);
  apply();

  // Panels beside the text are open; above it, on a narrow screen, they would hide it.
  const wide = matchMedia("(min-width: 64.01rem)");
  const panels = [...document.querySelectorAll("[data-opens-wide]")];
  const fold = () => panels.forEach((panel) => { panel.open = wide.matches; });
  wide.addEventListener("change", fold);
  fold();
  document.addEventListener("click", (event) => {
    for (const panel of panels) {
      const inside = panel.contains(event.target);
      if (!wide.matches && panel.open && (!inside || event.target.closest("a"))) panel.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !wide.matches) panels.forEach((panel) => { panel.open = false; });
  });
})();
