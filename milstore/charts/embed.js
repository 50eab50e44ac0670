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

  async function draw(figure) {
    const target = figure.querySelector(".drawing");
    try {
      const spec = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
      const drawn = await vegaEmbed(target, spec, { ...embedding, downloadFileName: figure.dataset.name });
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

  async function drawAll() {
    const waiting = new Set(document.querySelectorAll("figure.chart"));
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

  drawAll();
})();
