// What the tables do not hold: plain JSON, or gzip in base64 where it is large, which the browser unpacks by itself.
const unpacked = {};
const unpack = (node) => unpacked[node.id] ??= (async () => {
  const bytes = Uint8Array.from(atob(node.textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = JSON.parse(await new Response(stream).text());
  const columns = data.rows; // runs lie in columns; a cell knows its first row and how many there are
  if (columns) for (const cells of Object.values(data.cells)) for (const cell of Object.values(cells)) {
    const [first, count] = cell[4];
    cell[4] = Array.from({ length: count }, (_, i) => columns.map((column) => column[first + i]));
  }
  return data;
})();
const withData = (names, use) => {
  const nodes = names.map((name) => document.getElementById(`data-${name}`));
  const read = (node) => node.dataset.packed ? unpack(node) : JSON.parse(node.textContent);
  if (nodes.every((node) => !node.dataset.packed)) { use(...nodes.map(read)); return; }
  Promise.all(nodes.map(read)).then((all) => {
    use(...all);
    document.documentElement.dataset.ready = names.join(" ");
  }).catch((error) => {
    const note = document.createElement("p");
    note.className = "notes";
    note.textContent = `The runs behind the numbers cannot be unpacked here (${error.message}); a newer browser can.`;
    document.querySelector("main").prepend(note);
  });
};
// what is seen now (filters, order, an opened method) stands in the address, so that it can be shared
const view = (() => {
  const KEYS = ["name", "family", "mark", "group", "beside", "sort", "method", "task"];
  const read = () => new URLSearchParams(location.hash.slice(1));
  return {
    get: (key) => read().get(key) || "",
    set: (values) => {
      const now = read();
      const next = new URLSearchParams();
      for (const key of KEYS) {
        const value = key in values ? values[key] : now.get(key);
        if (value) next.set(key, value);
      }
      const text = next.toString();
      history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    },
  };
})();
