"use strict";
// A case that is picked, or that a link leads to, is opened; on paper all of them are.
(() => {
  const folds = [...document.querySelectorAll("details.case")];
  const pick = document.getElementById("pick");
  const unfold = document.getElementById("unfold");

  function show(id) {
    const article = id ? document.getElementById(id) : null;
    const fold = article?.querySelector("details.case");
    if (!fold) return;
    fold.open = true;
    article.scrollIntoView();
  }

  const follow = () => show(decodeURIComponent(location.hash.slice(1)));
  addEventListener("hashchange", follow);
  // A link to the case where the reader is already changes no hash.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='#case-']");
    if (link) show(link.getAttribute("href").slice(1));
  });
  follow();

  pick?.addEventListener("change", () => {
    for (const fold of folds) fold.open = fold.closest("article").id === pick.value;
    show(pick.value);
  });

  const words = () => {
    unfold.textContent = folds.every((fold) => fold.open) ? "Fold all" : "Open all";
  };
  unfold?.addEventListener("click", () => {
    const open = !folds.every((fold) => fold.open);
    for (const fold of folds) fold.open = open;
  });
  for (const fold of folds) fold.addEventListener("toggle", words);
  if (unfold) words();

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = folds.filter((fold) => !fold.open);
    for (const fold of closed) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of closed) fold.open = false;
    closed = [];
  });
})();
