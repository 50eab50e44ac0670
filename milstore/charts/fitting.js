"use strict";
// Makes a chart as wide as the page lets it be. Plots are drawn wider or narrower, and letters keep their size; what is a
// picture (photos, maps: whatever has no axis) keeps its shape, and is made larger or smaller as a whole.
const fitting = (() => {
  const PARTS = ["hconcat", "vconcat", "concat"];
  const LEAST = 0.4, MOST = 2.4; // how much narrower or wider a plot may be drawn than it is on paper
  // A chart may say that its plots need more (usermeta.least), such as those with words in cells.
  const CRAMPED = 0.62; // below this, what stands side by side is put below one another
  const SMALLEST = 0.75, LARGEST = 1.5; // of the whole drawing: the smallest text stays above seven pixels
  const ruler = document.createElement("canvas").getContext("2d");

  const copy = (spec) => ({ ...structuredClone({ ...spec, datasets: undefined }), datasets: spec.datasets });

  const units = (view) => (view.layer ? view.layer.flatMap((part) => units({ ...part, encoding: { ...view.encoding, ...part.encoding } })) : [view]);
  const isPlot = (view) => {
    if (typeof view.width !== "number") return false;
    const found = units(view);
    const isPicture = found.some((unit) => (unit.mark?.type ?? unit.mark) === "image");
    const x = (unit) => unit.encoding?.x ?? {};
    return !isPicture && found.some((unit) => ("field" in x(unit) || "datum" in x(unit)) && x(unit).axis !== null);
  };

  const distinct = (field, datasets) =>
    Math.max(1, ...Object.values(datasets ?? {}).map((rows) => new Set(rows.map((row) => row[field])).size));
  const across = (view, datasets) => {
    const { facet, columns } = view;
    if (facet.row || facet.column) return facet.column ? distinct(facet.column.field, datasets) : 1;
    return Math.min(columns ?? Infinity, distinct(facet.field, datasets));
  };

  // Pixels of plots that stand side by side: what can be made wider or narrower.
  function flexible(view, datasets) {
    const sum = (parts) => parts.reduce((total, part) => total + flexible(part, datasets), 0);
    if (view.spec) return across(view, datasets) * flexible(view.spec, datasets);
    if (view.hconcat) return sum(view.hconcat);
    if (view.vconcat) return Math.max(...view.vconcat.map((part) => flexible(part, datasets)));
    if (view.concat) {
      const columns = view.columns ?? view.concat.length, rows = [];
      for (let i = 0; i < view.concat.length; i += columns) rows.push(sum(view.concat.slice(i, i + columns)));
      return Math.max(...rows);
    }
    return isPlot(view) ? view.width : 0;
  }

  function widen(view, factor) {
    if (view.spec) return widen(view.spec, factor);
    for (const name of PARTS) if (view[name]) return view[name].forEach((part) => widen(part, factor));
    if (!isPlot(view)) return;
    const before = view.width;
    view.width = Math.max(40, Math.round(before * factor));
    shift(view, view.width / before);
  }

  // Words that stand at a pixel of a plot, beside its end say, stay there.
  function shift(view, factor) {
    if (typeof view.encoding?.x?.value === "number") view.encoding.x.value *= factor;
    view.layer?.forEach((part) => shift(part, factor));
  }

  // Half as many panels side by side; true where that was possible.
  function stack(view, datasets) {
    if (view.spec && !view.facet.row && !view.facet.column && across(view, datasets) > 1) {
      view.columns = Math.ceil(across(view, datasets) / 2);
      return true;
    }
    if (view.concat && (view.columns ?? view.concat.length) > 1) {
      view.columns = Math.ceil((view.columns ?? view.concat.length) / 2);
      return true;
    }
    if (view.hconcat && view.resolve?.scale?.y !== "shared" && view.hconcat.every((part) => flexible(part, datasets) > 0)) {
      view.vconcat = view.hconcat;
      delete view.hconcat;
      return true;
    }
    return view.vconcat ? view.vconcat.map((part) => stack(part, datasets)).some(Boolean) : false;
  }

  function wrapped(text, font, room) {
    ruler.font = font;
    const lines = [];
    let line = "";
    for (const word of text.split(" ")) {
      const longer = line ? `${line} ${word}` : word;
      if (line && ruler.measureText(longer).width > room) {
        lines.push(line);
        line = word;
      } else line = longer;
    }
    return [...lines, line];
  }

  // The title in lines that fit; lines below it are broken further where they must be.
  function wrapTitle(spec, room) {
    const title = spec.title;
    if (!title || typeof title === "string") return;
    const { font = "sans-serif", title: sizes = {} } = spec.config ?? {};
    const list = (text) => (Array.isArray(text) ? text : [text ?? ""]);
    title.text = wrapped(list(title.text).join(" "), `bold ${sizes.fontSize ?? 14}px ${font}`, room);
    const small = `${sizes.subtitleFontSize ?? 11}px ${font}`;
    if (title.subtitle) title.subtitle = list(title.subtitle).flatMap((line) => wrapped(line, small, room));
  }

  // Draws a chart into `target`, which has `room` pixels. `embed` draws a specification and gives its view.
  async function draw(spec, target, room, embed) {
    const width = () => target.querySelector("svg").width.baseVal.value;
    const usable = room - 40; // the menu stands at the right
    let fitted = copy(spec);
    wrapTitle(fitted, usable);
    let drawn = await embed(fitted);
    const again = async () => {
      drawn.finalize();
      drawn = await embed(fitted);
    };
    const factor = () => {
      const plots = flexible(fitted, spec.datasets);
      return plots ? (room - (width() - plots)) / plots : 1;
    };
    const narrowest = spec.usermeta?.least ?? LEAST;
    for (let i = 0; i < 3 && factor() < Math.max(CRAMPED, narrowest) && stack(fitted, spec.datasets); i += 1) await again();
    const wanted = Math.min(Math.max(factor(), narrowest), MOST);
    if (Math.abs(wanted - 1) > 0.02) {
      widen(fitted, wanted);
      await again();
    }
    const svg = target.querySelector("svg");
    const whole = Math.min(Math.max(room / width(), SMALLEST), flexible(fitted, spec.datasets) ? 1 : LARGEST);
    svg.style.width = `${width() * whole}px`;
    svg.style.height = "auto";
    return drawn;
  }

  return { draw };
})();
