// Draws each plot when it comes near the screen; colours follow the theme, traces the filters.
"use strict";
(() => {
  const plots = [...document.querySelectorAll(".plot")];
  const current = new Set(); // drawn as theme and filters are now
  const figures = new Map();
  const touch = matchMedia("(pointer: coarse)").matches;
  let library = null;

  function figureOf(plot) {
    if (!figures.has(plot)) figures.set(plot, JSON.parse(document.getElementById(`${plot.id}-data`).textContent));
    return figures.get(plot);
  }

  // plotly.js lies packed in the page: unpack it, and run it as a script element.
  async function load() {
    const packed = atob(document.getElementById("library").textContent.trim());
    const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  function colour(name, opacity) {
    const hex = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    if (opacity === undefined) return hex;
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${r},${g},${b},${opacity})`;
  }

  // "@series-0/0.2" -> the colour of the theme, with its opacity.
  function resolve(value) {
    if (typeof value === "string") {
      const match = /^@([a-z0-9-]+)(?:\/([\d.]+))?$/.exec(value);
      return match ? colour(match[1], match[2]) : value;
    }
    if (Array.isArray(value)) return value.map((item) => (typeof item === "number" ? item : resolve(item)));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item)]));
    }
    return value;
  }

  function merge(base, over) {
    const out = { ...base };
    for (const [key, value] of Object.entries(over)) {
      const both = value && out[key] && typeof value === "object" && typeof out[key] === "object";
      out[key] = both && !Array.isArray(value) ? merge(out[key], value) : value;
    }
    return out;
  }

  function layoutOf(figure, height) {
    const axis = {
      gridcolor: "@line", linecolor: "@muted", zerolinecolor: "@line", tickcolor: "@muted", spikecolor: "@muted", spikethickness: 1,
      automargin: true, ticks: "outside", ticklen: 4, title: { standoff: 8 },
    };
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: "@ink", family: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif", size: 13 },
      margin: { l: 56, r: 12, t: 16, b: 44 }, autosize: true, hovermode: "closest", dragmode: touch ? false : "zoom",
      hoverlabel: { bgcolor: "@raised", bordercolor: "@muted", font: { color: "@ink" }, namelength: -1 },
      legend: { orientation: "h", y: -60 / Math.max(100, height - 120), yanchor: "top", x: 0, font: { size: 12 } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "@muted", activecolor: "@ink" },
    };
    const axes = Object.keys(figure.layout).filter((key) => /^[xy]axis\d*$/.test(key));
    for (const name of new Set(["xaxis", "yaxis", ...axes])) base[name] = structuredClone(axis);
    return resolve(merge(base, figure.layout));
  }

  function dataOf(figure) {
    return resolve(figure.data.map((trace) => ({ ...trace, visible: window.reportShows(trace.meta) })));
  }

  async function draw(plot) {
    current.add(plot);
    delete plot.dataset.drawn;
    const figure = figureOf(plot);
    const config = {
      responsive: true, displaylogo: false, displayModeBar: touch ? false : "hover",
      // named one by one: plotly's own choice has one that sends the data to a server
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
      toImageButtonOptions: { format: "svg", filename: plot.id },
    };
    try {
      library ??= load();
      await library;
      await window.Plotly.react(plot, dataOf(figure), layoutOf(figure, plot.clientHeight), config);
      plot.dataset.drawn = "";
    } catch (error) {
      const note = document.createElement("p");
      note.className = "fallback";
      note.textContent = "This plot could not be drawn: it needs a browser from 2023 or later. Its numbers are below.";
      plot.replaceChildren(note);
      console.warn(error);
    }
  }

  // What is far from the screen is drawn when it comes near, what is hidden when it shows up.
  const near = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) near.add(target);
      else near.delete(target);
      if (isIntersecting && !current.has(target)) draw(target);
    }
  }, { rootMargin: "400px" });
  plots.forEach((plot) => observer.observe(plot));

  function redraw() {
    current.forEach((plot) => { delete plot.dataset.drawn; });
    current.clear();
    near.forEach(draw);
  }
  document.addEventListener("page:theme", redraw);
  document.addEventListener("page:filter", redraw);
  addEventListener("beforeprint", () => plots.filter((plot) => plot.offsetParent).forEach(draw));

  // What plotly reads as <br> and &amp; is text in a table.
  function words(text) {
    if (typeof text !== "string") return text ?? "";
    return new DOMParser().parseFromString(text.replaceAll("<br>", ", "), "text/html").body.textContent;
  }

  // The numbers of a figure as a table, made when they are asked for.
  function cells(row, texts, tag) {
    for (const text of texts) {
      const cell = document.createElement(tag);
      if (tag === "th") cell.scope = "col";
      cell.textContent = words(text);
      row.append(cell);
    }
  }

  function table(figure) {
    const title = (axis, or) => figure.layout[axis]?.title?.text ?? or;
    const holder = document.createElement("div");
    holder.className = "scroll";
    holder.tabIndex = 0;
    holder.setAttribute("role", "region");
    holder.setAttribute("aria-label", `Numbers: ${figure.label}`);
    const made = document.createElement("table");
    cells(made.createTHead().insertRow(), ["Series", title("xaxis", "x"), title("yaxis", "y"), figure.data.some((trace) => trace.z) ? "Value" : "Note"], "th");
    const body = made.createTBody();
    let left = 5000; // more rows than this help nobody
    for (const trace of figure.data) {
      if (trace.hoverinfo === "skip" || !window.reportShows(trace.meta)) continue;
      const rows = trace.z
        ? trace.z.flatMap((line, j) => line.map((z, i) => [trace.x?.[i] ?? i, trace.y?.[j] ?? j, z]))
        : (trace.y ?? []).map((y, i) => [trace.x?.[i] ?? i, y, trace.text?.[i]]);
      for (const values of rows) {
        if (values[1] === null || left-- <= 0) continue;
        cells(body.insertRow(), [trace.name, ...values], "td");
      }
    }
    holder.append(made);
    return holder;
  }

  for (const details of document.querySelectorAll(".numbers")) {
    details.addEventListener("toggle", () => {
      details.querySelector(".scroll")?.remove();
      if (details.open) details.append(table(figureOf(document.getElementById(details.dataset.plot))));
    });
  }
})();
