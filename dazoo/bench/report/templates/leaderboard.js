(() => {
  "use strict";
  const get = (id) => document.getElementById(id);
  const tables = [...document.querySelectorAll("table.filterable")];
  // above the heads of columns there may be a row of datasets
  const heads = (table) => [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const methods = (table) => [...table.tBodies[0].rows].filter((r) => r.dataset.name !== undefined);
  const value = (row, column, numeric) => {
    const cells = [];
    for (const cell of row.cells) for (let i = 0; i < cell.colSpan; i++) cells.push(cell);
    const cell = cells[column];
    if (!numeric) return cell.textContent.trim().toLowerCase();
    const text = cell.dataset.value;
    return text === undefined || text === "" ? NaN : Number(text);
  };

  // rows of a family together, families in the order of their first row, each below a row with its name
  const group = (table) => {
    const body = table.tBodies[0];
    for (const row of body.querySelectorAll("tr.group")) row.remove();
    if (!get("f-group").checked || !table.classList.contains("filterable")) return;
    const families = new Map();
    for (const row of methods(table)) {
      if (!families.has(row.dataset.family)) families.set(row.dataset.family, []);
      families.get(row.dataset.family).push(row);
    }
    for (const [family, rows] of families) {
      const head = document.createElement("tr");
      const cell = document.createElement("th");
      const shown = rows.filter((r) => !r.hidden).length;
      head.className = "group";
      head.hidden = !shown;
      cell.colSpan = heads(table).length;
      cell.scope = "rowgroup";
      cell.innerHTML = "<span></span>";
      cell.firstChild.textContent = `${family} (${shown})`;
      head.append(cell);
      body.append(head, ...rows);
    }
  };
  const sort = (table, column, numeric, direction) => {
    const body = table.tBodies[0];
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...body.rows].filter((r) => !r.classList.contains("group"))
      .map((row, i) => ({ row, i, v: value(row, column, numeric) }));
    rows.sort((a, b) => {
      if (numeric) {
        const lost = Number.isNaN(a.v) - Number.isNaN(b.v); // what has no number stays last either way
        return lost || (Number.isNaN(a.v) ? a.i - b.i : sign * (a.v - b.v) || a.i - b.i);
      }
      return sign * a.v.localeCompare(b.v) || a.i - b.i;
    });
    body.append(...rows.map((r) => r.row));
    group(table);
  };
  const order = (table, column, direction) => {
    heads(table).forEach((h) => h.removeAttribute("aria-sort"));
    const head = heads(table)[column];
    head.setAttribute("aria-sort", direction);
    sort(table, column, head.dataset.kind === "number", direction);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    heads(table).forEach((head, column) => {
      if (head.classList.contains("plain")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const first = head.dataset.first === "desc" ? "descending" : "ascending";
        const other = first === "ascending" ? "descending" : "ascending";
        const direction = head.getAttribute("aria-sort") === first ? other : first;
        order(table, column, direction);
        if (table.id === "board") view.set({ sort: `${column}.${direction}` });
      });
    });
  }

  // intervals on the scale of the rows that are shown; the worst quarter may run out of it, so that the others are seen
  const percent = JSON.parse(get("board").dataset.percent);
  const show = (v) => percent ? (100 * v).toFixed(1) : v.toPrecision(3);
  const bars = () => {
    const rows = methods(get("board")).filter((r) => !r.hidden).map((r) => r.querySelector("td.interval")).filter(Boolean);
    if (!rows.length) { get("scale").textContent = ""; return; }
    const lows = rows.map((c) => Number(c.dataset.low)).sort((a, b) => a - b);
    const highs = rows.map((c) => Number(c.dataset.high)).sort((a, b) => a - b);
    const up = get("board").dataset.higher === "1";
    const cut = rows.length > 10 ? Math.floor(rows.length / 4) : 0;
    const low = up ? lows[cut] : lows[0];
    const high = up ? highs.at(-1) : highs[highs.length - 1 - cut];
    const at = (v) => Math.min(100, Math.max(0, high > low ? 100 * (v - low) / (high - low) : 50));
    for (const cell of rows) {
      const [a, b] = [Number(cell.dataset.low), Number(cell.dataset.high)];
      const mean = Number(cell.parentElement.querySelector("td.open").dataset.value);
      const out = mean < low || mean > high;
      const bar = cell.querySelector(".bar");
      bar.className = `bar${a < low ? " left" : ""}${b > high ? " right" : ""}`;
      bar.innerHTML = `<i class="range" style="left:${at(a).toFixed(1)}%;width:${(at(b) - at(a)).toFixed(1)}%"></i>`
        + (out ? "" : `<i class="tick" style="left:${at(mean).toFixed(1)}%"></i>`);
    }
    get("scale").textContent = `; they reach from ${show(low)} to ${show(high)}, the scale of the rows shown`
      + (cut ? " without their worst quarter (‹ or ›: beyond it)" : "");
  };

  const beside = get("f-beside"); // only where metrics stand beside the first
  const filter = () => {
    const wanted = get("f-name").value.trim().toLowerCase();
    const family = get("f-family").value;
    let shown = 0;
    let total = 0;
    for (const table of tables) {
      for (const row of methods(table)) {
        const keep = row.dataset.name.toLowerCase().includes(wanted)
          && (!family || row.dataset.family === family)
          && (get("f-mark").checked || row.dataset.mark === "0");
        row.hidden = !keep;
        if (table.id === "board") { total += 1; shown += keep; }
      }
      group(table);
    }
    if (beside) get("board").classList.toggle("bare", !beside.checked);
    get("count").textContent = `${shown} of ${total} methods`;
    bars();
  };
  // from the address to the page
  const restore = () => {
    get("f-name").value = view.get("name");
    get("f-family").value = [...get("f-family").options].some((o) => o.value === view.get("family")) ? view.get("family") : "";
    get("f-mark").checked = view.get("mark") !== "no";
    get("f-group").checked = view.get("group") === "yes";
    if (beside) beside.checked = view.get("beside") !== "no";
    filter();
    const [column, direction] = view.get("sort").split(".");
    const head = heads(get("board"))[column];
    if (head && !head.classList.contains("plain") && ["ascending", "descending"].includes(direction)) {
      order(get("board"), Number(column), direction);
    }
  };
  for (const id of ["f-name", "f-family", "f-mark", "f-group", "f-beside"]) get(id)?.addEventListener("input", () => {
    filter();
    view.set({
      name: get("f-name").value.trim(), family: get("f-family").value,
      mark: get("f-mark").checked ? "" : "no", group: get("f-group").checked ? "yes" : "",
      beside: beside && !beside.checked ? "no" : "",
    });
  });
  get("f-link").addEventListener("click", async () => {
    const said = get("f-link").textContent;
    try {
      await navigator.clipboard.writeText(location.href);
      get("f-link").textContent = "Copied";
    } catch {
      get("f-link").textContent = "Copy it from the address bar";
    }
    setTimeout(() => { get("f-link").textContent = said; }, 3000);
  });
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  restore();
  addEventListener("hashchange", restore);

  // a table wider than its box says so
  const more = () => {
    for (const box of document.querySelectorAll(".scroll")) {
      const hint = box.previousElementSibling;
      if (!hint || !hint.classList.contains("more")) continue;
      hint.hidden = box.scrollWidth <= box.clientWidth + 1;
      hint.textContent = "This table is wider than the page: scroll it sideways →";
    }
  };
  more();
  addEventListener("resize", more);
})();
