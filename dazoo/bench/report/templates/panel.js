withData(["runs"], (data) => {
  "use strict";
  // the runs behind a number, in a dialog
  const at = Object.fromEntries(data.columns.map((name, i) => [name, i]));
  const panel = document.getElementById("panel");
  const body = document.getElementById("panel-body");
  const title = document.getElementById("panel-title");
  const el = (tag, text, ...children) => {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    made.append(...children.filter(Boolean));
    return made;
  };
  const metric = data.metric.replaceAll("_", " ") + (data.percent ? " (%)" : "");
  const show = (v, digits = 2) => v === null ? "none" : data.percent ? (100 * v).toFixed(digits) : v.toFixed(digits + 2);
  const plain = (v) => v === null || v === undefined ? "none (NaN)" : String(v);
  const words = (v) => v === null || typeof v !== "object" ? String(v)
    : Array.isArray(v) ? v.map(words).join(", ")
    : Object.entries(v).map(([k, x]) => `${k} = ${words(x)}`).join(", ");
  const quote = (text) => /^[\w./:+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

  // what a run's record says, as [name, text]
  const facts = (run) => {
    const get = (name) => run[at[name]];
    const setup = data.setups[get("setup")] || {};
    const place = data.places[get("place")] || {};
    const found = [];
    const hparams = data.hparams[get("hparams")] || {};
    found.push(["hyper-parameters", words(hparams) || "none"]);
    for (const [name, value] of Object.entries(setup)) found.push([name.replaceAll("_", " "), words(value)]);
    for (const [name, value] of Object.entries(place)) found.push([name, words(value)]);
    const steps = data.steps[get("steps")] || [];
    if (get("point") >= 0) {
      found.push(["checkpoint", `${get("point") + 1} of ${steps.length}, step ${steps[get("point")]} of ${steps[steps.length - 1]}`]);
    }
    for (const [part, head] of [["scores", "validator scores (label-free)"], ["metrics", "target metrics (target labels)"]]) {
      const row = get(part);
      if (row) found.push([head, data.names[row[0]].map((n, i) => `${n} ${plain(row[i + 1])}`).join(", ") || "none"]);
    }
    found.push(["started", get("started")], ["wall seconds", plain(get("seconds"))]);
    for (const kind of ["cpu", "device"]) if (get(kind) !== null) found.push([`${kind} seconds`, String(get(kind))]);
    if (get("load")) {
      const [busy, jobs, cpus] = get("load");
      found.push(["load at the start", `${plain(busy)} processes on ${cpus} processors, ${jobs} ${jobs === 1 ? "job" : "jobs"} of this suite`]);
    }
    if (get("memory") !== null) found.push(["peak memory", `${get("memory")} MB`]);
    found.push(["run key", get("key")]);
    const notes = data.notes[get("notes")] || [];
    if (notes.length) found.push(["warnings", notes.join("; ")]);
    if (get("error") >= 0) found.push(["error", data.errors[get("error")]]);
    return found;
  };
  const list = (pairs) => {
    const made = el("dl");
    for (const [name, text] of pairs) made.append(el("dt", name), el("dd", text));
    return made;
  };
  const command = (label, tasks, seeds) => {
    const one = tasks.length === 1 ? ` --tasks ${quote(data.tasks[tasks[0]])}` : "";
    return `dazoo run ${data.suite || "SUITE.yaml"} --methods ${quote(label)}${one} --seeds ${seeds} --out again`;
  };

  const fill = (label, task) => {
    const cells = Object.entries(data.cells[label] || {}).filter(([t]) => task < 0 || Number(t) === task)
      .map(([t, cell]) => [Number(t), ...cell]);
    const runs = cells.flatMap(([t, , , , , rows]) => rows.map((row) => ({ t, row, all: facts(row) })));
    const good = runs.filter((r) => r.row[at.point] >= 0);
    title.textContent = task < 0 ? label : `${label} on ${data.tasks[task]}`;
    body.replaceChildren();
    const values = good.map((r) => r.row[at.value]);
    const average = (v) => v.reduce((a, b) => a + b, 0) / v.length;
    const measured = cells.map(([t]) => [t, good.filter((r) => r.t === t).map((r) => r.row[at.value])]).filter(([, v]) => v.length);
    // over the tasks of each dataset, then over datasets
    const sets = new Map();
    for (const [t, v] of measured) sets.set(data.datasets[t], [...(sets.get(data.datasets[t]) || []), average(v)]);
    if (measured.length) {
      const mean = average([...sets.values()].map(average));
      const m = average(values);
      const std = Math.sqrt(values.reduce((a, v) => a + (v - m) ** 2, 0) / (values.length - 1));
      const spread = task >= 0 && values.length > 1 ? ` ± ${show(std)} (standard deviation)` : "";
      const known = new Set(data.datasets).size;
      const among = known > 1 ? `the averages of ${sets.size} of ${known} datasets, ` : "";
      const over = task < 0 ? `${among}${measured.length} tasks, ${values.length} runs` : `${values.length} seed${values.length > 1 ? "s" : ""}`;
      body.append(el("p", "", el("strong", `${show(mean)}${spread}`), ` ${metric}, mean over ${over}`));
      if (values.length === 1) body.append(el("p", "One seed: no spread can be stated."));
    } else body.append(el("p", "There is no number here."));
    const rules = [...new Set(cells.map((c) => c[1]).filter(Boolean))];
    const trials = Math.max(...cells.map((c) => c[2]));
    if (rules.length) {
      body.append(el("p", `Trial (of ${trials}) and checkpoint chosen by: ${rules.join("; ")}.`));
    }
    const lost = cells.reduce((n, c) => n + c[3], 0);
    if (lost) body.append(el("p", `✕ ${lost} of ${cells.reduce((n, c) => n + c[4], 0)} runs failed.`));
    const findings = (data.findings[label] || []).filter(([, t]) => task < 0 || t < 0 || t === task);
    if (findings.length) {
      body.append(el("h3", "Findings"), el("ul", "", ...findings.map(([kind, t, text]) =>
        el("li", `⚠ ${kind}${t >= 0 && task < 0 ? ` on ${data.tasks[t]}` : ""}: ${text}`))));
    }
    const seeds = new Set(runs.map((r) => r.row[at.seed])).size || 1;
    const code = el("code", command(label, cells.map((c) => c[0]), seeds));
    body.append(el("h3", "Repeat"), el("p", "In the folder of this page:"), el("pre", "", code));
    const names = [...new Set(runs.flatMap((r) => r.all.map(([n]) => n)))];
    const common = runs.length > 1 ? names.filter((n) => {
      const texts = runs.map((r) => (r.all.find(([x]) => x === n) || [])[1]);
      return texts.every((x) => x === texts[0]);
    }) : [];
    if (common.length) body.append(el("h3", `In all ${runs.length} runs`), list(runs[0].all.filter(([n]) => common.includes(n))));
    body.append(el("h3", runs.length > 1 ? "Each run" : "The run"));
    runs.forEach(({ t, row, all }, i) => {
      const made = el("details");
      made.open = runs.length <= 3 && i === 0;
      const where = `${task < 0 ? `${data.tasks[t]}, ` : ""}seed ${row[at.seed]}, trial ${row[at.trial]}`;
      made.append(el("summary", `${where}: ${row[at.point] < 0 ? "✕ failed" : show(row[at.value])}`));
      made.append(list(all.filter(([n]) => !common.includes(n))));
      body.append(made);
    });
  };
  let opener = null;
  const openRuns = (label, task) => {
    fill(label, task);
    if (!panel.open) panel.showModal();
    body.scrollTop = 0;
    title.focus();
    view.set({ method: label, task: task < 0 ? "" : data.tasks[task] });
  };
  const open = (button) => {
    opener = button;
    openRuns(button.closest("tr").dataset.name, Number(button.parentElement.dataset.t));
  };
  // the address may name a method: #method=dann&task=a->b
  const follow = () => {
    const label = view.get("method");
    if (!label || !data.cells[label]) return;
    const row = [...document.getElementById("board").tBodies[0].rows].find((r) => r.dataset.name === label);
    if (row) {
      row.scrollIntoView({ block: "center" });
      opener = row.querySelector("td.open > button");
    }
    openRuns(label, data.tasks.indexOf(view.get("task")));
  };
  for (const cell of document.querySelectorAll("td.open")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    const where = cell.dataset.at === undefined ? -1 : Number(cell.dataset.at);
    cell.dataset.t = where;
    const name = cell.closest("tr").dataset.name + (where < 0 ? "" : ` on ${data.tasks[where]}`);
    button.setAttribute("aria-label", `${button.textContent.trim()}: runs of ${name}`);
    button.setAttribute("aria-haspopup", "dialog");
    cell.append(button);
    button.addEventListener("click", () => open(button));
  }
  document.getElementById("panel-close").addEventListener("click", () => panel.close());
  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
  panel.addEventListener("close", () => {
    view.set({ method: "", task: "" });
    if (opener) opener.focus();
  });

  // one stop for Tab in the table per task; arrow keys move within it
  const grid = document.getElementById("grid");
  const buttons = () => [...grid.querySelectorAll("tbody tr:not([hidden]) td.open > button")];
  const rove = (to) => {
    for (const b of grid.querySelectorAll("td.open > button")) b.tabIndex = -1;
    if (to) to.tabIndex = 0;
  };
  rove(buttons()[0]);
  grid.addEventListener("focusin", (event) => { if (event.target.matches("td.open > button")) rove(event.target); });
  document.querySelector(".filters").addEventListener("input", () => rove(buttons()[0]));
  grid.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td.open");
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!cell || !move) return;
    const rows = [...grid.tBodies[0].rows].filter((r) => !r.hidden && r.dataset.name);
    let [r, c] = [rows.indexOf(cell.parentElement), cell.cellIndex];
    for (;;) {
      r += move[0];
      c += move[1];
      if (!rows[r] || c < 1 || !rows[r].cells[c]) break;
      const next = rows[r].cells[c].querySelector("button");
      if (next) { next.focus(); break; }
    }
    event.preventDefault();
  });
  follow();
  addEventListener("hashchange", follow);
});
