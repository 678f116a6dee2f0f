// The graph that the page was given: vertices in the order of the tape, within groups that fold. Nothing here draws.
//
// A group is a run of a scope. Runs follow each other on the tape, so whatever is folded, arrows never form a circle.
// A group with more children than a reader can take in is divided into parts of about equal length, again and again.

const CROWD = 60; // children of a group, before it is divided
const PAGE = 60; // vertices that are shown at first
const LIMIT = 600; // vertices that can be shown at once
const BLANK = {
  label: "",
  name: "",
  formula: "",
  operation: "",
  call: "",
  shape: "",
  dtype: "",
  place: 0,
  scope: "",
  phase: "forward",
  group: null,
};

/** What is drawn as one thing: a vertex, or a group of them. */
function readGraph(data) {
  const vertices = data.vertices.map((vertex, order) => ({ ...BLANK, ...vertex, order, inputs: [], uses: [] }));
  const byKey = new Map(vertices.map((vertex) => [vertex.key, vertex]));
  const edges = (data.edges ?? []).map((edge) => ({
    formula: "",
    strands: [],
    ...edge,
    source: byKey.get(edge.source),
    target: byKey.get(edge.target),
  }));
  for (const edge of edges) {
    edge.target.inputs.push(edge);
    edge.source.uses.push(edge);
  }
  const tape = vertices.filter((vertex) => vertex.place);
  const root = newGroup("", "", null);
  const groups = new Map([[null, root]]);
  for (const cluster of data.clusters ?? [])
    groups.set(cluster.key, groupOf(cluster, groups.get(cluster.parent ?? null)));
  for (const vertex of vertices) {
    vertex.group = groups.get(vertex.cluster ?? null);
    vertex.position = positionOf(vertex);
    vertex.call = relabeled(vertex);
    if (!vertex.place) vertex.first = vertex.uses[0]?.target.place ?? 0;
    vertex.group.children.push(vertex);
  }
  number(groups.values());
  settle(root);
  divide(root);
  count(root);
  const outputs = vertices.filter((vertex) => vertex.kind === "output" && vertex.phase === "forward");
  const { dtype, shown = [], notes = [] } = data;
  const isRecorded = shown.includes("backward"); // the backward pass is on the tape itself
  return { vertices, edges, tape, outputs, root, groups: groupsIn(root), byKey, dtype, shown, notes, isRecorded };
}

function newGroup(key, title, parent) {
  return { key, title, group: parent, children: [], isGroup: true, open: parent === null, position: Infinity };
}

function groupOf(cluster, parent) {
  const group = { ...newGroup(`g:${cluster.key}`, cluster.name, parent), cluster };
  parent.children.push(group);
  return group;
}

/** The call of a vertex with its operands as they are labeled: mean(μ) in the place of mean(mu). */
function relabeled({ call, inputs }) {
  return inputs.reduce(
    (text, { source: { name, label } }) =>
      name && label && name !== label && /^\w+$/.test(name)
        ? text.replace(new RegExp(`(?<![\\w.])${name}(?![\\w=])`, "g"), () => label)
        : text,
    call,
  );
}

/** Leaves and constants stand just before their first use. */
function positionOf(vertex) {
  const first = vertex.uses.reduce((least, edge) => Math.min(least, edge.target.order), Infinity);
  return vertex.inputs.length || first === Infinity ? vertex.order : first - 0.5;
}

function groupsIn(group) {
  return group.children.filter((child) => child.isGroup).flatMap((child) => [child, ...groupsIn(child)]);
}

/** Runs of one scope within the same group are told apart by a number. */
function number(groups) {
  const runs = new Map();
  for (const group of groups) {
    if (!group.cluster) continue;
    const name = JSON.stringify([group.group.key, group.title]);
    runs.set(name, [...(runs.get(name) ?? []), group]);
  }
  for (const same of runs.values()) {
    if (same.length > 1) same.forEach((group, k) => (group.title += ` #${k + 1}`));
  }
}

/** Children in the order in which they run. */
function settle(group) {
  for (const child of group.children) if (child.isGroup) settle(child);
  group.children.sort((a, b) => a.position - b.position);
  const made = group.children.filter((child) => child.isGroup || child.inputs.length);
  group.position = (made[0] ?? group.children[0])?.position ?? 0;
}

function divide(group) {
  const { children } = group;
  if (children.length > CROWD) {
    const levels = Math.ceil(Math.log(children.length) / Math.log(CROWD / 1.5));
    const size = Math.ceil(children.length ** ((levels - 1) / levels));
    group.children = [];
    for (let k = 0; k < children.length; k += size) {
      const part = { ...newGroup(`${group.key}/part${k}`, "", group), isPart: true };
      part.children = children.slice(k, k + size);
      for (const child of part.children) child.group = part;
      part.position = part.children[0].position;
      group.children.push(part);
    }
  }
  for (const child of group.children) if (child.isGroup) divide(child);
}

/** What a folded group says of itself, summed up over its children. */
function count(group) {
  Object.assign(group, { operations: new Map(), nodes: 0, parameters: 0, first: Infinity, last: 0 });
  Object.assign(group, { norm: null, bad: false, born: "" });
  for (const child of group.children) {
    if (child.isGroup) count(child);
    const one = child.isGroup ? child : summaryOf(child);
    group.nodes += one.nodes;
    group.parameters += one.parameters;
    group.first = Math.min(group.first, one.first);
    group.last = Math.max(group.last, one.last);
    group.bad ||= one.bad;
    group.born ||= one.born;
    if (one.norm !== null) group.norm = larger(group.norm, one.norm);
    for (const [name, n] of one.operations) group.operations.set(name, (group.operations.get(name) ?? 0) + n);
  }
  if (group.isPart) group.title = partTitle(group);
}

function summaryOf(vertex) {
  const { kind, place, inputs, operation, shape, born } = vertex;
  const isMade = inputs.length > 0 && place > 0;
  return {
    operations: isMade && operation !== "select" ? [[operation, 1]] : [],
    nodes: place ? 1 : 0,
    parameters: kind === "parameter" ? sizeOf(shape) : 0,
    first: isMade ? place : Infinity,
    last: isMade ? place : 0,
    norm: normOf(vertex),
    bad: isBad(vertex),
    born: born ?? "",
  };
}

/** The most frequent operations of a group: "convolve, add ×2". */
function contentOf(group) {
  const often = [...group.operations].sort((a, b) => b[1] - a[1]);
  const told = often.slice(0, 3).map(([name, n]) => (n > 1 ? `${name} ×${n.toLocaleString("en")}` : name));
  return [...told, ...(often.length > 3 ? ["…"] : [])].join(", ");
}

function partTitle(group) {
  const names = new Set(group.children.map((child) => (child.isGroup ? child.title.replace(/ #\d+$/, "") : "")));
  const where = group.first === Infinity ? "leaves" : `nodes ${group.first}–${group.last}`;
  const [name] = names;
  return names.size === 1 && name && !group.children[0].isPart ? `${name}, ${where}` : where;
}

function sizeOf(shape) {
  return (shape.match(/\d+/g) ?? []).reduce((product, n) => product * Number(n), 1);
}

/** The larger of two norms: of null and any, the other; of NaN and any, NaN. */
function larger(a, b) {
  return a === null || Number.isNaN(b) || b > a ? b : a;
}

/** The norm of the gradient of a vertex or group; null without one. */
function normOf(item) {
  if (item.isGroup) return item.norm;
  return item.gradient ? Number(item.gradient.norm) : null;
}

function isBad(item) {
  if (item.isGroup) return item.bad;
  return Boolean(item.gradient?.bad || item.values?.bad || item.finite === false || item.born);
}

/** The innermost of what is drawn that contains this vertex: itself, or the outermost folded group around it. */
function shownFor(item) {
  let shown = item;
  for (let group = item.group; group; group = group.group) if (!group.open) shown = group;
  return shown;
}

/** All that is drawn: vertices and folded groups in order, and the open groups around them. */
function visible(root) {
  const items = [];
  const groups = [];
  const walk = (group) => {
    groups.push(group);
    for (const child of group.children) child.isGroup && child.open ? walk(child) : items.push(child);
  };
  walk(root);
  return { items, groups };
}

/** Edges between what is drawn, each with all that it stands for: where the last ends, and the largest contribution. */
function visibleEdges(edges) {
  const merged = new Map();
  for (const edge of edges) {
    const source = shownFor(edge.source);
    const target = shownFor(edge.target);
    if (source === target) continue;
    const key = `${source.key} ${target.key}`;
    if (!merged.has(key)) merged.set(key, { key, source, target, parts: [], end: 0, norm: null, bad: false });
    const made = merged.get(key);
    made.parts.push(edge);
    made.end = Math.max(made.end, edge.target.place);
    made.bad ||= Boolean(edge.born);
    if (edge.contribution != null) made.norm = larger(made.norm, Number(edge.contribution));
  }
  return [...merged.values()];
}

/** The outermost folded groups: those that could be opened next. */
function nextLevel(root) {
  const folded = visible(root).items.filter((item) => item.isGroup);
  const least = Math.min(...folded.map(depthOf));
  return folded.filter((group) => depthOf(group) === least);
}

function depthOf(item) {
  let depth = 0;
  for (let group = item.group; group; group = group.group) depth++;
  return depth;
}

/** How many boxes there would be if these groups were opened. */
function costOf(root, groups) {
  return visible(root).items.length + groups.reduce((sum, group) => sum + group.children.length - 1, 0);
}

/** Fold as the author of the picture asked for; else open level by level, as long as it fits on a page. */
function foldAtFirst({ root, groups }) {
  if (groups.some((group) => group.cluster?.folded)) {
    for (const group of groups) group.open = !group.isPart && !group.cluster.folded;
    return;
  }
  for (let level = nextLevel(root); level.length && costOf(root, level) <= PAGE; level = nextLevel(root)) {
    for (const group of level) group.open = true;
  }
}

/** Open the groups around a vertex. */
function reveal(item) {
  for (let group = item.group; group; group = group.group) group.open = true;
}
