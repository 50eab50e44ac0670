"use strict";
// The cases inside the frame that is dragged in the overview's chart choose the rows of the table and the gallery.
addEventListener("drawn", (event) => {
  if (event.target.dataset.name !== "overview") return;
  const view = event.detail;
  const items = document.querySelectorAll("#overview-table tbody tr, #overview-gallery .card");
  const rows = document.querySelectorAll("#overview-table tbody tr");
  const words = document.getElementById("chosen");
  const all = document.getElementById("show-all");

  function inside(item, frame) {
    return Object.entries(frame).every(([name, [low, high]]) => {
      const value = Number(item.dataset[name]);
      return value >= Math.min(low, high) && value <= Math.max(low, high);
    });
  }

  function choose(name, frame) {
    const framed = Boolean(frame) && Object.keys(frame).length > 0;
    for (const item of items) item.hidden = framed && !inside(item, frame);
    const count = [...rows].filter((row) => !row.hidden).length;
    words.textContent = framed ? `${count} of ${rows.length} cases` : `all ${rows.length} cases`;
    all.hidden = !framed;
  }

  view.addSignalListener("brush", choose);
  all.addEventListener("click", () => view.data("brush_store", []).runAsync());
});
