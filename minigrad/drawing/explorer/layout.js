// Where things are drawn: a layered layout (Sugiyama, Tagawa & Toda 1981) of every open group, inner groups first.
//
// A group that is laid out is one large vertex for the group around it. Edges across its border go through a port at
// its top or bottom, one for each lane, so that lines never cross a box that they have no business in.
// Within a group: layers by the longest path, order within layers by barycenters, x by the mean of the neighbors under
// the constraint that nothing overlaps (isotonic regression by pooling adjacent violators; Barlow et al. 1972).

const GAP = 18; // between neighbors in a layer
const STEP = 36; // between layers, at least
const PADDING = 16;
const HEADER = 26; // the title of a group
const SWEEPS = 8;

/**
 * Sets x, y (top left), w and h of everything visible, and `points` of every edge, all relative to the root.
 * `sizes` maps keys of vertices and folded groups to {w, h}; of open groups it says how wide their titles are.
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
 * What carries one value to the same named values is one lane, and shares its way as far as it can.
 */
function legsOf(edge, routes) {
  const { source, target, parts } = edge;
  const lane = [source.key, ...new Set(parts.flatMap((part) => part.strands))].join(" ");
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

/** A leg from child to child of a group; `from` or `to` is null at its border. */
function leg(routes, group, from, to, lane) {
  if (!routes.has(group)) routes.set(group, new Map());
  const legs = routes.get(group);
  const key = `${from?.key ?? "in"} ${to?.key ?? "out"} ${lane}`;
  if (!legs.has(key)) legs.set(key, { group, from, to, lane });
  return legs.get(key);
}

/** The size of a group, and where its children are within it. */
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

/** Cells in layers, with links between neighboring layers only: long legs go through cells of no size. */
function layersOf(group, legs) {
  const hasIn = legs.some((leg) => !leg.from);
  const hasOut = legs.some((leg) => !leg.to);
  const rank = ranks(group.children, legs, hasIn ? 1 : 0);
  const depth = Math.max(0, ...rank.values()) + 1 + (hasOut ? 1 : 0);
  const layers = Array.from({ length: depth }, () => []);
  const add = (layer, cell) => {
    Object.assign(cell, { layer, up: [], down: [] });
    layers[layer].push(cell);
    return cell;
  };
  const cells = new Map();
  for (const item of group.children) cells.set(item, add(rank.get(item), { item, w: item.w, h: item.h }));
  const ports = { in: new Map(), out: new Map() };
  const port = (side, layer, lane) => {
    if (!ports[side].has(lane)) ports[side].set(lane, add(layer, { port: side, lane, w: 6, h: 0 }));
    return ports[side].get(lane);
  };
  const chains = new Map(); // by the cell that they start from, and their lane
  for (const leg of legs) {
    const start = leg.from ? cells.get(leg.from) : port("in", 0, leg.lane);
    const end = leg.to ? cells.get(leg.to) : port("out", depth - 1, leg.lane);
    const name = `${leg.from?.key ?? ""} ${leg.lane}`;
    if (!chains.has(name)) chains.set(name, []);
    const chain = chains.get(name);
    const at = (k) => (k ? chain[k - 1] : start);
    leg.cells = [start];
    for (let k = 0; k < end.layer - start.layer - 1; k++) {
      chain[k] ??= link(at(k), add(start.layer + k + 1, { w: 6, h: 0, lane: leg.lane }), leg.lane);
      leg.cells.push(chain[k]);
    }
    link(leg.cells.at(-1), end, leg.lane);
    leg.cells.push(end);
  }
  return layers;
}

function link(from, to, lane) {
  const known = from.down.some((other) => other.to === to && other.lane === lane);
  // Long lines are straight before anything else, then what follows each other; what enters from aside bends nothing.
  const weight = isSource(from) ? 0.01 : !from.item && !to.item ? 9 : from.item && to.item ? 3 : 1;
  const made = { from, to, lane, weight };
  if (!known) {
    from.down.push(made);
    to.up.push(made);
  }
  return to;
}

function isSource({ item }) {
  return Boolean(item && !item.isGroup && !item.inputs.length);
}

/** The longest path to each child; what needs nothing, or only that, stands right above what uses it. */
function ranks(children, legs, first) {
  const rank = new Map(children.map((item) => [item, first]));
  const isFree = (item) => isSource({ item });
  const turn = (item) => (isFree(item) ? -1 : item.position);
  const within = legs.filter((leg) => leg.from && leg.to).sort((a, b) => turn(a.from) - turn(b.from));
  for (const { from, to } of within) rank.set(to, Math.max(rank.get(to), rank.get(from) + 1));
  const held = new Set(legs.filter((leg) => leg.to && !(leg.from && isFree(leg.from))).map((leg) => leg.to));
  const uses = Map.groupBy(within, (leg) => leg.from);
  for (const sources of [false, true]) {
    for (const item of children) {
      if (!uses.has(item) || isFree(item) !== sources || held.has(item)) continue;
      rank.set(item, Math.min(...uses.get(item).map((leg) => rank.get(leg.to))) - 1);
    }
  }
  return rank;
}

/** Sweeps down and up, each layer sorted by where its neighbors are; the order with the fewest crossings is kept. */
function order(layers) {
  const number = (layer) => layer.forEach((cell, k) => (cell.order = k));
  layers.forEach(number);
  let best = crossings(layers);
  let kept = layers.map((layer) => [...layer]);
  for (let sweep = 0; sweep < SWEEPS && best; sweep++) {
    const down = sweep % 2 === 0;
    for (const layer of down ? layers : [...layers].reverse()) {
      for (const cell of layer) cell.wish = barycenter(cell, down);
      layer.sort((a, b) => a.wish - b.wish);
      number(layer);
    }
    const found = crossings(layers);
    if (found < best) [best, kept] = [found, layers.map((layer) => [...layer])];
  }
  kept.forEach((layer, k) => {
    layers[k].splice(0, layer.length, ...layer);
    number(layers[k]);
  });
}

function barycenter(cell, down) {
  const links = down ? cell.up : cell.down;
  if (!links.length) return cell.order;
  const at = (link) => (down ? within(link.from, "out", link.lane) : within(link.to, "in", link.lane));
  return links.reduce((sum, link) => sum + at(link), 0) / links.length;
}

/** A place in the order of a layer; fractions tell the ports of one group apart. */
function within(cell, side, lane) {
  return cell.order + offset(cell, side, lane) / (cell.w + 1);
}

/** How far from the middle of a cell a lane leaves or enters. */
function offset(cell, side, lane) {
  const port = cell.item?.ports?.[side].get(lane);
  return port ? port.x - cell.item.w / 2 : 0;
}

function crossings(layers) {
  let total = 0;
  for (const layer of layers) {
    const ends = layer
      .flatMap((cell) => cell.down)
      .map((link) => [within(link.from, "out", link.lane), within(link.to, "in", link.lane)])
      .sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    for (let i = 0; i < ends.length; i++) {
      for (let j = i + 1; j < ends.length; j++) if (ends[j][0] > ends[i][0] && ends[j][1] < ends[i][1]) total++;
    }
  }
  return total;
}

/** x of every cell: again and again where its neighbors want it, as far as the order and the widths allow. */
function spread(layers) {
  for (const layer of layers) {
    let x = 0;
    for (const cell of layer) {
      cell.x = x + cell.w / 2;
      x += cell.w + GAP;
    }
  }
  const upwards = [...layers].reverse();
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const layer of upwards) pool(layer, (cell) => cell.down);
    for (const layer of layers) pool(layer, (cell) => cell.up);
  }
  for (const layer of upwards) pool(layer, (cell) => (isSource(cell) ? cell.down : [...cell.up, ...cell.down]));
  for (const layer of layers) pool(layer, (cell) => (isSource(cell) ? cell.down : cell.up));
}

function pool(layer, linksOf) {
  const blocks = [];
  let width = 0; // of the cells so far; without it, "no overlap" is "not decreasing"
  let previous = null;
  for (const cell of layer) {
    width += previous ? (previous.w + cell.w) / 2 + GAP : 0;
    cell.width = width;
    const { wish, weight } = wishOf(cell, linksOf(cell));
    let block = { cells: [cell], sum: (wish - width) * weight, weight };
    while (blocks.length && blocks.at(-1).sum / blocks.at(-1).weight > block.sum / block.weight) {
      const before = blocks.pop();
      block = {
        cells: [...before.cells, ...block.cells],
        sum: before.sum + block.sum,
        weight: before.weight + block.weight,
      };
    }
    blocks.push(block);
    previous = cell;
  }
  for (const { cells, sum, weight } of blocks) for (const cell of cells) cell.x = sum / weight + cell.width;
}

/** The mean of what its strongest links ask for. */
function wishOf(cell, links) {
  if (!links.length) return { wish: cell.x, weight: 0.01 };
  const weight = Math.max(...links.map((link) => link.weight));
  const wishes = links.filter((link) => link.weight === weight).map(({ from, to, lane }) => {
    const shift = offset(from, "out", lane) - offset(to, "in", lane);
    return cell === to ? from.x + shift : to.x - shift;
  });
  return { wish: wishes.reduce((sum, wish) => sum + wish, 0) / wishes.length, weight };
}

/** y of every cell; layers with far to go between them stand further apart. Returns the height of all. */
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

/** From places within groups to places on the whole picture. */
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
      const x = group.x + cell.x + offset(cell, isStart ? "out" : "in", lane) + (isStart ? 0 : entry(cell, cells.at(-2)));
      points.push([x, item.y + (isStart ? item.h : 0)]);
    } else {
      points.push([group.x + cell.x, group.y + cell.top], [group.x + cell.x, group.y + cell.bottom]);
    }
  });
  return points;
}

/** Arrows into one vertex end side by side, in the order in which they come. */
function entry(cell, before) {
  if (cell.item.ports || cell.up.length < 2) return 0;
  const sorted = [...cell.up].sort((a, b) => a.from.x + offset(a.from, "out", a.lane) - b.from.x - offset(b.from, "out", b.lane));
  const k = sorted.findIndex((link) => link.from === before);
  const room = Math.min(16, (cell.w - 20) / sorted.length);
  return (k - (sorted.length - 1) / 2) * room;
}

/** Without points that stand on top of each other. */
function smooth(points) {
  return points.filter((p, k) => !k || Math.abs(p[0] - points[k - 1][0]) + Math.abs(p[1] - points[k - 1][1]) > 0.5);
}
