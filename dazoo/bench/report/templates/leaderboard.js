(() => {
  "use strict";
  const value = (row, column, numeric) => {
    const cells = [];
    for (const cell of row.cells) for (let i = 0; i < cell.colSpan; i++) cells.push(cell);
    const cell = cells[column];
    if (!numeric) return cell.textContent.trim().toLowerCase();
    const text = cell.dataset.value;
    return text === undefined || text === "" ? NaN : Number(text);
  };
  const sort = (table, column, numeric, direction) => {
    const body = table.tBodies[0];
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...body.rows].map((row, i) => ({ row, i, v: value(row, column, numeric) }));
    rows.sort((a, b) => {
      if (numeric) {
        const lost = Number.isNaN(a.v) - Number.isNaN(b.v); // what has no number stays last either way
        return lost || (Number.isNaN(a.v) ? a.i - b.i : sign * (a.v - b.v) || a.i - b.i);
      }
      return sign * a.v.localeCompare(b.v) || a.i - b.i;
    });
    body.append(...rows.map((r) => r.row));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (head.classList.contains("plain")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      const numeric = head.dataset.kind === "number";
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const first = head.dataset.first === "desc" ? "descending" : "ascending";
        const other = first === "ascending" ? "descending" : "ascending";
        const direction = now === first ? other : first;
        heads.forEach((h) => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", direction);
        sort(table, column, numeric, direction);
      });
    });
  }
  const name = document.getElementById("f-name");
  const family = document.getElementById("f-family");
  const mark = document.getElementById("f-mark");
  const filter = () => {
    const wanted = name.value.trim().toLowerCase();
    let shown = 0;
    let total = 0;
    for (const table of document.querySelectorAll("table.filterable")) {
      for (const row of table.tBodies[0].rows) {
        const keep = row.dataset.name.toLowerCase().includes(wanted)
          && (!family.value || row.dataset.family === family.value)
          && (mark.checked || row.dataset.mark === "0");
        row.hidden = !keep;
        if (table.id === "board") { total += 1; shown += keep; }
      }
    }
    document.getElementById("count").textContent = `${shown} of ${total} methods`;
  };
  for (const input of [name, family, mark]) input.addEventListener("input", filter);
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
