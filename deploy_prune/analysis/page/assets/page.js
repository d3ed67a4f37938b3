"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const places = [...document.querySelectorAll(".chart")];
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function dress(layout) {
    const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line") };
    return {
      ...layout,
      xaxis: { ...axis, automargin: true, exponentformat: "e", ...layout.xaxis },
      yaxis: { ...axis, automargin: true, exponentformat: "e", ...layout.yaxis },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--ink"), family: "system-ui, sans-serif", size: 12 },
      colorway: [colour("--one"), colour("--two"), "#3f8f5f", "#8d5fb3", "#b3933f", "#3f8fa3"],
      margin: { l: 56, r: 12, t: 12, b: 48 },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      hoverlabel: { font: { color: colour("--paper") }, bgcolor: colour("--ink") },
    };
  }

  function draw(place) {
    const { traces, layout } = charts[place.dataset.chart];
    Plotly.react(place, traces, dress(layout), { responsive: true, displayModeBar: false });
    place.dataset.drawn = "yes";
  }

  function drawAll() {
    places.filter((place) => place.dataset.drawn).forEach(draw);
  }

  if (places.length) {
    // A figure is drawn when it is about to be seen: the text is there at once, however many figures follow.
    const watch = new IntersectionObserver((seen) => {
      for (const each of seen.filter((entry) => entry.isIntersecting)) {
        watch.unobserve(each.target);
        draw(each.target);
      }
    }, { rootMargin: "400px" });
    places.forEach((place) => watch.observe(place));
    dark.addEventListener("change", drawAll);
    addEventListener("beforeprint", () => {
      document.querySelectorAll("details").forEach((part) => { part.open = true; });
      places.forEach(draw);
    });
    addEventListener("afterprint", drawAll);
  }

  for (const label of document.querySelectorAll(".filter")) {
    const input = label.querySelector("input");
    const told = label.querySelector("span");
    const rows = [...label.nextElementSibling.querySelectorAll("tbody tr")];
    input.addEventListener("input", () => {
      const asked = input.value.trim().toLowerCase();
      let shown = 0;
      for (const row of rows) {
        row.hidden = !row.textContent.toLowerCase().includes(asked);
        shown += row.hidden ? 0 : 1;
      }
      told.textContent = asked ? `${shown} of ${rows.length}` : "";
    });
  }
})();
