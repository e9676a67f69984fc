// Keeps an open page up to date. Without it the page is complete, and as old as it looks.
"use strict";
(() => {
  const said = document.getElementById("live-state");
  if (!document.querySelector("[data-live]") || !window.EventSource) return;
  let busy = false;
  let again = false;

  const fits = (element) => {
    const focus = document.activeElement;
    const picked = document.getSelection();
    const selecting = picked && !picked.isCollapsed && element.contains(picked.anchorNode);
    return !selecting && !(focus && element.contains(focus) && focus.matches("input, select, textarea"));
  };

  const replace = (element, fresh) => {
    if (!fresh || fresh.innerHTML === element.dataset.seen || !fits(element)) return;
    element.dataset.seen = fresh.innerHTML;
    const open = new Set([...element.querySelectorAll("details[open]")].map((one) => one.id));
    const focus = element.contains(document.activeElement) ? place(element, document.activeElement) : -1;
    element.replaceChildren(...fresh.childNodes);
    element.className = fresh.className;
    for (const one of element.querySelectorAll("details")) if (open.has(one.id)) one.open = true;
    if (focus >= 0) parts(element)[focus]?.focus({ preventScroll: true });
  };
  const parts = (element) => [...element.querySelectorAll("a, button, summary, [tabindex]")];
  const place = (element, focused) => parts(element).indexOf(focused);

  const look = async () => {
    if (document.hidden) return;
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected && new URL(answer.url).pathname === "/login") { location.reload(); return; }
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const element of document.querySelectorAll("[data-live]")) {
          replace(element, fresh.getElementById(element.id));
        }
        said.textContent = "Live.";
      }
    } catch {
      said.textContent = "The proxy does not answer; trying again.";
    } finally {
      busy = false;
      if (again) { again = false; look(); }
    }
  };

  for (const element of document.querySelectorAll("[data-live]")) element.dataset.seen = element.innerHTML;
  let source;
  const open = () => {
    source = new EventSource("/live");
    source.addEventListener("open", () => { said.textContent = "Live."; });
    source.addEventListener("look", look);
    source.addEventListener("error", () => { said.textContent = "The connection is lost; trying again."; });
  };
  open();
  addEventListener("visibilitychange", () => {
    if (document.hidden) { source.close(); } else { open(); look(); }
  });
})();
