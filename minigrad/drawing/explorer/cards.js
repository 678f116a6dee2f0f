// Cards next to the box or arrow that the mouse or the focus is on.

/** Show the card of a vertex or group next to its box; hide it if there is no item. */
function showCard(item, box = null) {
  const tip = byId("tip");
  tip.hidden = !item;
  if (!item) return;
  tip.replaceChildren(...(item.isGroup ? groupCard(item) : vertexCard(item)).filter((part) => part !== null));
  box.setAttribute("aria-describedby", "tip");
  placeCard(tip, box.getBoundingClientRect());
}

function showEdgeCard(edge, event) {
  const tip = byId("tip");
  tip.hidden = false;
  const parts = edge.parts
    .slice(0, 6)
    .map((part) =>
      element(
        "p",
        "",
        bdi(nameOf(part.source)),
        " → ",
        bdi(nameOf(part.target)),
        part.formula ? element("span", "", ": contribution ", bdi(part.formula, "derivative")) : null,
        part.contribution == null ? null : ` with norm ${formatNumber(part.contribution)}`,
      ),
    );
  const more = edge.parts.length - parts.length;
  tip.replaceChildren(...parts, more > 0 ? paragraph(`and ${more} more`) : "");
  placeCard(tip, new DOMRect(event.clientX, event.clientY, 0, 12));
}

function placeCard(tip, { left, right, top, bottom }) {
  const { offsetWidth: w, offsetHeight: h } = tip;
  const isBelow = bottom + 8 + h < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(innerWidth - w - 8, (left + right - w) / 2))}px`;
  tip.style.top = `${isBelow ? bottom + 8 : Math.max(8, top - h - 8)}px`;
}

/** The card of a vertex. */
function vertexCard(vertex) {
  const { kind, place, shape, dtype, scope } = vertex;
  const contributions = contributionsOf(vertex).map((edge) => {
    const norm = edge.contribution == null ? "" : ` (norm ${formatNumber(edge.contribution)})`;
    return paragraph("to ", bdi(nameOf(edge.source)), ": ", bdi(edge.formula || "a contribution", "derivative"), norm);
  });
  return [
    element("h3", "", bdi(nameOf(vertex)), element("small", "", ` ${kind}${place ? `, node ${place}` : ""}`)),
    vertex.inputs.length ? equation(vertex) : null,
    vertex.inputs.length ? element("p", "call", bdi(vertex.call)) : null,
    paragraph(`shape ${shape}, ${dtype}`, ...(scope ? [", in ", bdi(scope)] : [])),
    statistics("value", vertex.values),
    statistics("gradient", vertex.gradient),
    contributions.length ? paragraph("Its contributions, for its gradient v:") : null,
    ...contributions,
    ...warnings(vertex),
  ];
}

/** The card of a group. */
function groupCard(group) {
  const { cluster } = group;
  const shapes = cluster?.shapes ?? [];
  return [
    element(
      "h3",
      "",
      bdi(cluster?.scope ?? group.title),
      element("small", "", group.open ? " click to fold" : " click to unfold"),
    ),
    paragraph(`${counted(group.nodes, "node", "nodes")}, ${counted(group.parameters, "parameter", "parameters")}`),
    ...shapes.slice(0, 8).map(([name, shape]) => paragraph(bdi(name), ` ${shape}`)),
    shapes.length > 8 ? paragraph(`and ${shapes.length - 8} more`) : null,
    group.norm === null ? null : paragraph(`largest gradient: norm ${formatNumber(group.norm)}`),
    group.bad ? element("p", "broken", group.arises ? `${group.arises} arises in it.` : "Not everything in it is finite.") : null,
  ];
}
