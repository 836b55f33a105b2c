"use strict";
// Tables are sorted by a click on a heading, and filtered by text.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((heading, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const isNumber = heading.classList.contains("number");
      const before = heading.getAttribute("aria-sort");
      // The first click shows the largest numbers, and names from A to Z.
      const descending = before ? before === "ascending" : isNumber;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const keyed = [...body.rows].map((row) => {
        const text = row.cells[place].textContent.trim();
        return { row, text, number: parseFloat(text.replace(/,/g, "")) };
      });
      keyed.sort((a, b) => {
        if (isNumber) {
          const lacks = Number.isNaN(a.number) - Number.isNaN(b.number);  // what has no number stays last
          if (lacks || Number.isNaN(a.number)) return lacks;
          return descending ? b.number - a.number : a.number - b.number;
        }
        const order = a.text.localeCompare(b.text, "en", { numeric: true });
        return descending ? -order : order;
      });
      body.append(...keyed.map((one) => one.row));
    });
  });
}

for (const input of document.querySelectorAll("input[data-filters]")) {
  const body = document.getElementById(input.dataset.filters).tBodies[0];
  const count = input.closest(".filter").querySelector(".count");
  input.closest(".filter").hidden = false;
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${body.rows.length}` : "";
  });
}
