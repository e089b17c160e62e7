withData(["runs", "curves", "scatter"], (runs, curves, scatter) => {
  "use strict";
  // learning curves and the scatter of features, drawn from the data of the page
  const esc = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const option = (value, text) => {
    const made = document.createElement("option");
    made.value = value;
    made.textContent = text;
    return made;
  };
  const tidy = (v) => Number(v.toPrecision(3)).toString();

  const W = 250, H = 120, L = 46, R = 8, T = 8, B = 22;
  // a small chart of lines [{steps, values, chosen, other}], all on the same axes
  const chart = (name, lines, kind) => {
    const known = lines.flatMap((l) => l.values.filter((v) => v !== null));
    const low = Math.min(...known), high = Math.max(...known);
    const last = Math.max(1, ...lines.flatMap((l) => l.steps));
    const x = (s) => L + (W - L - R) * s / last;
    const y = (v) => high === low ? (T + H - B) / 2 : T + (H - T - B) * (high - v) / (high - low);
    let drawn = "";
    for (const line of lines) {
      let path = "", pen = "M";
      line.values.forEach((v, i) => {
        if (v === null) { pen = "M"; return; }
        path += `${pen}${x(line.steps[i]).toFixed(1)} ${y(v).toFixed(1)}`;
        pen = "L";
      });
      const style = line.other ? "line other" : "line";
      drawn += `<path class="${style}" d="${path}"/>`;
      if (kind !== "loss") line.values.forEach((v, i) => {
        if (v !== null) drawn += `<circle class="${line.other ? "ring" : "full"}" cx="${x(line.steps[i]).toFixed(1)}" cy="${y(v).toFixed(1)}" r="2.5"/>`;
      });
      if (!line.other) drawn += `<line class="chosen" x1="${x(line.chosen).toFixed(1)}" y1="${T}" x2="${x(line.chosen).toFixed(1)}" y2="${H - B}"/>`;
    }
    const none = known.length ? "" : `<text class="soft" x="${W / 2}" y="${H / 2}" text-anchor="middle">no number</text>`;
    const ends = known.length ? `<text class="soft" x="${L - 5}" y="${T + 9}" text-anchor="end">${tidy(high)}</text>`
      + `<text class="soft" x="${L - 5}" y="${H - B}" text-anchor="end">${tidy(low)}</text>` : "";
    const words = `${name}: ${known.length ? `between ${tidy(low)} and ${tidy(high)}, at the end ${tidy(lines[0].values.filter((v) => v !== null).at(-1) ?? NaN)}` : "no number"}`;
    return `<figure class="chart ${kind}"><figcaption>${esc(name)}</figcaption><svg viewBox="0 0 ${W} ${H}" role="img" aria-label="${esc(words)}">`
      + `<line class="axis" x1="${L}" y1="${T}" x2="${L}" y2="${H - B}"/><line class="axis" x1="${L}" y1="${H - B}" x2="${W - R}" y2="${H - B}"/>`
      + `${ends}<text class="soft" x="${W - R}" y="${H - 7}" text-anchor="end">step ${last}</text>${drawn}${none}</svg></figure>`;
  };
  const method = document.getElementById("c-method");
  if (method) {
    const run = document.getElementById("c-run"), beside = document.getElementById("c-beside"), out = document.getElementById("curves");
    const labels = [...new Set(curves.runs.map((r) => r[0]))];
    method.append(...labels.map((l) => option(l, l)));
    beside.append(...labels.map((l) => option(l, l)));
    const name = (r) => `${runs.tasks[r[1]]}, seed ${r[2]}`;
    const draw = () => {
      const one = curves.runs[Number(run.value)];
      const two = beside.value ? curves.runs.find((r) => r[0] === beside.value && r[1] === one[1] && r[2] === one[2])
        || curves.runs.find((r) => r[0] === beside.value) : null;
      const both = two ? [one, two] : [one];
      const line = (r, steps, values) => ({ steps, values, chosen: curves.grids[r[4]][r[3]], other: r === two });
      const terms = [...new Set(both.flatMap((r) => Object.keys(r[5])))];
      const scores = [...new Set(both.flatMap((r) => Object.keys(r[6])))];
      let html = "";
      for (const t of terms) {
        html += chart(`loss: ${t}`, both.filter((r) => r[5][t]).map((r) => line(r, curves.grids[r[5][t][0]], r[5][t][1])), "loss");
      }
      for (const s of scores) {
        const chosen = s === curves.rule ? " (chooses)" : "";
        html += chart(`validator: ${s}${chosen}`, both.filter((r) => r[6][s]).map((r) => line(r, curves.grids[r[4]], r[6][s])), "score");
      }
      html += chart(`${runs.metric.replaceAll("_", " ")} (oracle: target labels)`, both.map((r) => line(r, curves.grids[r[4]], r[7])), "target");
      if (two) html += `<p class="hint">Solid, full dots: ${esc(one[0])}, ${esc(name(one))}. Dashed, rings: ${esc(two[0])}, ${esc(name(two))}.</p>`;
      out.innerHTML = html;
    };
    const fill = () => {
      run.replaceChildren(...curves.runs.flatMap((r, i) => r[0] === method.value ? [option(i, name(r))] : []));
      draw();
    };
    method.addEventListener("input", fill);
    for (const box of [run, beside]) box.addEventListener("input", draw);
    fill();
  }

  const pick = document.getElementById("s-task");
  if (pick) {
    const box = document.getElementById("scatter"), legend = document.getElementById("s-legend");
    pick.append(...[...new Set(scatter.panels.map((p) => p.task))].map((t) => option(t, t.slice(t.indexOf("/") + 1))));
    const shade = (c) => Math.min(c ?? 0, scatter.shades - 1);
    const points = (p, part) => p[part].map(([px, py], i) => {
      const x = (6 + 288 * px / 1000).toFixed(1), y = (294 - 288 * py / 1000).toFixed(1), c = shade(p[`${part}_class`][i]);
      const d = part === "target" ? `M${x} ${(y - 4).toFixed(1)}l4 7h-8z` : `M${(x - 3).toFixed(1)} ${y}a3 3 0 1 0 6 0a3 3 0 1 0-6 0`;
      return `<path class="${part} c${c}" d="${d}"/>`;
    }).join("");
    const draw = () => {
      const panels = scatter.panels.filter((p) => p.task === pick.value);
      box.innerHTML = panels.map((p) => `<figure><figcaption>${p.role ? `${esc(p.role)}: ` : ""}<strong>${esc(p.label)}</strong>, seed ${p.seed}</figcaption>`
        + `<svg viewBox="0 0 300 300" role="img" aria-label="${esc(`${p.label}: ${p.source.length} of ${p.of[0]} source and ${p.target.length} of ${p.of[1]} target samples`)}">`
        + `${points(p, "source")}${points(p, "target")}</svg><p class="hint">${p.source.length} of ${p.of[0]} source ○ and ${p.target.length} of ${p.of[1]} target ▲ samples</p></figure>`).join("");
      const classes = [...new Set(panels.flatMap((p) => [...p.source_class, ...p.target_class].map(shade)))].sort((a, b) => a - b);
      legend.replaceChildren(...classes.map((c) => {
        const button = document.createElement("button");
        button.type = "button";
        button.setAttribute("aria-pressed", "false");
        button.innerHTML = `<i class="c${c}"></i>class ${c}${c === scatter.shades - 1 && panels.some((p) => Math.max(...p.source_class) > c) ? " and above" : ""}`;
        button.addEventListener("click", () => {
          const on = button.getAttribute("aria-pressed") === "false";
          for (const b of legend.children) b.setAttribute("aria-pressed", "false");
          button.setAttribute("aria-pressed", String(on));
          box.dataset.only = on ? c : "";
          for (const path of box.querySelectorAll("path")) path.classList.toggle("dim", on && !path.classList.contains(`c${c}`));
        });
        return button;
      }));
    };
    pick.addEventListener("input", draw);
    draw();
  }
  for (const form of document.querySelectorAll("form.filters")) form.addEventListener("submit", (event) => event.preventDefault());
});
