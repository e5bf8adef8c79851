
"use strict";
// Everything is readable without this: it only sorts tables, filters groups and copies the command.
(() => {
  const text = (row, column) => row.cells[column].textContent.trim();
  // "1.24 ms" and "104 µs" sort by time, "40.8 M" and "1.2 k" by number
  const units = { "µs": 1e-6, ms: 1e-3, s: 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, kB: 1e3, MB: 1e6, GB: 1e9 };
  const number = (shown) => {
    const found = /^[×±+]?([−-]?[\d.,]+(?:e[+-]?\d+)?)\s*(\S*)/.exec(shown);
    return found ? parseFloat(found[1].replace(/,/g, "").replace("−", "-")) * (units[found[2]] || 1) : NaN;
  };
  const compare = (a, b) => {
    const [x, y] = [number(a), number(b)];
    if (!isNaN(x) && !isNaN(y)) return x - y;
    if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1;
    return a.localeCompare(b, "en", { numeric: true });
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.textContent) return;
      // a button element would leave the header empty where a printed table goes on on the next page
      const button = document.createElement("span");
      button.setAttribute("role", "button");
      button.tabIndex = 0;
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        button.click();
      });
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].sort((a, b) => compare(text(a, column), text(b, column)));
        body.append(...(down ? rows.reverse() : rows));
      });
    });
  }

  const filter = document.getElementById("channels-filter");
  if (filter) {
    const place = document.getElementById("channels");
    const rows = [...place.querySelectorAll("tbody tr")].map((row) => [row, text(row, 0).toLowerCase()]);
    const output = place.querySelector(".filter output");
    place.querySelector(".filter").hidden = false;
    filter.addEventListener("input", () => {
      const wanted = filter.value.trim().toLowerCase();
      let shown = 0;
      for (const [row, name] of rows) {
        row.hidden = !name.includes(wanted);
        shown += row.hidden ? 0 : 1;
      }
      for (const part of place.querySelectorAll("details")) {
        if (!part.querySelector("tbody")) continue;
        const any = part.querySelector("tbody tr:not([hidden])") !== null;
        part.hidden = !any;
        part.open = wanted !== "" && any;
      }
      output.textContent = wanted === "" ? "" : `${shown} of ${rows.length}`;
    });
  }

  for (const place of document.querySelectorAll(".copyable")) {
    if (!navigator.clipboard) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    place.append(button);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(place.querySelector("code").textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select and copy";
      }
    });
  }
})();
