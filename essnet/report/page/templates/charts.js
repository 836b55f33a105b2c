"use strict";
// Charts take the place of their pictures, one after another so that the page never stalls for long.
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const touch = window.matchMedia("(pointer: coarse)");
  const config = {
    responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };

  function layoutOf(chart) {
    const style = getComputedStyle(document.documentElement);
    const [text, line, panel] = ["--text", "--line", "--panel"].map((name) => style.getPropertyValue(name).trim());
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line };
    const template = {
      layout: {
        font: { color: text, family: getComputedStyle(document.body).fontFamily, size: 12 },
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        xaxis: axis,
        yaxis: axis,
        hoverlabel: { bgcolor: panel, bordercolor: line, font: { color: text } },
        modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: text },
      },
    };
    return {
      ...chart.layout,
      template,
      autosize: true,
      height: chart.height,
      margin: { l: 8, r: 8, t: 16, b: 8 },
      legend: { orientation: "h", x: 0, xanchor: "left", y: 0, yanchor: "bottom", yref: "container" },
      hovermode: "closest",
      // On a touch screen a finger on a chart scrolls the page.
      dragmode: touch.matches ? false : "zoom",
    };
  }

  function showTrial(sweep, trial) {
    const rows = [...document.getElementById("table-configurations").tBodies[0].rows];
    const row = rows.find((one) => one.dataset.sweep === sweep && one.dataset.trials.split(" ").includes(trial));
    if (!row) return;
    for (const other of rows) other.classList.toggle("chosen", other === row);
    if (row.hidden) {
      const input = document.querySelector('input[data-filters="table-configurations"]');
      input.value = "";
      input.dispatchEvent(new Event("input"));
    }
    row.scrollIntoView({ block: "center" });
  }

  async function draw(chart) {
    const place = document.getElementById(chart.id);
    const figure = place.closest("figure");
    figure.classList.add("drawn");
    try {
      await Plotly.newPlot(place, chart.data, layoutOf(chart), config);
    } catch (error) {
      figure.classList.remove("drawn");  // its picture stays
      console.error(chart.id, error);
      return;
    }
    place.on("plotly_click", (event) => {
      const trial = event.points[0].customdata;
      if (trial) showTrial(chart.sweep ?? event.points[0].data.meta, trial);
    });
  }

  async function drawAll() {
    for (const chart of charts) {
      await draw(chart);
      await new Promise((resolve) => setTimeout(resolve));
    }
    document.documentElement.dataset.charts = "drawn";
  }

  dark.addEventListener("change", () => {
    for (const chart of charts) Plotly.relayout(chart.id, layoutOf(chart));
  });
  drawAll();
})();
