// What the page says of a step, a vertex or a group: elements to be shown in the panel or on a card.

/** What this step does, in words and numbers. */
function explain({ phase, vertex }, graph) {
  if (phase === "whole") return overview(graph);
  return phase === "forward" ? forwards(vertex) : backwards(vertex, graph);
}

function overview({ tape, isRecorded }) {
  const isBare = !isRecorded && !tape.some((vertex) => vertex.gradient);
  const leaves = tape.filter((vertex) => !vertex.inputs.length).length;
  return [
    element("h3", "", "The whole graph"),
    element("p", "", `${tape.length.toLocaleString("en")} lines, ${leaves.toLocaleString("en")} of them leaves. `,
      "Press → or play to walk along the tape."),
    isRecorded ? element("p", "", "The backward pass was recorded: its lines follow those of the forward pass.") : null,
    isBare ? element("p", "missing", "No gradients are known here: the steps backwards show the rules only.") : null,
  ];
}

function forwards(vertex) {
  const phase = vertex.phase === "forward" ? "forward" : "recorded backward pass,";
  const constants = vertex.inputs.filter((edge) => edge.kind === "constant").map((edge) => edge.source);
  return [
    element("h3", "", element("span", "phase", phase), ` line ${vertex.place}`),
    vertex.inputs.length
      ? element("p", "equation", bdi(nameOf(vertex)), " = ", bdi(vertex.formula || vertex.call))
      : element("p", "", bdi(nameOf(vertex), "gradient"), vertex.kind === "parameter" ? " is a parameter." : " is a leaf: no operation made it."),
    statistics("value", vertex.values),
    constants.length ? element("p", "", "Constants: ", ...list(constants.map((c) => bdi(nameOf(c))))) : null,
    ...warnings(vertex),
  ];
}

function backwards(vertex, graph) {
  const { of } = arrived(vertex, vertex.place);
  const isLeaf = !vertex.inputs.length;
  const shares = sharesOf(vertex);
  const sum = of === 0 ? "where the backward pass begins" : of === 1 ? "complete with its only share" : `complete: the sum of its ${of} shares`;
  return [
    element("h3", "", element("span", "phase", "backward"), ` line ${vertex.place}`),
    element("p", "adjoint", gradientOf(vertex, graph), " ", sum, isLeaf ? ". It is the leaf's .grad." : "."),
    statistics("", vertex.gradient),
    shares.length ? element("p", "", element("i", "", "v"), " = ", gradientOf(vertex, graph), " is read, and each operand gets its share:") : null,
    shares.length ? element("div", "shares", ...shares.map((edge) => share(edge, vertex, graph))) : null,
    isLeaf || shares.length ? null : element("p", "missing", "No gradient passes through this line."),
    ...warnings(vertex),
  ];
}

function share(edge, vertex, graph) {
  const { of, come } = arrived(edge.source, vertex.place);
  const norm = edge.share == null ? null : element("span", "norm", "‖·‖ = ", brief(edge.share));
  const left = of - come;
  return element("div", "share",
    element("span", "to", gradientOf(edge.source, graph), come > 1 ? " += " : " = "),
    bdi(edge.formula || "share", "derivative"), norm,
    element("span", "come", of === 1 ? "its only share" : left ? `${come} of ${of} shares have come` : `the last of ${of} shares`));
}

function gradientOf(vertex, { outputs }) {
  const output = outputs.length === 1 && outputs[0].label;
  return element("span", "gradient", "d", output ? bdi(output) : "l", "/d", bdi(nameOf(vertex)));
}

function statistics(title, numbers) {
  if (!numbers) return null;
  const { norm, mean, std, low, high, bad } = numbers;
  const middle = Math.abs(mean) < 1e-12 * std ? 0 : mean; // a rounding error
  const told = low === high ? `all ${brief(low)}` : `mean ${brief(middle)} ± ${brief(std)}, from ${brief(low)} to ${brief(high)}`;
  return element("p", "statistics", title ? `${title}: ` : "", `norm ${brief(norm)}, ${told}`,
    bad ? element("b", "broken", `, ${bad} not finite`) : null);
}

function warnings(vertex) {
  return [
    vertex.born ? element("p", "broken", vertex.born) : null,
    vertex.verdict ? element("p", vertex.verdict.ok ? "right" : "wrong", vertex.verdict.told) : null,
  ];
}

function list(parts) {
  return parts.flatMap((part, k) => (k ? [", ", part] : [part]));
}

/** The card of a vertex. */
function vertexCard(vertex) {
  const shares = sharesOf(vertex).map((edge) => element("p", "", "to ", bdi(nameOf(edge.source)), ": ",
    bdi(edge.formula || "a share", "derivative"), edge.share == null ? "" : ` (norm ${brief(edge.share)})`));
  return [
    element("h3", "", bdi(nameOf(vertex)), element("small", "", ` ${vertex.kind}${vertex.place ? `, line ${vertex.place}` : ""}`)),
    vertex.inputs.length ? element("p", "equation", bdi(vertex.formula || vertex.call)) : null,
    vertex.inputs.length && vertex.formula ? element("p", "call", bdi(vertex.call)) : null,
    element("p", "", `shape ${vertex.shape}, ${vertex.dtype}`, vertex.scope ? element("span", "", ", in ", bdi(vertex.scope)) : null),
    statistics("value", vertex.values),
    statistics("gradient", vertex.gradient),
    shares.length ? element("p", "", "It hands back, of its gradient v,") : null,
    ...shares,
    ...warnings(vertex),
  ];
}

/** The card of a group. */
function groupCard(group) {
  const { cluster } = group;
  const shapes = cluster?.shapes ?? [];
  return [
    element("h3", "", bdi(cluster?.scope ?? group.title), element("small", "", group.open ? " click to fold" : " click to unfold")),
    element("p", "", `${group.lines.toLocaleString("en")} lines, ${group.parameters.toLocaleString("en")} parameters`),
    ...shapes.slice(0, 8).map(([name, shape]) => element("p", "", bdi(name), ` ${shape}`)),
    shapes.length > 8 ? element("p", "", `and ${shapes.length - 8} more`) : null,
    group.norm === null ? null : element("p", "", `largest gradient: norm ${brief(group.norm)}`),
    group.bad ? element("p", "broken", group.born || "Not everything in it is finite.") : null,
  ];
}
