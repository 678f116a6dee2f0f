// The cells of one group: their layers, their order, and their x.

const NARROW = 6; // the width of a line that passes a layer
// How strongly links prefer to be straight: from box to box, between a box and a passing line, and along such a line.
// Consecutive boxes stay in one column, and lines pass beside them, as straight as possible. SIDE: links from sources.
const WEIGHTS = [9, 0.1, 1];
const SIDE = 0.0001;

/** The cells of a group in layers: its children, the ports at its border, and points where long legs pass. */
function layersOf(group, legs) {
  const hasIn = legs.some((leg) => !leg.from);
  const hasOut = legs.some((leg) => !leg.to);
  const rank = ranks(group.children, legs, hasIn ? 1 : 0);
  const depth = Math.max(0, ...rank.values()) + 1 + (hasOut ? 1 : 0);
  const layers = Array.from({ length: depth }, () => []);
  const known = new Map();
  const cell = (name, layer, fields) => {
    if (!known.has(name)) {
      known.set(name, { layer, up: [], down: [], w: NARROW, h: 0, ...fields });
      layers[layer].push(known.get(name));
    }
    return known.get(name);
  };
  for (const item of group.children) cell(item.key, rank.get(item), { item, w: item.w, h: item.h });
  for (const leg of legs) {
    const { from, to, lane } = leg;
    const start = from ? known.get(from.key) : cell(`in ${lane}`, 0, { port: "in", lane });
    const end = to ? known.get(to.key) : cell(`out ${lane}`, depth - 1, { port: "out", lane });
    leg.cells = [start];
    for (let layer = start.layer + 1; layer < end.layer; layer++) {
      leg.cells.push(cell(`from ${from?.key} in ${lane} at ${layer}`, layer, {})); // shared within a lane
    }
    leg.cells.push(end);
    for (let k = 1; k < leg.cells.length; k++) link(leg.cells[k - 1], leg.cells[k], lane);
  }
  return layers;
}

/** Link two cells in neighboring layers. */
function link(from, to, lane) {
  if (from.down.some((other) => other.to === to && other.lane === lane)) return;
  const weight = isSource(from) ? SIDE : WEIGHTS[isPassing(from) + isPassing(to)];
  const between = { from, to, lane, weight };
  from.down.push(between);
  to.up.push(between);
}

/** 1 for a point where a line passes, 0 for a box or a port. */
function isPassing({ item, port }) {
  return Number(!item && !port);
}

function isSource({ item }) {
  return Boolean(item && !item.isGroup && !item.inputs.length);
}

/** The longest path to each child; sources, and what depends on sources only, are right above their users. */
function ranks(children, legs, first) {
  const rank = new Map(children.map((item) => [item, first]));
  const isFree = (item) => isSource({ item });
  const sortKey = (item) => (isFree(item) ? -1 : item.position);
  const within = legs.filter((leg) => leg.from && leg.to).sort((a, b) => sortKey(a.from) - sortKey(b.from));
  for (const { from, to } of within) rank.set(to, Math.max(rank.get(to), rank.get(from) + 1));
  const fixed = new Set(legs.filter((leg) => leg.to && !(leg.from && isFree(leg.from))).map((leg) => leg.to));
  const uses = Map.groupBy(within, (leg) => leg.from);
  for (const sources of [false, true]) {
    for (const item of children) {
      if (!uses.has(item) || isFree(item) !== sources || fixed.has(item)) continue;
      rank.set(item, Math.min(...uses.get(item).map((leg) => rank.get(leg.to))) - 1);
    }
  }
  return rank;
}

/** Sweep down and up, sorting each layer by its neighbors, and keep the order with the fewest crossings. */
function order(layers) {
  const setOrder = (layer) => layer.forEach((cell, k) => (cell.order = k));
  layers.forEach(setOrder);
  let best = crossings(layers);
  let bestLayers = layers.map((layer) => [...layer]);
  for (let sweep = 0; sweep < SWEEPS && best; sweep++) {
    const down = sweep % 2 === 0;
    for (const layer of down ? layers : [...layers].reverse()) {
      for (const cell of layer) cell.target = barycenter(cell, down);
      layer.sort((a, b) => a.target - b.target);
      setOrder(layer);
    }
    const count = crossings(layers);
    if (count < best) [best, bestLayers] = [count, layers.map((layer) => [...layer])];
  }
  bestLayers.forEach((layer, k) => {
    layers[k].splice(0, layer.length, ...layer);
    setOrder(layers[k]);
  });
}

function barycenter(cell, down) {
  const links = down ? cell.up : cell.down;
  if (!links.length) return cell.order;
  const at = (link) => (down ? within(link.from, "out", link.lane) : within(link.to, "in", link.lane));
  return links.reduce((sum, link) => sum + at(link), 0) / links.length;
}

/** A place in the order of a layer, with a fraction for the port of a group. */
function within(cell, side, lane) {
  return cell.order + offset(cell, side, lane) / (cell.w + 1);
}

/** The distance from the middle of a cell at which a lane leaves or enters. */
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

/** Set x of every cell: move it towards its neighbors, repeatedly, as far as the order and the widths allow. */
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

/** Set x of the cells of a layer as close as possible to their neighbors, without overlap. */
function pool(layer, linksOf) {
  const blocks = [];
  let width = 0; // of the cells so far; after subtracting it, "no overlap" means "not decreasing"
  let previous = null;
  for (const cell of layer) {
    width += previous ? (previous.w + cell.w) / 2 + GAP : 0;
    cell.width = width;
    const { target, weight } = targetX(cell, linksOf(cell));
    let block = { cells: [cell], sum: (target - width) * weight, weight };
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

/** The mean x for which the strongest links of a cell would be straight, and their weight. */
function targetX(cell, links) {
  if (!links.length) return { target: cell.x, weight: SIDE };
  const weight = Math.max(...links.map((link) => link.weight));
  const positions = links
    .filter((link) => link.weight === weight)
    .map(({ from, to, lane }) => {
      const shift = offset(from, "out", lane) - offset(to, "in", lane);
      return cell === to ? from.x + shift : to.x - shift;
    });
  return { target: positions.reduce((sum, x) => sum + x, 0) / positions.length, weight };
}
