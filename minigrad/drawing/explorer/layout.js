// A layered layout (Sugiyama, Tagawa & Toda 1981) of every open group, inner groups first.
//
// A group that is laid out is one large box in the group around it. Edges across its border go through a port at its top
// or bottom, one for each lane, so lines never cross a box in which they neither start nor end.
// Inside a group: layers by the longest path, order within layers by barycenters, x by the mean of the neighbors under
// the constraint that nothing overlaps (isotonic regression by pooling adjacent violators; Barlow et al. 1972).

const GAP = 18; // between neighbors in a layer
const STEP = 36; // between layers, at least
const PADDING = 16;
const HEADER = 26; // the title of a group
const SWEEPS = 8;

/**
 * Sets x, y (top left), w and h of everything visible, and `points` of every edge, all relative to the root.
 * `sizes` maps keys of vertices and folded groups to {w, h}, and keys of open groups to the size of their titles.
 */
function layout(root, edges, sizes) {
  const routes = new Map([[root, new Map()]]);
  for (const edge of edges) edge.legs = legsOf(edge, routes);
  arrange(root, routes, sizes);
  place(root, 0, 0);
  for (const edge of edges) edge.points = smooth(edge.legs.flatMap((leg) => pointsOf(leg)));
}

/**
 * The parts of an edge: out of the groups around its source, across, and into the groups around its target.
 * Edges that carry the same value to the same named values are one lane, and share their path as far as possible.
 */
function legsOf(edge, routes) {
  const { source, target, parts } = edge;
  const lane = [source.key, ...new Set(parts.flatMap((part) => part.leads_to))].join(" ");
  const around = new Set();
  for (let group = target.group; group; group = group.group) around.add(group);
  const out = [];
  let from = source;
  while (!around.has(from.group)) {
    out.push(leg(routes, from.group, from, null, lane));
    from = from.group;
  }
  const into = [];
  let to = target;
  while (to.group !== from.group) {
    into.unshift(leg(routes, to.group, null, to, lane));
    to = to.group;
  }
  return [...out, leg(routes, from.group, from, to, lane), ...into];
}

/** The leg from child to child of a group; `from` or `to` is null at its border. */
function leg(routes, group, from, to, lane) {
  if (!routes.has(group)) routes.set(group, new Map());
  const legs = routes.get(group);
  const key = `${from?.key ?? "in"} ${to?.key ?? "out"} ${lane}`;
  if (!legs.has(key)) legs.set(key, { group, from, to, lane });
  return legs.get(key);
}

/** Set the size of a group, and the positions of its children inside it. */
function arrange(group, routes, sizes) {
  for (const child of group.children) {
    if (child.isGroup && child.open) arrange(child, routes, sizes);
    else Object.assign(child, sizes.get(child.key), { ports: null });
  }
  const legs = [...(routes.get(group)?.values() ?? [])];
  const layers = layersOf(group, legs);
  order(layers);
  spread(layers);
  const isRoot = group.group === null;
  const left = Math.min(...layers.flat().map((cell) => cell.x - cell.w / 2), Infinity);
  const right = Math.max(...layers.flat().map((cell) => cell.x + cell.w / 2), -Infinity);
  const margin = isRoot ? 0 : PADDING;
  const title = isRoot ? 0 : sizes.get(group.key).w;
  group.w = Math.max(right - left + 2 * margin, title);
  const shift = (group.w - (right - left)) / 2 - left;
  for (const cell of layers.flat()) cell.x += shift;
  group.h = stack(layers, isRoot);
  group.ports = { in: new Map(), out: new Map() };
  for (const cell of layers.flat()) {
    if (cell.item) cell.item.cell = cell;
    if (cell.port) group.ports[cell.port].set(cell.lane, cell);
  }
}

/** Set y of every cell, with more space between layers if links between them are long. Returns the total height. */
function stack(layers, isRoot) {
  let y = isRoot ? 0 : HEADER;
  layers.forEach((layer, k) => {
    const isBorder = layer.some((cell) => cell.port);
    const height = Math.max(0, ...layer.map((cell) => cell.h));
    for (const cell of layer) Object.assign(cell, { top: y, bottom: y + height, y: y + (height - cell.h) / 2 });
    if (isBorder && k === 0) for (const cell of layer) Object.assign(cell, { top: 0, bottom: y });
    const far = Math.max(0, ...layer.flatMap((cell) => cell.down).map((link) => Math.abs(link.to.x - link.from.x)));
    const last = k === layers.length - 1;
    const isNarrow = (isBorder && k === 0) || (layers[k + 1] ?? []).every((cell) => cell.port === "out");
    y += height + (last ? 0 : isNarrow ? PADDING / 2 : STEP + Math.min(48, far * 0.08));
  });
  const end = isRoot ? y : y + PADDING / 2;
  for (const cell of layers.at(-1) ?? []) if (cell.port === "out") Object.assign(cell, { top: end, bottom: end });
  return end;
}

/** Turn positions inside groups into positions on the picture. */
function place(group, x, y) {
  Object.assign(group, { x, y });
  for (const child of group.children) {
    const left = x + child.cell.x - child.w / 2;
    const top = y + child.cell.y;
    if (child.isGroup && child.open) place(child, left, top);
    else Object.assign(child, { x: left, y: top });
  }
}

function pointsOf({ group, cells, lane, from, to }) {
  const points = [];
  cells.forEach((cell, k) => {
    if (cell.item) {
      const isStart = k === 0;
      const item = isStart ? from : to;
      const x =
        group.x + cell.x + offset(cell, isStart ? "out" : "in", lane) + (isStart ? 0 : entry(cell, cells.at(-2)));
      points.push([x, item.y + (isStart ? item.h : 0)]);
    } else {
      points.push([group.x + cell.x, group.y + cell.top], [group.x + cell.x, group.y + cell.bottom]);
    }
  });
  return points;
}

/** The offset of an arrow at its target: arrows into one vertex end side by side, in the order of their sources. */
function entry(cell, before) {
  if (cell.item.ports || cell.up.length < 2) return 0;
  const sorted = [...cell.up].sort(
    (a, b) => a.from.x + offset(a.from, "out", a.lane) - b.from.x - offset(b.from, "out", b.lane),
  );
  const k = sorted.findIndex((link) => link.from === before);
  const room = Math.min(16, (cell.w - 20) / sorted.length);
  return (k - (sorted.length - 1) / 2) * room;
}

/** The points without those that are equal to the one before. */
function smooth(points) {
  return points.filter((p, k) => !k || Math.abs(p[0] - points[k - 1][0]) + Math.abs(p[1] - points[k - 1][1]) > 0.5);
}
