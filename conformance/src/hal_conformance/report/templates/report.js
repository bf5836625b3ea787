"use strict";
(() => {
  const form = document.querySelector(".filter");
  const rows = [...document.querySelectorAll(".clauses > li")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const field = (name) => document.getElementById(name);
  const narrow = () => {
    const words = field("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [state, level, feature, profile] = ["state", "level", "feature", "profile"].map((name) => field(name).value);
    let shown = 0;
    rows.forEach((row, index) => {
      const data = row.dataset;
      const fits = (!state || data.state === state) && (!level || data.level === level)
        && (!feature || data.feature === feature) && (!profile || data.profiles.split(" ").includes(profile))
        && words.every((word) => texts[index].includes(word));
      row.hidden = !fits;
      shown += fits;
    });
    form.querySelector("output").value = `${shown} of ${rows.length} clauses`;
    document.querySelector(".empty").hidden = shown > 0;
  };
  const show = () => {  // a link to a clause leads to it whatever is filtered, and opens it
    const row = rows.find((one) => one.id === decodeURIComponent(location.hash.slice(1)));
    if (!row) return;
    if (row.hidden) { form.reset(); narrow(); }
    row.querySelector("details").open = true;
    row.scrollIntoView();
  };
  form.hidden = false;
  form.addEventListener("input", narrow);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(narrow));
  for (const link of document.querySelectorAll("[data-profile]")) {
    link.addEventListener("click", () => { form.reset(); field("profile").value = link.dataset.profile; narrow(); });
  }
  if (navigator.clipboard) {
    for (const button of document.querySelectorAll(".copy")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(button.previousElementSibling.textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
    }
  }
  narrow();
  window.addEventListener("hashchange", show);
  show();
})();
