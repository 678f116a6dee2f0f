// The steps along the tape, forwards and then backwards, and the list of its nodes.

const ROW = 24; // height of a row of the list

/** The phase and the vertex of step k: no vertex at 0, then one node of the tape at a time, forwards and backwards. */
function stepAt(tape, k) {
  const n = tape.length;
  if (k === 0) return { phase: "whole", vertex: null };
  return k <= n ? { phase: "forward", vertex: tape[k - 1] } : { phase: "backward", vertex: tape[2 * n - k] };
}

/** The edges along which a node contributes to gradients: not those of constants, nor where no gradient arrives. */
function contributionsOf(vertex) {
  return vertex.inputs.filter(isContribution);
}

function isContribution(edge) {
  return edge.kind === "operand" && (edge.contribution != null || Boolean(edge.formula) || Boolean(edge.target.gradient));
}

/** The number of contributions to the gradient of a vertex, and how many have arrived at this place of the walk. */
function arrivals(vertex, place) {
  const contributions = vertex.uses.filter(isContribution);
  return { total: contributions.length, arrived: contributions.filter((edge) => edge.target.place >= place).length };
}

/** The Wengert list. Only the visible rows are in the document, so long tapes scroll as smoothly as short ones. */
class TapeList {
  constructor(tape, scale, choose) {
    Object.assign(this, { tape, scale, choose, current: null, isBackward: false });
    this.list = byId("tape");
    this.space = element("div", "space");
    this.space.setAttribute("role", "presentation");
    this.space.style.height = `${tape.length * ROW}px`;
    this.list.append(this.space);
    this.list.addEventListener("scroll", () => this.fill());
    this.list.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.fill()).observe(this.list);
  }

  key(event) {
    const move = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (!move || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    const k = (this.current ? this.current.place - 1 : -1) + move;
    this.choose(this.tape[Math.max(0, Math.min(this.tape.length - 1, k))]);
  }

  show(vertex, isBackward) {
    Object.assign(this, { current: vertex, isBackward });
    if (vertex) {
      const k = this.tape.indexOf(vertex);
      const { scrollTop, clientHeight } = this.list;
      const room = Math.min(3 * ROW, clientHeight / 3);
      if (k * ROW < scrollTop + room) this.list.scrollTop = k * ROW - room;
      if ((k + 1) * ROW > scrollTop + clientHeight - room) this.list.scrollTop = (k + 1) * ROW - clientHeight + room;
    }
    this.fill();
  }

  fill(all = false) {
    const { scrollTop, clientHeight } = this.list;
    const from = all ? 0 : Math.max(0, Math.floor(scrollTop / ROW) - 8);
    const to = all ? this.tape.length : Math.ceil((scrollTop + clientHeight) / ROW) + 8;
    this.space.replaceChildren(...this.tape.slice(from, to).map((vertex, k) => this.row(vertex, from + k)));
    if (this.current) this.list.setAttribute("aria-activedescendant", `row-${this.current.key}`);
    else this.list.removeAttribute("aria-activedescendant");
  }

  row(vertex, k) {
    const isCurrent = vertex === this.current;
    const swatch = element("span", "swatch");
    const norm = normOf(vertex);
    const isKnown = !this.current || (this.isBackward && vertex.place >= this.current.place);
    if (norm !== null && isKnown) paint(swatch, this.scale, norm, isBad(vertex));
    const row = element(
      "div",
      "row",
      element("span", "place", String(vertex.place)),
      swatch,
      bdi(nameOf(vertex), "name"),
      bdi(vertex.inputs.length ? vertex.call : [vertex.kind, vertex.scope].filter(Boolean).join(" of "), "call"),
      element("span", "shape", vertex.shape),
    );
    row.id = `row-${vertex.key}`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(isCurrent));
    row.setAttribute("aria-setsize", this.tape.length);
    row.setAttribute("aria-posinset", k + 1);
    row.style.top = `${k * ROW}px`;
    row.addEventListener("click", () => this.choose(vertex));
    return row;
  }
}
