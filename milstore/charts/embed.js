"use strict";
// Draws every figure of the page, those in sight first. Nothing is ever loaded: images are inside the data.
(() => {
  const refuse = () => Promise.reject(new Error("this page loads nothing"));
  const picture = /^data:image\/(png|jpeg|webp);base64,/;
  const loader = {
    load: refuse,
    file: refuse,
    http: refuse,
    sanitize: (address, options) =>
      options && options.context === "image" && picture.test(address) ? Promise.resolve({ href: address }) : refuse(),
  };
  const embedding = {
    mode: "vega-lite",
    renderer: "svg",
    // Expressions are interpreted, not compiled: the page's policy allows no eval.
    ast: true,
    loader,
    actions: { export: true, source: false, compiled: false, editor: false },
  };

  const finished = new Map();

  // Pixels inside a figure's padding: the drawing itself is as wide as what was drawn. Inside a closed fold a figure may have
  // no width; then it will have that of what holds the fold.
  function roomOf(figure) {
    const { paddingLeft, paddingRight } = getComputedStyle(figure);
    let holder = figure;
    while (!holder.clientWidth && holder.parentElement) holder = holder.parentElement;
    return Math.floor(holder.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight));
  }

  async function draw(figure) {
    const target = figure.querySelector(".drawing");
    try {
      const spec = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
      const room = roomOf(figure);
      const options = { ...embedding, downloadFileName: figure.dataset.name };
      finished.get(figure)?.drawn.finalize();
      const drawn = await fitting.draw(spec, target, room, (fitted) => vegaEmbed(target, fitted, options));
      finished.set(figure, { drawn, room });
      figure.dispatchEvent(new CustomEvent("drawn", { detail: drawn.view, bubbles: true }));
      figure.dataset.state = "drawn";
    } catch (error) {
      figure.dataset.state = "failed";
      target.textContent = "This chart could not be drawn.";
      console.error(error);
    }
  }

  function distance(figure) {
    const box = figure.getBoundingClientRect();
    return Math.max(box.top - window.innerHeight, -box.bottom, 0);
  }

  async function drawAll(waiting) {
    while (waiting.size) {
      let nearest = null;
      for (const figure of waiting) {
        if (nearest === null || distance(figure) < distance(nearest)) nearest = figure;
      }
      waiting.delete(nearest);
      await draw(nearest);
      // Let the reader scroll between two charts.
      await new Promise((resume) => setTimeout(resume));
    }
    document.documentElement.dataset.drawn = "all";
  }

  // A page that is made wider or narrower draws again what no longer fits, one time after the last change.
  let pending = 0;
  function refit() {
    clearTimeout(pending);
    pending = setTimeout(() => {
      const unfit = [...finished].filter(([figure, { room }]) => {
        const now = roomOf(figure);
        return now > 0 && Math.abs(now - room) > 8;
      });
      if (!unfit.length) return;
      delete document.documentElement.dataset.drawn;
      drawAll(new Set(unfit.map(([figure]) => figure)));
    }, 150);
  }

  drawAll(new Set(document.querySelectorAll("figure.chart"))).then(() => {
    const watching = new ResizeObserver(refit);
    for (const figure of finished.keys()) watching.observe(figure);
  });
})();
