// Keeps parts of the page fresh: an element with data-live fetches its content from there, every data-every milliseconds, while the
// page is visible. Content that says data-ended stops it.
"use strict";
for (const part of document.querySelectorAll("[data-live]")) {
  const every = Number(part.dataset.every);
  const refresh = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(part.dataset.live, { headers: { Accept: "text/html" } });
        if (answer.ok) {
          const text = await answer.text();
          const busy = part.contains(document.activeElement) && document.activeElement !== document.body;
          if (!busy && text !== part.dataset.last) {
            part.innerHTML = text;
            part.dataset.last = "";
          }
          document.documentElement.classList.remove("stale");
          if (part.querySelector("[data-ended]")) return;
        } else {
          document.documentElement.classList.add("stale");
        }
      } catch {
        document.documentElement.classList.add("stale");
      }
    }
    setTimeout(refresh, every);
  };
  setTimeout(refresh, every);
}
