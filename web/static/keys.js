// The reviewer's keyboard. No single key approves: A moves the focus to Approve, Enter presses it.
"use strict";
(() => {
  const help = document.getElementById("help");
  if (!help) return;
  const toggle = document.getElementById("keys-on");
  const off = () => { try { return localStorage.getItem("signoff-keys") === "off"; } catch { return false; } };
  toggle.checked = !off();
  toggle.addEventListener("change", () => {
    try { localStorage.setItem("signoff-keys", toggle.checked ? "on" : "off"); } catch { /* private window */ }
  });
  // Of this tab; a private window may keep nothing.
  const keep = (name, text) => { try { sessionStorage.setItem(name, text); } catch { /* then not */ } };
  const kept = (name) => { try { return sessionStorage.getItem(name) || ""; } catch { return ""; } };
  const all = () => [...document.querySelectorAll(".card[data-open]")];
  const here = () => document.activeElement.closest(".card") || document.querySelector(".card.here")
    || document.querySelector("#detail");

  function go(step) {
    const list = all();
    if (!list.length) return;
    const from = document.activeElement.closest(".card") || document.querySelector(".card.here");
    let at = list.indexOf(from);
    if (at < 0 && from) { // a decided one: go on from where it stands
      const later = list.findIndex((card) => from.compareDocumentPosition(card) & Node.DOCUMENT_POSITION_FOLLOWING);
      at = later < 0 ? list.length : later - (step > 0 ? 1 : 0);
    }
    // Back from the first one: what has come in above it.
    if (step < 0 && at <= 0 && !document.dispatchEvent(new Event("signoff-new", { cancelable: true }))) return;
    const to = list[Math.min(list.length - 1, Math.max(0, at < 0 && !from ? 0 : at + step))];
    list.forEach((card) => card.classList.toggle("here", card === to));
    to.focus({ preventScroll: true });
    to.scrollIntoView({ block: "nearest" });
  }
  function part(name) {
    const card = here();
    if (!card || document.body.dataset.key) return; // without the key nothing opens: the page says why
    const fold = card.querySelector(`details[data-part="${name}"]`);
    if (fold) {
      fold.open = true;
      const field = fold.querySelector("input[type=text], textarea");
      (field || fold.querySelector("button")).focus();
    } else {
      const button = card.querySelector(`[data-key="${name}"]`);
      if (button && !button.disabled) button.focus();
      else if (!button && name === "edit") card.dispatchEvent(new CustomEvent("signoff-note", { bubbles: true, detail: "Its rule lets no one change it first." }));
    }
  }
  document.addEventListener("focusin", (event) => {
    const card = event.target.closest(".card");
    if (card && card.dataset.order) keep("signoff-here", card.dataset.order);
    if (card) document.querySelectorAll(".card.here").forEach((other) => other.classList.toggle("here", other === card));
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const typing = event.target.matches("input:not([type=checkbox], [type=radio]), textarea, select");
    if (event.key === "Escape") {
      if (help.open) return;
      const fold = event.target.closest("details[open]");
      if (fold) { fold.open = false; const card = fold.closest(".card"); if (card) card.focus(); }
      else if (typing) event.target.blur();
      return;
    }
    if (typing || help.open || off()) return;
    // A key held down is one press; only moving goes on.
    if (event.repeat && !["j", "k"].includes(event.key.toLowerCase())) {
      if (event.key === "Enter" && event.target.matches(".card")) event.preventDefault();
      if (event.key !== "Tab") return;
    }
    const press = {
      j: () => go(1), k: () => go(-1), a: () => part("approve"), d: () => part("deny"), e: () => part("edit"),
      x: () => { const card = here(); if (card) card.dispatchEvent(new Event("signoff-pick", { bubbles: true })); },
      "/": () => { const field = document.querySelector("input[type=search]"); if (field) field.focus(); else location.assign("/history#search"); },
      q: () => location.assign("/"),
      "?": () => help.showModal(),
      Enter: () => {
        if (!event.target.matches(".card")) return false;
        location.assign("/approvals/" + encodeURIComponent(event.target.dataset.id));
        return true;
      },
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (press && press() !== false) event.preventDefault();
  });
  // Back from one call: the keys go on from where they were.
  const one = document.getElementById("detail");
  if (one) keep("signoff-back", one.dataset.id);
  else if (document.getElementById("cards")) {
    const was = kept("signoff-back") && kept("signoff-here");
    const back = was && all().find((card) => card.dataset.order >= was);
    keep("signoff-back", "");
    if (back) {
      back.classList.add("here");
      back.scrollIntoView({ block: "nearest" });
    }
  }
  document.querySelectorAll("[data-help]").forEach((button) => button.addEventListener("click", () => help.showModal()));
  // What is typed on arriving at a form belongs into it, and is no key.
  const form = location.hash === "#edit" && document.getElementById("edit");
  if (form) {
    form.closest("details").open = true;
    const field = form.querySelector("input[type=text], textarea, select");
    // Once the browser itself has gone to the fragment: it takes the focus away.
    addEventListener("load", () => setTimeout(() => field.focus(), 0));
  }
  if (location.hash === "#search") { const field = document.querySelector("input[type=search]"); if (field) field.focus(); }
})();
