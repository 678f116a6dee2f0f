// The cells of one group: in which layer, in which order, and at which x.

const NARROW = 6; // the room that a line takes where it passes a layer
// How much links ask to be straight: from box to box, between a box and a passing line, along such a line, and from what
// only enters aside. What follows each other stays in one column; lines pass beside it, as straight as they can.
const WEIGHTS = [9, 0.1, 1];
const ASIDE = 0.0001;

/** The cells of a group, in layers: its children, the ports at its border, and places where long legs pass. */
function layersOf(group, legs) {
  const hasIn = legs.some((leg) => !leg.from);
  const hasOut = legs.some((leg) => !leg.to);
  const rank = ranks(group.children, legs, hasIn ? 1 : 0);
  const depth = Math.max(0, ...rank.values()) + 1 + (hasOut ? 1 : 0);
  const layers = Array.from({ length: depth }, () => []);
  const known = new Map();
  const cell = (name, layer, made) => {
    if (!known.has(name)) {
      known.set(name, { layer, up: [], down: [], w: NARROW, h: 0, ...made });
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

/** Two cells in neighboring layers know of each other. */
function link(from, to, lane) {
  if (from.down.some((other) => other.to === to && other.lane === lane)) return;
  const made = { from, to, lane, weight: isSource(from) ? ASIDE : WEIGHTS[isPassing(from) + isPassing(to)] };
  from.down.push(made);
  to.up.push(made);
}

/** Whether a line passes here on its way. */
function isPassing({ item, port }) {
  return Number(!item && !port);
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
  if (!links.length) return { wish: cell.x, weight: ASIDE };
  const weight = Math.max(...links.map((link) => link.weight));
  const wishes = links
    .filter((link) => link.weight === weight)
    .map(({ from, to, lane }) => {
      const shift = offset(from, "out", lane) - offset(to, "in", lane);
      return cell === to ? from.x + shift : to.x - shift;
    });
  return { wish: wishes.reduce((sum, wish) => sum + wish, 0) / wishes.length, weight };
}
