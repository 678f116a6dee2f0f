// The graph of the page: vertices in the order of the tape, inside groups that fold. Nothing is drawn here.
//
// A group is one run of a scope. Runs follow each other on the tape, so arrows never form a cycle, whatever is folded.
// A group with too many children for a reader is divided into parts of about equal length, recursively.

const MOST_CHILDREN = 60; // a group with more is divided
const PAGE = 60; // boxes that are shown at first
const LIMIT = 600; // boxes that can be shown at the same time
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

/** The vertices, edges and groups of the data. An item is a vertex or a group: what can be drawn as one box. */
function readGraph(data) {
  const vertices = data.vertices.map((vertex, order) => ({ ...BLANK, ...vertex, order, inputs: [], uses: [] }));
  const byKey = new Map(vertices.map((vertex) => [vertex.key, vertex]));
  const edges = (data.edges ?? []).map((edge) => ({
    formula: "",
    leads_to: [],
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
  numberRuns(groups.values());
  sortChildren(root);
  divide(root);
  summarize(root);
  const outputs = vertices.filter((vertex) => vertex.kind === "output" && vertex.phase === "forward");
  const { dtype, shown = [], notes = [] } = data;
  const isRecorded = shown.includes("backward"); // whether the backward pass is on the tape itself
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

/** The call of a vertex with the labels of its operands: mean(μ) instead of mean(mu). */
function relabeled({ call, inputs }) {
  return inputs.reduce(
    (text, { source: { name, label } }) =>
      name && label && name !== label && /^\w+$/.test(name)
        ? text.replace(new RegExp(`(?<![\\w.])${name}(?![\\w=])`, "g"), () => label)
        : text,
    call,
  );
}

/** The position of a vertex in its group; that of leaves and constants is just before their first use. */
function positionOf(vertex) {
  const first = vertex.uses.reduce((least, edge) => Math.min(least, edge.target.order), Infinity);
  return vertex.inputs.length || first === Infinity ? vertex.order : first - 0.5;
}

function groupsIn(group) {
  return group.children.filter((child) => child.isGroup).flatMap((child) => [child, ...groupsIn(child)]);
}

/** Number the runs of the same scope inside the same group. */
function numberRuns(groups) {
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

/** Sort the children of all groups in the order in which they run. */
function sortChildren(group) {
  for (const child of group.children) if (child.isGroup) sortChildren(child);
  group.children.sort((a, b) => a.position - b.position);
  const computed = group.children.filter((child) => child.isGroup || child.inputs.length);
  group.position = (computed[0] ?? group.children[0])?.position ?? 0;
}

function divide(group) {
  const { children } = group;
  if (children.length > MOST_CHILDREN) {
    const levels = Math.ceil(Math.log(children.length) / Math.log(MOST_CHILDREN / 1.5));
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

/** Set the totals of a group over its children, which a folded group shows. */
function summarize(group) {
  Object.assign(group, { operations: new Map(), nodes: 0, parameters: 0, first: Infinity, last: 0 });
  Object.assign(group, { norm: null, bad: false, arises: "" });
  for (const child of group.children) {
    if (child.isGroup) summarize(child);
    const totals = child.isGroup ? child : totalsOf(child);
    group.nodes += totals.nodes;
    group.parameters += totals.parameters;
    group.first = Math.min(group.first, totals.first);
    group.last = Math.max(group.last, totals.last);
    group.bad ||= totals.bad;
    group.arises ||= totals.arises;
    if (totals.norm !== null) group.norm = larger(group.norm, totals.norm);
    for (const [name, n] of totals.operations) group.operations.set(name, (group.operations.get(name) ?? 0) + n);
  }
  if (group.isPart) group.title = partTitle(group);
}

function totalsOf(vertex) {
  const { kind, place, inputs, operation, shape, arises } = vertex;
  const isComputed = inputs.length > 0 && place > 0;
  return {
    operations: isComputed && operation !== "select" ? [[operation, 1]] : [],
    nodes: place ? 1 : 0,
    parameters: kind === "parameter" ? sizeOf(shape) : 0,
    first: isComputed ? place : Infinity,
    last: isComputed ? place : 0,
    norm: normOf(vertex),
    bad: isBad(vertex),
    arises: arises ?? "",
  };
}

/** The most frequent operations of a group: "convolve, add ×2". */
function contentOf(group) {
  const counts = [...group.operations].sort((a, b) => b[1] - a[1]);
  const items = counts.slice(0, 3).map(([name, n]) => (n > 1 ? `${name} ×${n.toLocaleString("en")}` : name));
  return [...items, ...(counts.length > 3 ? ["…"] : [])].join(", ");
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

/** The larger of two norms: NaN if one is NaN, the other one if one is null. */
function larger(a, b) {
  return a === null || Number.isNaN(b) || b > a ? b : a;
}

/** The norm of the gradient of a vertex, or the largest one in a group; null if there is none. */
function normOf(item) {
  if (item.isGroup) return item.norm;
  return item.gradient ? Number(item.gradient.norm) : null;
}

/** Whether the value or gradient of a vertex, or of any in a group, is not finite. */
function isBad(item) {
  if (item.isGroup) return item.bad;
  return Boolean(item.gradient?.nonfinite || item.values?.nonfinite || item.finite === false || item.arises);
}

/** The item that is drawn for this one: itself, or the outermost folded group around it. */
function shownFor(item) {
  let shown = item;
  for (let group = item.group; group; group = group.group) if (!group.open) shown = group;
  return shown;
}

/** Everything that is drawn: vertices and folded groups in order, and the open groups around them. */
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

/** Edges between items that are drawn, each with its parts, the place of its last end and its largest contribution. */
function visibleEdges(edges) {
  const merged = new Map();
  for (const edge of edges) {
    const source = shownFor(edge.source);
    const target = shownFor(edge.target);
    if (source === target) continue;
    const key = `${source.key} ${target.key}`;
    if (!merged.has(key)) merged.set(key, { key, source, target, parts: [], end: 0, norm: null, bad: false });
    const bundle = merged.get(key);
    bundle.parts.push(edge);
    bundle.end = Math.max(bundle.end, edge.target.place);
    bundle.bad ||= Boolean(edge.arises);
    if (edge.contribution != null) bundle.norm = larger(bundle.norm, Number(edge.contribution));
  }
  return [...merged.values()];
}

/** The outermost folded groups, which can be unfolded next. */
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

/** How many boxes there would be if these groups were unfolded. */
function costOf(root, groups) {
  return visible(root).items.length + groups.reduce((sum, group) => sum + group.children.length - 1, 0);
}

/** Fold as the options of the picture say; without such options, unfold level by level while it fits on a page. */
function foldAtFirst({ root, groups }) {
  if (groups.some((group) => group.cluster?.folded)) {
    for (const group of groups) group.open = !group.isPart && !group.cluster.folded;
    return;
  }
  for (let level = nextLevel(root); level.length && costOf(root, level) <= PAGE; level = nextLevel(root)) {
    for (const group of level) group.open = true;
  }
}

/** Unfold the groups around a vertex. */
function reveal(item) {
  for (let group = item.group; group; group = group.group) group.open = true;
}
