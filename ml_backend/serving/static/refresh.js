// Keeps parts of a page up to date: <div data-refresh="ADDRESS" data-every="SECONDS"> is asked for
// anew while the page is seen, and only replaced where it changed. Where the answer is 205 (reset
// content), what was waited for is there, and the whole page is loaded again.
"use strict";

// As a browser writes it, so that what the page came with can be compared with an answer.
const normalise = (html) => {
  const parsed = document.createElement("template");
  parsed.innerHTML = html;
  return parsed.innerHTML.trim();
};

for (const part of document.querySelectorAll("[data-refresh]")) {
  let shown = normalise(part.innerHTML);
  const refresh = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(part.dataset.refresh, { headers: { Accept: "text/html" } });
      if (answer.redirected || answer.status === 205) return location.reload(); // or the login ended
      const text = answer.ok ? normalise(await answer.text()) : shown;
      // Nothing is taken away from under a person's hands.
      if (text !== shown && !part.contains(document.activeElement)) {
        part.innerHTML = text;
        shown = text;
      }
      part.removeAttribute("data-lost");
    } catch {
      part.setAttribute("data-lost", ""); // the server is away; it is asked again
    }
  };
  setInterval(refresh, 1000 * Number(part.dataset.every || 5));
  document.addEventListener("visibilitychange", refresh);
}

// A change that matters is asked about first.
for (const form of document.querySelectorAll("form[data-confirm]")) {
  const dialog = document.getElementById(form.dataset.confirm);
  if (!dialog) continue;
  form.addEventListener("submit", (event) => {
    if (dialog.returnValue === "yes") return;
    event.preventDefault();
    dialog.showModal();
  });
  dialog.addEventListener("close", () => dialog.returnValue === "yes" && form.requestSubmit());
}
